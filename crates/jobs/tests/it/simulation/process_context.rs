//! What a process is given at its start: its name, clocks, connection to the bucket, and random numbers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jobs::bucket::Bucket;
use jobs::env::Env;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::network::Connection;
use super::process::Control;
use super::rng::Rng;
use super::world::World;

/// The kind of a process, which determines what it may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Worker,
    Submitter,
    Importer,
    User,
    /// A worker that does not use leases or conditional writes.
    LegacyWorker,
}

/// Identity of one process.
#[derive(Debug)]
pub(super) struct ProcessInfo {
    /// Index among all processes of the simulation, including those that died.
    pub(super) idx: usize,
    pub(super) name: String,
    pub(super) role: Role,
}

/// Everything that a process has.
pub(super) struct ProcessContext {
    pub(super) world: Arc<World>,
    pub(super) info: Arc<ProcessInfo>,
    /// Name that the process shares with its earlier and later incarnations.
    pub(super) machine: String,
    pub(super) bucket: Arc<dyn Bucket>,
    pub(super) env: Arc<dyn Env>,
    pub(super) rng: Rng,
}

impl ProcessContext {
    pub(super) fn new(
        world: &Arc<World>,
        role: Role,
        machine: &str,
        life: u32,
        control: Arc<Control>,
    ) -> Self {
        let name = format!("{machine}.{life}");
        let rng = world.rng.fork(&name);
        let info = world.add_process(name, role);
        let env = Arc::new(SimEnv::new(rng.fork("env"), world.scenario.drift));
        let connection = Connection::new(world.clone(), info.clone(), control, rng.fork("connection"));
        let machine = machine.to_owned();
        Self {
            world: world.clone(),
            info,
            machine,
            bucket: Arc::new(connection),
            env,
            rng: rng.fork("program"),
        }
    }

    pub(super) async fn sleep_seconds(&mut self, range: std::ops::Range<f64>) {
        tokio::time::sleep(self.rng.seconds(range)).await;
    }
}

/// Clocks that agree with no other process's: the wall clock is wrong by hours and jumps now and then; the
/// monotonic clock starts at an arbitrary value and runs slightly fast or slow.
#[derive(Debug)]
struct SimEnv {
    started: Instant,
    offset: Duration,
    rate: f64,
    wall: Mutex<Wall>,
}

#[derive(Debug)]
struct Wall {
    rng: Rng,
    ahead: f64,
}

/// Error of the wall clock, in hours.
const CLOCK_ERROR_HOURS: std::ops::Range<f64> = -9.0..9.0;

impl SimEnv {
    fn new(mut rng: Rng, drift: f64) -> Self {
        let offset = rng.seconds(1.0..1e7);
        let rate = rng.float(1.0 - drift..1.0 + drift);
        let ahead = rng.float(CLOCK_ERROR_HOURS);
        Self { started: Instant::now(), offset, rate, wall: Mutex::new(Wall { rng, ahead }) }
    }
}

impl Env for SimEnv {
    fn monotonic(&self) -> Duration {
        self.offset + self.started.elapsed().mul_f64(self.rate)
    }

    fn utc(&self) -> OffsetDateTime {
        let mut wall = self.wall.lock().unwrap();
        if wall.rng.chance(0.01) {
            wall.ahead = wall.rng.float(CLOCK_ERROR_HOURS);
        }
        let since_1970 = 1_760_000_000.0 + self.monotonic().as_secs_f64() + wall.ahead * 3600.0;
        OffsetDateTime::UNIX_EPOCH + Duration::from_secs_f64(since_1970)
    }

    fn unique_id(&self) -> String {
        let mut wall = self.wall.lock().unwrap();
        format!("{:016x}{:016x}", wall.rng.number(), wall.rng.number())
    }

    fn random(&self) -> f64 {
        self.wall.lock().unwrap().rng.unit()
    }
}
