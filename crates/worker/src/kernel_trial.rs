//! Courtside's own kernels on trial: whether they may run on the GPU that is there.
//!
//! Each is compared with the plain operation at the model's real shapes by `courtside bench --verify`, in a process of
//! its own: a kernel that reads where nothing is, or never ends, takes down that process and not a job.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use sam3::device::DeviceChoice;
use serde::Deserialize;

use client::subprocess::{Output, Subprocess};

/// A driver that compiles every kernel for its card for the first time needs a part of this.
const LIMIT: Duration = Duration::from_secs(120);

/// A trial under way. Dropped, it ends.
#[derive(Debug)]
pub struct Trial(Subprocess);

impl Trial {
    /// Begins it on a device, beside whatever else this process does.
    ///
    /// # Errors
    /// Why it cannot be held.
    pub fn start(device: DeviceChoice) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|e| format!("this program cannot be found: {e}"))?;
        let mut command = Command::new(program);
        command.args(["--json", "bench", "--verify", "--on-trial", "--kernels", "library"]);
        command.args(["--device", &device.to_string()]);
        // It ends when its input does, however this process ends; Ctrl-C is for this process alone.
        command.stdin(Stdio::piped()).process_group(0).env_remove("COURTSIDE_LOG");
        Subprocess::start(command).map(Self).map_err(|e| format!("the comparison cannot be started: {e}"))
    }

    /// Waits for its end: how many comparisons there were.
    ///
    /// # Errors
    /// Which kernels were wrong, or what went wrong with the trial.
    pub fn verdict(self) -> Result<usize, String> {
        let ended = self.0.wait(LIMIT).map_err(|e| format!("the comparison is lost: {e}"))?;
        judge(&ended)
    }
}

/// Lets this process live for as long as whoever put it on trial: a kernel that never ends must not keep the GPU.
pub fn end_with_input() {
    std::thread::spawn(|| {
        let mut input = std::io::stdin().lock();
        while matches!(input.read(&mut [0; 64]), Ok(n) if n > 0) {}
        #[expect(clippy::exit, reason = "a kernel that hangs cannot be told to return")]
        std::process::exit(130);
    });
}

/// What `courtside --json bench --verify` prints.
#[derive(Deserialize)]
struct Report {
    kernels: Vec<Compared>,
}

#[derive(Deserialize)]
struct Compared {
    name: String,
    passed: bool,
}

fn judge(ended: &Output) -> Result<usize, String> {
    let Some(status) = ended.status else {
        return Err(format!("the comparison did not end within {} s", LIMIT.as_secs()));
    };
    let report: Option<Report> = serde_json::from_str(&ended.stdout).ok();
    let compared = report.map(|report| report.kernels).unwrap_or_default();
    let wrong: Vec<&str> = compared.iter().filter(|k| !k.passed).map(|k| k.name.as_str()).collect();
    if let Some(first) = wrong.first() {
        let (n, of) = (wrong.len(), compared.len());
        return Err(format!(
            "{n} of {of} disagree with the plain operation here, {first} for one; `courtside bench --verify` lists them"
        ));
    }
    if !status.success() || compared.is_empty() {
        let said = ended.stderr.lines().find(|line| line.starts_with("error")).unwrap_or("it named no error");
        return Err(format!("the comparison ended with {status}: {said}"));
    }
    Ok(compared.len())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    fn ended(status: i32, stdout: &str) -> Output {
        let status = Some(ExitStatus::from_raw(status));
        Output { status, stdout: stdout.to_owned(), stderr: "a log line\nerror: the card fell\n".to_owned() }
    }

    const GOOD: &str = r#"{"name":"add","off":0.001,"allowed":0.01,"passed":true}"#;
    const WRONG: &str = r#"{"name":"norm","off":null,"allowed":0.01,"passed":false}"#;

    fn report(kernels: &[&str]) -> String {
        format!(r#"{{"device":"card","kernels":[{}]}}"#, kernels.join(","))
    }

    #[test]
    fn all_must_agree() {
        assert_eq!(judge(&ended(0, &report(&[GOOD, GOOD]))), Ok(2));
        let reason = judge(&ended(1 << 8, &report(&[GOOD, WRONG]))).unwrap_err();
        assert!(
            reason.starts_with("1 of 2 disagree with the plain operation here, norm for one"),
            "{reason}"
        );
        // One that is no number is no agreement, whatever the status says.
        assert!(judge(&ended(0, &report(&[WRONG]))).is_err());
    }

    #[test]
    fn a_trial_that_was_not_held_is_not_passed() {
        for (status, stdout) in
            [(0, report(&[])), (0, String::new()), (11, report(&[GOOD])), (1 << 8, String::new())]
        {
            let reason = judge(&ended(status, &stdout)).unwrap_err();
            assert!(reason.ends_with("error: the card fell"), "{reason}");
        }
        let killed = Output { status: None, stdout: report(&[GOOD]), stderr: String::new() };
        assert_eq!(judge(&killed), Err("the comparison did not end within 120 s".to_owned()));
    }
}
