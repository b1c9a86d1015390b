//! A trial of Courtside's own kernels: whether they are correct on this machine's GPU.
//!
//! `courtside bench --verify` compares each kernel with the plain operation at the model's real shapes. It runs in a
//! separate process: a kernel that reads out of bounds, or never ends, ends that process only.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use sam3::device::DeviceChoice;
use serde::Deserialize;

use client::subprocess::{Output, Subprocess};

/// Longer than a driver takes to compile every kernel for a GPU that it sees for the first time.
const LIMIT: Duration = Duration::from_secs(120);

/// A running trial. It is ended on drop.
#[derive(Debug)]
pub struct KernelTrial(Subprocess);

impl KernelTrial {
    /// Starts the trial on a device, in parallel with the caller.
    ///
    /// # Errors
    /// A message, if the process cannot be started.
    pub fn start(device: DeviceChoice) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|e| format!("cannot find this program: {e}"))?;
        let mut command = Command::new(program);
        command.args(["--json", "bench", "--verify", "--exit-with-stdin", "--kernels", "library"]);
        command.args(["--device", &device.to_string()]);
        // The pipe ends the trial when this process ends. The process group keeps Ctrl-C from it.
        command.stdin(Stdio::piped()).process_group(0).env_remove("COURTSIDE_LOG");
        Subprocess::start(command).map(Self).map_err(|e| format!("cannot start the comparison: {e}"))
    }

    /// Waits for the trial. Returns the number of comparisons, all of which agree.
    ///
    /// # Errors
    /// A message, if a kernel is wrong or the trial itself failed.
    pub fn finish(self) -> Result<usize, String> {
        let output = self.0.wait(LIMIT).map_err(|e| format!("cannot wait for the comparison: {e}"))?;
        judge(&output)
    }
}

/// Exits when standard input is closed, that is when the process that started the trial has ended: a kernel that never
/// ends must not occupy the GPU.
pub fn exit_when_stdin_closes() {
    std::thread::spawn(|| {
        let mut input = std::io::stdin().lock();
        while matches!(input.read(&mut [0; 64]), Ok(n) if n > 0) {}
        #[expect(clippy::exit, reason = "a kernel that hangs cannot be cancelled")]
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

fn judge(output: &Output) -> Result<usize, String> {
    let Some(status) = output.status else {
        return Err(format!("the comparison did not end within {} s", LIMIT.as_secs()));
    };
    let report: Option<Report> = serde_json::from_str(&output.stdout).ok();
    let compared = report.map(|report| report.kernels).unwrap_or_default();
    let wrong: Vec<&str> = compared.iter().filter(|k| !k.passed).map(|k| k.name.as_str()).collect();
    if let Some(first) = wrong.first() {
        let (n, of) = (wrong.len(), compared.len());
        return Err(format!(
            "{n} of {of} disagree with the plain operation here, for example {first}; `courtside bench --verify` lists them"
        ));
    }
    if !status.success() || compared.is_empty() {
        let error =
            output.stderr.lines().find(|line| line.starts_with("error")).unwrap_or("no error message");
        return Err(format!("the comparison ended with {status}: {error}"));
    }
    Ok(compared.len())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    fn output(status: i32, stdout: &str) -> Output {
        let status = Some(ExitStatus::from_raw(status));
        Output {
            status,
            stdout: stdout.to_owned(),
            stderr: "a log line\nerror: the device was lost\n".to_owned(),
        }
    }

    const GOOD: &str = r#"{"name":"add","off":0.001,"allowed":0.01,"passed":true}"#;
    const WRONG: &str = r#"{"name":"norm","off":null,"allowed":0.01,"passed":false}"#;

    fn report(kernels: &[&str]) -> String {
        format!(r#"{{"device":"card","kernels":[{}]}}"#, kernels.join(","))
    }

    #[test]
    fn every_kernel_must_agree() {
        assert_eq!(judge(&output(0, &report(&[GOOD, GOOD]))), Ok(2));
        let reason = judge(&output(1 << 8, &report(&[GOOD, WRONG]))).unwrap_err();
        assert!(
            reason.starts_with("1 of 2 disagree with the plain operation here, for example norm"),
            "{reason}"
        );
        // `off` is not a number: no agreement, whatever the exit status.
        assert!(judge(&output(0, &report(&[WRONG]))).is_err());
    }

    #[test]
    fn an_incomplete_trial_is_a_failure() {
        for (status, stdout) in
            [(0, report(&[])), (0, String::new()), (11, report(&[GOOD])), (1 << 8, String::new())]
        {
            let reason = judge(&output(status, &stdout)).unwrap_err();
            assert!(reason.ends_with("error: the device was lost"), "{reason}");
        }
        let killed = Output { status: None, stdout: report(&[GOOD]), stderr: String::new() };
        assert_eq!(judge(&killed), Err("the comparison did not end within 120 s".to_owned()));
    }
}
