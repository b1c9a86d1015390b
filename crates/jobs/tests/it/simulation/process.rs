//! A process: a future that can be killed at any await point, stopped for minutes and let go on (SIGSTOP,
//! SIGCONT), and is started again as a new process after it died. What it sent to the bucket is not part of
//! it and lands whatever becomes of it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::desk::{Desk, Role};
use super::dice::Dice;
use super::world::World;

/// How often processes die and stop.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fates {
    /// Mean time until something happens to a process, in seconds; 0 for never.
    pub(super) mean_seconds: f64,
    /// Whether that is a pause rather than death.
    pub(super) p_pause: f64,
    /// Whether a process dies at one of its first writes.
    pub(super) p_die_at_write: f64,
    /// The latest of those.
    pub(super) last_deadly_write: f64,
    /// Whether a process stops just before it sends results, when it has proved that it may.
    pub(super) p_pause_before_results: f64,
    /// Longest time from death to the next process, in seconds.
    pub(super) longest_downtime: f64,
    /// Longest pause, in seconds.
    pub(super) longest_pause: f64,
}

/// The reins of a process.
#[derive(Debug, Default)]
pub(super) struct Control(Mutex<Reins>);

#[derive(Debug, Default)]
struct Reins {
    is_dead: bool,
    is_paused: bool,
    waker: Option<Waker>,
    n_writes: u64,
    deadly_write: Option<(u64, Deadly)>,
}

/// When a process dies at a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deadly {
    /// Before it is sent.
    Before,
    /// As soon as it is sent.
    After,
}

impl Control {
    fn change(&self, change: impl FnOnce(&mut Reins)) {
        let waker = {
            let mut reins = self.0.lock().unwrap();
            change(&mut reins);
            reins.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn kill(&self) {
        self.change(|reins| reins.is_dead = true);
    }

    /// Stops the process and lets it go on later. Nothing of it runs after its next await.
    pub(super) async fn pause(&self, length: Duration) {
        self.change(|reins| reins.is_paused = true);
        tokio::time::sleep(length).await;
        self.change(|reins| reins.is_paused = false);
    }

    /// Counts a write; says whether the process dies of it.
    pub(super) fn next_write(&self) -> Option<Deadly> {
        let mut reins = self.0.lock().unwrap();
        reins.n_writes += 1;
        let n = reins.n_writes;
        reins.deadly_write.and_then(|(deadly, when)| (deadly == n).then_some(when))
    }
}

/// How a process ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Finished,
    Died,
}

struct Process {
    control: Arc<Control>,
    program: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Future for Process {
    type Output = End;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        {
            let mut reins = self.control.0.lock().unwrap();
            if reins.is_dead {
                return Poll::Ready(End::Died);
            }
            reins.waker = Some(cx.waker().clone());
            if reins.is_paused {
                return Poll::Pending;
            }
        }
        match self.program.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(End::Finished),
            Poll::Pending if self.control.0.lock().unwrap().is_dead => Poll::Ready(End::Died),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Runs a program, and again after it died, until it ends by itself.
pub(super) async fn keep_running<P, F>(world: Arc<World>, role: Role, name: String, fates: Fates, program: P)
where
    P: Fn(Desk) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut dice = world.dice.fork(&name);
    for life in 0_u32.. {
        let control = Arc::new(Control::default());
        let desk = Desk::new(&world, role, &name, life, control.clone());
        let origin = desk.origin.clone();
        if dice.chance(fates.p_die_at_write) {
            let when = if dice.chance(0.5) { Deadly::Before } else { Deadly::After };
            control.0.lock().unwrap().deadly_write =
                Some((dice.any_seconds(1.0..fates.last_deadly_write).as_secs(), when));
        }
        let process = Process { control: control.clone(), program: Box::pin(program(desk)) };
        let end = tokio::select! {
            biased;
            end = process => end,
            () = fate(&world, &control, origin.idx, fates, dice.fork(&format!("fate {life}"))) => End::Finished,
        };
        if end == End::Finished {
            return;
        }
        world.died(origin.idx);
        tokio::time::sleep(dice.any_seconds(1.0..fates.longest_downtime.max(2.0))).await;
    }
}

/// What happens to one process. Never ends.
async fn fate(world: &World, control: &Control, origin_idx: usize, fates: Fates, mut dice: Dice) {
    loop {
        let quiet = -fates.mean_seconds * (1.0 - dice.unit()).ln();
        if fates.mean_seconds == 0.0 || world.now() + Duration::from_secs_f64(quiet) >= world.calm_at {
            return std::future::pending().await;
        }
        tokio::time::sleep(Duration::from_secs_f64(quiet)).await;
        if dice.chance(fates.p_pause) {
            let length = dice.any_seconds(1.0..fates.longest_pause);
            world.paused(origin_idx, length);
            control.pause(length).await;
        } else {
            control.kill();
        }
    }
}
