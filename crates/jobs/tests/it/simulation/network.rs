//! What lies between a process and the bucket. A request is sent and from then on belongs to nobody: it may
//! arrive at once, minutes later, twice, or never, and its answer may be lost, whether or not the process
//! that sent it still waits, or lives.

use std::future::pending;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jobs::bucket::{Bucket, Bulk, Condition, ETag, Entry, Object, Written};
use jobs::keys::RESULTS;
use jobs::{Error, Result};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::desk::{Origin, Role};
use super::dice::Dice;
use super::process::{Control, Deadly};
use super::request::Write;
use super::world::World;

/// How often what happens to a request.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Weather {
    /// It never arrives.
    pub(super) p_lost: f64,
    /// It arrives, and the answer is lost.
    pub(super) p_unanswered: f64,
    /// It arrives after the sender gave up.
    pub(super) p_late: f64,
    /// The client sends it twice by itself; the second answer counts, a refusal by its own echo perhaps.
    pub(super) p_echo: f64,
    /// It arrives, is answered, and arrives once more, late.
    pub(super) p_ghost: f64,
    /// It takes long, and succeeds.
    pub(super) p_slow: f64,
    /// How long that is at most, in seconds.
    pub(super) slowest: f64,
    /// How late is latest, in seconds.
    pub(super) latest: f64,
}

/// One process's line to the bucket.
#[derive(Debug)]
pub(super) struct Line {
    world: Arc<World>,
    origin: Arc<Origin>,
    control: Arc<Control>,
    dice: Mutex<Dice>,
}

/// What will happen to a request.
struct Journey {
    /// When copies of it arrive.
    arrivals: Vec<Duration>,
    /// Which copy is answered.
    answered: Option<usize>,
    /// How long the answer takes.
    back: Duration,
    /// How long the sender waits where there is no answer.
    patience: Duration,
}

impl Line {
    pub(super) fn new(world: Arc<World>, origin: Arc<Origin>, control: Arc<Control>, dice: Dice) -> Self {
        Self { world, origin, control, dice: Mutex::new(dice) }
    }

    fn weather(&self) -> Weather {
        // An older program's plain writes would undo everything if they came late: nobody can help that.
        match self.world.is_calm() || self.origin.role == Role::Older {
            true => Weather::default(),
            false => self.world.knobs.weather,
        }
    }

    fn journey(&self) -> Journey {
        let weather = self.weather();
        let mut dice = self.dice.lock().unwrap();
        let quick = |dice: &mut Dice| dice.seconds(0.005..0.080);
        let patience = dice.any_seconds(0.5..60.0);
        let back = quick(&mut dice);
        let mut kind = dice.unit();
        let mut falls = |probability: f64| {
            kind -= probability;
            kind < 0.0
        };
        let late = |dice: &mut Dice| patience + dice.any_seconds(0.5..weather.latest.max(1.0));
        let (arrivals, answered) = if falls(weather.p_lost) {
            (vec![], None)
        } else if falls(weather.p_unanswered) {
            (vec![quick(&mut dice)], None)
        } else if falls(weather.p_late) {
            (vec![late(&mut dice)], None)
        } else if falls(weather.p_echo) {
            let first = quick(&mut dice);
            (vec![first, first + dice.any_seconds(0.2..20.0)], Some(1))
        } else if falls(weather.p_ghost) {
            (vec![quick(&mut dice), late(&mut dice)], Some(0))
        } else if falls(weather.p_slow) {
            (vec![dice.any_seconds(0.1..weather.slowest)], Some(0))
        } else {
            (vec![quick(&mut dice)], Some(0))
        };
        Journey { arrivals, answered, back, patience }
    }

    fn no_answer(&self) -> Error {
        Error::Unavailable { place: self.place(), detail: "no answer".to_owned() }
    }

    async fn die(&self) -> ! {
        self.control.kill();
        pending().await
    }

    async fn pause_before_results(&self, write: &Write) {
        let fates = self.world.knobs.fates;
        let length = {
            let mut dice = self.dice.lock().unwrap();
            let is_hit = matches!(write, Write::Put { key, .. } if key.starts_with(RESULTS))
                && dice.chance(fates.p_pause_before_results);
            if !is_hit || self.world.is_calm() || self.origin.role == Role::Older {
                return;
            }
            dice.any_seconds(10.0..fates.longest_pause)
        };
        self.world.paused(self.origin.idx, length);
        let control = self.control.clone();
        tokio::spawn(async move { control.pause(length).await });
        tokio::task::yield_now().await;
    }

    async fn write(&self, write: Write) -> Result<Written> {
        let deadly = self.control.next_write().filter(|_| !self.world.is_calm());
        if deadly == Some(Deadly::Before) {
            self.die().await;
        }
        self.pause_before_results(&write).await;
        let journey = self.journey();
        let (answer, answered) = oneshot::channel();
        let mut answer = Some(answer);
        for (i, arrival) in journey.arrivals.into_iter().enumerate() {
            let answer = if journey.answered == Some(i) { answer.take() } else { None };
            let (world, origin, write) = (self.world.clone(), self.origin.clone(), write.clone());
            let back = journey.back;
            world.sent(&origin);
            tokio::spawn(async move {
                sleep(arrival).await;
                let written = world.commit(&origin, &write);
                if let Some(answer) = answer {
                    sleep(back).await;
                    // Nobody hears it where the process died.
                    let _ = answer.send(written);
                }
            });
        }
        if deadly == Some(Deadly::After) {
            self.die().await;
        }
        if journey.answered.is_none() {
            sleep(journey.patience).await;
            return Err(self.no_answer());
        }
        answered.await.map_err(|_| self.no_answer())
    }

    async fn read<T>(&self, read: impl FnOnce(&World) -> T + Send) -> Result<T> {
        let journey = self.journey();
        let first = journey.arrivals.first().copied().filter(|_| journey.answered.is_some());
        let Some(there) = first else {
            sleep(journey.patience).await;
            return Err(self.no_answer());
        };
        // The answer of a slow read is slow too: it is old when it comes.
        let slow_back = if there > Duration::from_millis(100) { there } else { journey.back };
        sleep(there).await;
        let answer = read(&self.world);
        sleep(slow_back).await;
        Ok(answer)
    }
}

#[async_trait]
impl Bucket for Line {
    fn place(&self) -> String {
        "the simulated bucket".to_owned()
    }

    async fn get(&self, key: &str, _limit_bytes: u64) -> Result<Option<Object>> {
        self.read(|world| world.object(key)).await
    }

    async fn head(&self, key: &str) -> Result<Option<(u64, ETag)>> {
        let object = self.read(|world| world.object(key)).await?;
        Ok(object.map(|object| (object.bytes.len() as u64, object.etag)))
    }

    async fn put(&self, key: &str, body: Bytes, condition: Condition<'_>) -> Result<Written> {
        self.write(Write::Put { key: key.into(), body, when: condition.into() }).await
    }

    async fn put_file(&self, key: &str, file: &Path, condition: Condition<'_>) -> Result<Written> {
        let body = self.world.file(file);
        self.write(Write::Put { key: key.into(), body, when: condition.into() }).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Entry>> {
        self.read(|world| world.list(prefix)).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.write(Write::Delete { key: key.into() }).await.map(|_| ())
    }

    fn bulk(&self) -> Bulk<'_> {
        unreachable!("nothing large is transferred here")
    }

    async fn presigned(&self, _key: &str, _valid: Duration) -> Result<Option<String>> {
        Ok(None)
    }
}
