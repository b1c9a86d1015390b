//! A worker that is replaced whenever it ends, and the faults that it suffers.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::Machine;
use super::faults::{Fault, Plan, Rng};
use crate::sandbox::Running;

/// How long a worker is suspended: longer than a lease of 3 s.
const SUSPENDED: Duration = Duration::from_secs(4);
/// How long a worker runs on a disk that is nearly full.
const FULL_DISK: Duration = Duration::from_secs(2);
/// Exit code after a panic.
const INTERNAL_ERROR: i32 = 70;

/// A place where always one worker runs.
pub(super) struct Slot {
    name: String,
    machine: Machine,
    plan: Arc<Plan>,
    worker: Running,
    state: State,
    /// Machines with killed workers. Kept, because other processes may still use their folders.
    retired: Vec<Machine>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Healthy,
    SuspendedUntil(Instant),
    FullDiskUntil(Instant),
}

impl Slot {
    /// Starts the first worker.
    pub(super) fn start(n: usize, machine: Machine, plan: Arc<Plan>) -> Self {
        let worker = start(&machine, None);
        Self {
            name: format!("worker {n}"),
            machine,
            plan,
            worker,
            state: State::Healthy,
            retired: Vec::new(),
        }
    }

    /// Ends a fault whose time has passed, and replaces a worker that has ended.
    pub(super) fn tick(&mut self) {
        match self.state {
            State::SuspendedUntil(end) | State::FullDiskUntil(end) if Instant::now() >= end => self.heal(),
            _ => {}
        }
        if let Some(code) = self.worker.ended() {
            self.plan.log(&format!("{} ended with {code:?}", self.name));
            assert_ne!(code, Some(INTERNAL_ERROR), "{}", self.stderr());
            self.restart(None);
        }
    }

    /// Ends the present fault, if there is one.
    pub(super) fn heal(&mut self) {
        match std::mem::replace(&mut self.state, State::Healthy) {
            State::Healthy => {}
            State::SuspendedUntil(_) => self.worker.signal("CONT"),
            State::FullDiskUntil(_) => self.restart(None),
        }
    }

    /// Injects a fault.
    pub(super) fn inject(&mut self, fault: Fault, rng: &mut Rng) {
        self.heal();
        self.plan.log(&format!("{fault:?}: {}", self.name));
        match fault {
            Fault::Kill => self.restart(None),
            Fault::Replace => {
                let machine = self.machine.another_machine();
                self.retired.push(std::mem::replace(&mut self.machine, machine));
                self.restart(None);
            }
            Fault::Stop => self.worker.signal("TERM"),
            Fault::Suspend => {
                self.worker.signal("STOP");
                self.state = State::SuspendedUntil(Instant::now() + SUSPENDED);
            }
            Fault::FullDisk => {
                // From the megabyte that a worker tests before it claims a job.
                self.restart(Some((1 << 20) + rng.below(1 << 20)));
                self.state = State::FullDiskUntil(Instant::now() + FULL_DISK);
            }
            Fault::TruncateFile => self.truncate_file(rng),
            _ => unreachable!("{fault:?} is a fault of requests"),
        }
    }

    /// Stops the worker, which must exit as it does after SIGTERM.
    pub(super) fn stop(&mut self) {
        self.worker.signal("TERM");
        let code = loop {
            if let Some(code) = self.worker.ended() {
                break code;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        // A worker that was started just now may not handle the signal yet.
        assert!(matches!(code, Some(130) | None), "{code:?}: {}", self.stderr());
    }

    /// Kills the worker if it still runs, and starts the next one. No file may grow beyond `n_bytes`.
    fn restart(&mut self, n_bytes: Option<u64>) {
        self.worker.end();
        self.worker = start(&self.machine, n_bytes);
    }

    fn truncate_file(&self, rng: &mut Rng) {
        let files = files_in(&self.machine.sandbox.path("work"));
        if files.is_empty() {
            return;
        }
        let path = &files[rng.below(files.len() as u64) as usize];
        // The worker may have removed the file since.
        let Ok(file) = OpenOptions::new().write(true).open(path) else { return };
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        let new_length = rng.below(length.max(1));
        if file.set_len(new_length).is_ok() {
            self.plan.log(&format!("truncated {} from {length} to {new_length} bytes", path.display()));
        }
    }

    fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.machine.sandbox.read("stderr.txt")).into_owned()
    }
}

/// Starts a worker that saves frequent checkpoints. It appends its messages to `stderr.txt`.
fn start(machine: &Machine, n_bytes: Option<u64>) -> Running {
    let more = ["--checkpoint-interval", "0.2", "--work-dir", "work"];
    let mut command = match n_bytes {
        None => machine.worker(&more),
        Some(n_bytes) => machine.worker_on_full_disk(n_bytes, &more),
    };
    let stderr = OpenOptions::new().create(true).append(true).open(machine.sandbox.path("stderr.txt"));
    command.stdout(std::process::Stdio::null()).stderr(stderr.unwrap());
    Running::start(command)
}

/// All files in a folder and in its folders, except locks, in order of their names.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        match path.is_dir() {
            true => files.extend(files_in(&path)),
            false if path.file_name().is_some_and(|name| name == "lock") => {}
            false => files.push(path),
        }
    }
    files.sort();
    files
}
