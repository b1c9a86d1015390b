//! Runs the program in a temporary folder, with a controlled environment.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Time after which a test fails. Everything takes far less.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A working folder and a home folder. Both are empty at first, and deleted on drop.
pub(crate) struct Sandbox {
    work: tempfile::TempDir,
    home: tempfile::TempDir,
}

/// Exit code and output of a run. The code is `None` after a signal.
#[derive(Debug)]
pub(crate) struct RunOutput {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self { work: tempfile::tempdir().unwrap(), home: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.work.path()
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The path of a file in the working folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.read(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Sorted names of all files in the working folder, including hidden files.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder()).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The program with arguments. Of the environment of the test, it inherits only `PATH`.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.command_of(env!("CARGO_BIN_EXE_courtside"));
        command.args(args);
        command
    }

    /// A shell script that starts the program with `"$@"`.
    pub(crate) fn shell(&self, script: &str, args: &[&str]) -> Command {
        let mut command = self.command_of("sh");
        command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_courtside")]).args(args);
        command
    }

    fn command_of(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.home());
        command.env("SOURCE_DATE_EPOCH", "1767323045").env("COLUMNS", "100");
        command.current_dir(self.folder()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> RunOutput {
        RunOutput::new(self.command(args).output().unwrap())
    }
}

impl RunOutput {
    pub(crate) fn new(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Checks the exit code, and that standard error contains each of `words`.
    #[track_caller]
    pub(crate) fn expect(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in standard error:\n{}", self.stderr);
        }
        self
    }

    /// Standard output, which must be exactly one JSON value.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}:\n{}", self.stdout))
    }
}

/// A run in progress. Dropping it kills the process.
pub(crate) struct Running(Option<Child>);

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        Self(Some(command.spawn().unwrap()))
    }

    fn child(&mut self) -> &mut Child {
        self.0.as_mut().unwrap()
    }

    /// Polls `condition` until it returns a value. Fails if the program ends first.
    #[track_caller]
    pub(crate) fn wait_for<T>(&mut self, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            let ended = self.child().try_wait().unwrap();
            if let Some(value) = condition() {
                return value;
            }
            assert!(ended.is_none(), "the program ended ({ended:?}) before {what}");
            assert!(started.elapsed() < TIMEOUT, "waited too long for {what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The ID of the process.
    pub(crate) fn id(&mut self) -> u32 {
        self.child().id()
    }

    /// Sends a signal, such as `INT`.
    pub(crate) fn signal(&mut self, name: &str) {
        let kill = format!("kill -s {name} {}", self.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }

    /// Closes the pipe of its standard error, so that its further writes there fail.
    pub(crate) fn close_stderr(&mut self) {
        drop(self.child().stderr.take());
    }

    /// The exit code of a process that has ended, which is `None` after a signal. `None` if it still runs.
    pub(crate) fn ended(&mut self) -> Option<Option<i32>> {
        self.child().try_wait().unwrap().map(|status| status.code())
    }

    /// Kills the process with SIGKILL.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// Kills the process with SIGKILL, if it still runs.
    pub(crate) fn end(&mut self) {
        self.child().kill().unwrap();
        self.child().wait().unwrap();
    }

    /// Waits until the process ends.
    pub(crate) fn wait(mut self) -> RunOutput {
        RunOutput::new(self.0.take().unwrap().wait_with_output().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // Both fail only if the process has already ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
