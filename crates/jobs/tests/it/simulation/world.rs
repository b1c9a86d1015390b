//! The truth: what lies in the bucket, which processes ever ran, what is in the database and on the disks.
//! Every write happens here at one instant, and is judged at that instant.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use jobs::JobId;
use jobs::bucket::{ETag, Entry, Object, Written};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::desk::{Origin, Role};
use super::dice::{Dice, digest, mix};
use super::invariants::Law;
use super::request::{When, Write};
use super::scenario::Knobs;

/// Lines of a trace that are kept.
const TRACE: usize = 60;

/// The whole simulated world.
pub(super) struct World {
    pub(super) dice: Dice,
    pub(super) knobs: Knobs,
    /// From when on nothing goes wrong any more.
    pub(super) calm_at: Duration,
    began: Instant,
    state: Mutex<State>,
    broken: Notify,
}

struct State {
    objects: BTreeMap<Arc<str>, Object>,
    law: Law,
    disk: HashMap<PathBuf, Bytes>,
    processes: Vec<Life>,
    /// People who may still wish something.
    n_people: usize,
    /// Wishes of theirs that are on their way.
    n_wishes: usize,
    story: Story,
    trace: VecDeque<(Duration, String)>,
}

/// What became of a process.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) origin: Arc<Origin>,
    pub(super) died_at: Option<Duration>,
    /// End of its last pause.
    pub(super) paused_until: Duration,
}

/// What came of a simulation.
#[derive(Debug, Default, Clone)]
pub(super) struct Story {
    /// Which rule was broken first.
    pub(super) violation: Option<String>,
    /// A number made of all writes: equal stories have equal ones.
    pub(super) fingerprint: u64,
    /// How often something worth it happened.
    pub(super) counts: BTreeMap<&'static str, u64>,
    /// The last events.
    pub(super) trace: Vec<String>,
}

impl World {
    pub(super) fn new(dice: Dice, knobs: Knobs) -> Arc<Self> {
        let state = State {
            objects: BTreeMap::new(),
            law: Law::new(&knobs),
            disk: HashMap::new(),
            processes: Vec::new(),
            n_people: knobs.n_people,
            n_wishes: 0,
            story: Story::default(),
            trace: VecDeque::new(),
        };
        let (state, broken) = (Mutex::new(state), Notify::new());
        Arc::new(Self { dice, calm_at: knobs.calm_at, knobs, began: Instant::now(), state, broken })
    }

    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn is_calm(&self) -> bool {
        self.now() >= self.calm_at
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    // Processes.

    pub(super) fn born(&self, name: String, role: Role) -> Arc<Origin> {
        let mut state = self.state();
        let origin = Arc::new(Origin { idx: state.processes.len(), name, role });
        let life = Life { origin: origin.clone(), died_at: None, paused_until: Duration::ZERO };
        state.processes.push(life);
        origin
    }

    pub(super) fn died(&self, origin_idx: usize) {
        let now = self.now();
        let mut state = self.state();
        let life = &mut state.processes[origin_idx];
        life.died_at = Some(now);
        let what = format!("{} dies", life.origin.name);
        state.note(now, what);
        state.count("a process died");
    }

    pub(super) fn paused(&self, origin_idx: usize, length: Duration) {
        let now = self.now();
        let mut state = self.state();
        let life = &mut state.processes[origin_idx];
        life.paused_until = life.paused_until.max(now + length);
        let what = format!("{} is stopped for {:.1} s", life.origin.name, length.as_secs_f64());
        state.note(now, what);
        state.count("a process was paused");
    }

    // Objects.

    pub(super) fn object(&self, key: &str) -> Option<Object> {
        self.state().objects.get(key).cloned()
    }

    pub(super) fn list(&self, prefix: &str) -> Vec<Entry> {
        let state = self.state();
        let all = state
            .objects
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix));
        let entry = |(key, object): (&Arc<str>, &Object)| Entry {
            key: key.to_string(),
            size_bytes: object.bytes.len() as u64,
            revision: object.etag.0.clone(),
        };
        all.map(entry).collect()
    }

    /// A write arrives.
    pub(super) fn commit(&self, by: &Origin, write: &Write) -> Written {
        let now = self.now();
        let mut state = self.state();
        let state = &mut *state;
        state.n_wishes -= usize::from(by.role == Role::Person);
        let (key, body, when) = match write {
            Write::Put { key, body, when } => (key, Some(body), when),
            Write::Delete { key } => (key, None, &When::Always),
        };
        let there = state.objects.get(key).map(|object| &object.etag);
        let holds = match when {
            When::Always => true,
            When::Absent => there.is_none(),
            When::Is(etag) => there == Some(etag),
        };
        let verb = if body.is_some() { "writes" } else { "removes" };
        if !holds && self.knobs.honours.cares_about(key) {
            state.note(now, format!("{} {verb} {key}: refused", by.name));
            state.count(state.law.refused(by, key));
            return Written::Refused;
        }
        let written = body.map(|body| {
            let etag = ETag(format!("\"{:016x}\"", digest(body)));
            Object { bytes: body.clone(), etag }
        });
        let judged = state.law.judge(now, by, key, written.as_ref(), &state.objects, &state.processes);
        let etag = written.as_ref().map_or_else(|| ETag(String::new()), |object| object.etag.clone());
        match written {
            Some(object) => state.objects.insert(key.clone(), object),
            None => state.objects.remove(key),
        };
        let fingerprint = [now.as_nanos() as u64, digest(key.as_bytes()), digest(etag.0.as_bytes())];
        // An index may list the same jobs in any order.
        for number in fingerprint.into_iter().filter(|_| !key.starts_with("index/")) {
            state.story.fingerprint = mix(state.story.fingerprint ^ number);
        }
        match judged {
            Ok(verdict) => {
                state.note(now, format!("{} {verb} {key}{}", by.name, verdict.what));
                verdict.counts.into_iter().for_each(|what| state.count(what));
            }
            Err(violation) => {
                state.note(now, format!("{} {verb} {key}", by.name));
                self.break_law(state, now, violation);
            }
        }
        Written::Done(etag)
    }

    /// Puts an object where it lay before everything began.
    pub(super) fn place(&self, key: String, bytes: Vec<u8>) {
        let etag = ETag(format!("\"{:016x}\"", digest(&bytes)));
        let object = Object { bytes: bytes.into(), etag };
        let mut state = self.state();
        state.law.found(&key, &object);
        state.objects.insert(key.into(), object);
    }

    // Disks.

    pub(super) fn write_file(&self, path: PathBuf, bytes: Vec<u8>) {
        self.state().disk.insert(path, bytes.into());
    }

    pub(super) fn file(&self, path: &Path) -> Bytes {
        self.state().disk[path].clone()
    }

    // The law.

    /// Results enter the database.
    pub(super) fn import(&self, id: &JobId, sha256: &str) {
        let now = self.now();
        let mut state = self.state();
        match state.law.import(id, sha256) {
            Ok(what) => state.count(what),
            Err(violation) => self.break_law(&mut state, now, violation),
        }
    }

    /// Something that must not happen happened.
    pub(super) fn violated(&self, violation: String) {
        let now = self.now();
        self.break_law(&mut self.state(), now, violation);
    }

    fn break_law(&self, state: &mut State, now: Duration, violation: String) {
        state.note(now, format!("VIOLATION: {violation}"));
        if state.story.violation.is_none() {
            state.story.violation = Some(violation);
            state.story.trace = state.trace.iter().map(line).collect();
        }
        self.broken.notify_one();
    }

    /// Waits for the first violation.
    pub(super) async fn broken(&self) {
        self.broken.notified().await;
    }

    pub(super) fn told(&self, id: &JobId, what: Told) {
        self.state().law.told(id, what);
    }

    pub(super) fn is_submitted(&self, id: &JobId) -> bool {
        self.state().law.is_submitted(id)
    }

    pub(super) fn count(&self, what: &'static str) {
        self.state().count(what);
    }

    /// A write is on its way.
    pub(super) fn sent(&self, by: &Origin) {
        if by.role == Role::Person {
            self.state().n_wishes += 1;
        }
    }

    /// Somebody has no more wishes.
    pub(super) fn left(&self) {
        self.state().n_people -= 1;
    }

    /// Whether every job has come to its end, and nobody will wish for more.
    pub(super) fn is_settled(&self) -> bool {
        let state = self.state();
        state.n_people == 0 && state.n_wishes == 0 && state.law.is_settled()
    }

    /// The end: judges what is left.
    pub(super) fn close(&self) -> Story {
        let now = self.now();
        let mut state = self.state();
        let last = state.law.close(&state.objects);
        if let Err(violation) = last {
            self.break_law(&mut state, now, violation);
        }
        state.story.clone()
    }
}

/// What a process says about its intentions, so that the law can tell right from wrong.
#[derive(Debug, Clone)]
pub(super) enum Told {
    /// Its submission was answered well.
    Submitted,
    /// The owner says that trying again is useless.
    NoHope { claim_id: String },
}

fn line((at, what): &(Duration, String)) -> String {
    format!("{:>10.3} s  {what}", at.as_secs_f64())
}

impl State {
    fn note(&mut self, now: Duration, what: String) {
        if self.trace.len() == TRACE {
            self.trace.pop_front();
        }
        self.trace.push_back((now, what));
    }

    fn count(&mut self, what: &'static str) {
        *self.story.counts.entry(what).or_default() += 1;
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}
