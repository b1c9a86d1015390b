//! What a process is born with: its name, its clocks, its line to the bucket, its dice.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jobs::bucket::Bucket;
use jobs::host::Host;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::dice::Dice;
use super::network::Line;
use super::process::Control;
use super::world::World;

/// What a process is for: decides what it may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Worker,
    Submitter,
    Importer,
    Person,
    /// A program that knows nothing of leases and conditions.
    Older,
}

/// One process.
#[derive(Debug)]
pub(super) struct Origin {
    /// Different for every process that ever ran.
    pub(super) idx: usize,
    pub(super) name: String,
    pub(super) role: Role,
}

/// Everything that a process has.
pub(super) struct Desk {
    pub(super) world: Arc<World>,
    pub(super) origin: Arc<Origin>,
    /// What the process has in common with those before it.
    pub(super) machine: String,
    pub(super) bucket: Arc<dyn Bucket>,
    pub(super) host: Arc<dyn Host>,
    pub(super) dice: Dice,
}

impl Desk {
    pub(super) fn new(
        world: &Arc<World>,
        role: Role,
        machine: &str,
        life: u32,
        control: Arc<Control>,
    ) -> Self {
        let name = format!("{machine}.{life}");
        let dice = world.dice.fork(&name);
        let origin = world.born(name, role);
        let host = Arc::new(Clocks::new(dice.fork("host"), world.knobs.drift));
        let line = Line::new(world.clone(), origin.clone(), control, dice.fork("line"));
        let machine = machine.to_owned();
        Self {
            world: world.clone(),
            origin,
            machine,
            bucket: Arc::new(line),
            host,
            dice: dice.fork("program"),
        }
    }

    pub(super) async fn sleep_seconds(&mut self, range: std::ops::Range<f64>) {
        tokio::time::sleep(self.dice.seconds(range)).await;
    }
}

/// Clocks that agree with nobody else's: the wall clock is wrong by hours and is put right or wrong now and
/// then, the monotonic one began at another number and runs a little fast or slow.
#[derive(Debug)]
struct Clocks {
    born: Instant,
    offset: Duration,
    rate: f64,
    wall: Mutex<Wall>,
}

#[derive(Debug)]
struct Wall {
    dice: Dice,
    ahead: f64,
}

/// Hours by which a wall clock is wrong.
const WRONG_BY: std::ops::Range<f64> = -9.0..9.0;

impl Clocks {
    fn new(mut dice: Dice, drift: f64) -> Self {
        let offset = dice.seconds(1.0..1e7);
        let rate = dice.float(1.0 - drift..1.0 + drift);
        let ahead = dice.float(WRONG_BY);
        Self { born: Instant::now(), offset, rate, wall: Mutex::new(Wall { dice, ahead }) }
    }
}

impl Host for Clocks {
    fn monotonic(&self) -> Duration {
        self.offset + self.born.elapsed().mul_f64(self.rate)
    }

    fn utc(&self) -> OffsetDateTime {
        let mut wall = self.wall.lock().unwrap();
        if wall.dice.chance(0.01) {
            wall.ahead = wall.dice.float(WRONG_BY);
        }
        let since_1970 = 1_760_000_000.0 + self.monotonic().as_secs_f64() + wall.ahead * 3600.0;
        OffsetDateTime::UNIX_EPOCH + Duration::from_secs_f64(since_1970)
    }

    fn unique(&self) -> String {
        let mut wall = self.wall.lock().unwrap();
        format!("{:016x}{:016x}", wall.dice.number(), wall.dice.number())
    }

    fn random(&self) -> f64 {
        self.wall.lock().unwrap().dice.unit()
    }
}
