//! A simulated process: a future that can be killed at any await point, paused for minutes and resumed
//! (SIGSTOP, SIGCONT), and is restarted as a new process after it died. Requests that it has sent are not
//! part of it and arrive regardless.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::process_context::{ProcessContext, Role};
use super::rng::Rng;
use super::world::World;

/// How often processes crash and pause.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ProcessFaults {
    /// Mean time between faults of a process, in seconds; 0 for no faults.
    pub(super) mean_seconds: f64,
    /// Probability that a fault is a pause instead of a crash.
    pub(super) p_pause: f64,
    /// Probability that a process crashes at one of its first writes.
    pub(super) p_crash_at_write: f64,
    /// The last write at which that may happen.
    pub(super) latest_crash_write: f64,
    /// Probability that a process pauses just before it sends results, after confirming its ownership.
    pub(super) p_pause_before_results: f64,
    /// Longest time from a crash to the restart, in seconds.
    pub(super) longest_downtime: f64,
    /// Longest pause, in seconds.
    pub(super) longest_pause: f64,
}

/// Kills and pauses a process.
#[derive(Debug, Default)]
pub(super) struct Control(Mutex<ControlState>);

#[derive(Debug, Default)]
struct ControlState {
    is_dead: bool,
    is_paused: bool,
    waker: Option<Waker>,
    n_writes: u64,
    crash_at_write: Option<(u64, CrashPoint)>,
}

/// When a process crashes at a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CrashPoint {
    /// Before the write is sent.
    Before,
    /// Immediately after the write was sent.
    After,
}

impl Control {
    fn change(&self, change: impl FnOnce(&mut ControlState)) {
        let waker = {
            let mut state = self.0.lock().unwrap();
            change(&mut state);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn kill(&self) {
        self.change(|state| state.is_dead = true);
    }

    /// Pauses the process and resumes it later. It does not run beyond its next await until then.
    pub(super) async fn pause(&self, length: Duration) {
        self.change(|state| state.is_paused = true);
        tokio::time::sleep(length).await;
        self.change(|state| state.is_paused = false);
    }

    /// Counts a write, and returns whether the process crashes at it.
    pub(super) fn next_write(&self) -> Option<CrashPoint> {
        let mut state = self.0.lock().unwrap();
        state.n_writes += 1;
        let n = state.n_writes;
        state.crash_at_write.and_then(|(crash_point, when)| (crash_point == n).then_some(when))
    }
}

/// How a process exited.
#[derive(Debug, PartialEq, Eq)]
enum Exit {
    Finished,
    Died,
}

struct Process {
    control: Arc<Control>,
    program: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Future for Process {
    type Output = Exit;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Exit> {
        {
            let mut state = self.control.0.lock().unwrap();
            if state.is_dead {
                return Poll::Ready(Exit::Died);
            }
            state.waker = Some(cx.waker().clone());
            if state.is_paused {
                return Poll::Pending;
            }
        }
        match self.program.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Exit::Finished),
            Poll::Pending if self.control.0.lock().unwrap().is_dead => Poll::Ready(Exit::Died),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Runs a program and restarts it after a crash, until it finishes.
pub(super) async fn run_with_restarts<P, F>(
    world: Arc<World>,
    role: Role,
    name: String,
    process_faults: ProcessFaults,
    program: P,
) where
    P: Fn(ProcessContext) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut rng = world.rng.fork(&name);
    for life in 0_u32.. {
        let control = Arc::new(Control::default());
        let ctx = ProcessContext::new(&world, role, &name, life, control.clone());
        let info = ctx.info.clone();
        if rng.chance(process_faults.p_crash_at_write) {
            let when = if rng.chance(0.5) { CrashPoint::Before } else { CrashPoint::After };
            control.0.lock().unwrap().crash_at_write =
                Some((rng.log_uniform_seconds(1.0..process_faults.latest_crash_write).as_secs(), when));
        }
        let process = Process { control: control.clone(), program: Box::pin(program(ctx)) };
        let exit = tokio::select! {
            biased;
            exit = process => exit,
            () = inject_faults(&world, &control, info.idx, process_faults, rng.fork(&format!("faults {life}"))) => Exit::Finished,
        };
        if exit == Exit::Finished {
            return;
        }
        world.process_died(info.idx);
        tokio::time::sleep(rng.log_uniform_seconds(1.0..process_faults.longest_downtime.max(2.0))).await;
    }
}

/// Injects faults into one process. Never returns.
async fn inject_faults(
    world: &World,
    control: &Control,
    process_idx: usize,
    process_faults: ProcessFaults,
    mut rng: Rng,
) {
    loop {
        let quiet = -process_faults.mean_seconds * (1.0 - rng.unit()).ln();
        if process_faults.mean_seconds == 0.0
            || world.now() + Duration::from_secs_f64(quiet) >= world.faults_end_at
        {
            return std::future::pending().await;
        }
        tokio::time::sleep(Duration::from_secs_f64(quiet)).await;
        if rng.chance(process_faults.p_pause) {
            let length = rng.log_uniform_seconds(1.0..process_faults.longest_pause);
            world.process_paused(process_idx, length);
            control.pause(length).await;
        } else {
            control.kill();
        }
    }
}
