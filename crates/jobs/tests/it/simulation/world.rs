//! The true state of a simulation: the objects in the bucket, all processes so far, the database and the
//! disks. Each write takes effect and is checked here at a single instant.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use jobs::JobId;
use jobs::bucket::{ETag, Entry, Object, PutOutcome};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::invariants::InvariantChecker;
use super::process_context::{ProcessInfo, Role};
use super::request::{OwnedCondition, Write};
use super::rng::{Rng, digest, mix};
use super::scenario::Scenario;

/// Number of trace lines that are kept.
const MAX_TRACE_LINES: usize = 60;

/// The state of one simulation.
pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) scenario: Scenario,
    /// When the last fault is injected.
    pub(super) faults_end_at: Duration,
    began: Instant,
    state: Mutex<State>,
    violation_found: Notify,
}

struct State {
    objects: BTreeMap<Arc<str>, Object>,
    checker: InvariantChecker,
    disk: HashMap<PathBuf, Bytes>,
    processes: Vec<ProcessState>,
    /// Users who may still write.
    n_users: usize,
    /// Users' writes in flight.
    n_user_writes: usize,
    report: Report,
    trace: VecDeque<(Duration, String)>,
}

/// Whether a process is alive or paused.
#[derive(Debug)]
pub(super) struct ProcessState {
    pub(super) info: Arc<ProcessInfo>,
    pub(super) died_at: Option<Duration>,
    /// When its last pause ends or ended.
    pub(super) paused_until: Duration,
}

/// The outcome of a simulation.
#[derive(Debug, Default, Clone)]
pub(super) struct Report {
    /// The first violated invariant.
    pub(super) violation: Option<String>,
    /// A hash of all writes: equal for equal runs.
    pub(super) fingerprint: u64,
    /// How often each notable event happened.
    pub(super) counts: BTreeMap<&'static str, u64>,
    /// The last events before the violation.
    pub(super) trace: Vec<String>,
}

impl World {
    pub(super) fn new(rng: Rng, scenario: Scenario) -> Arc<Self> {
        let state = State {
            objects: BTreeMap::new(),
            checker: InvariantChecker::new(&scenario),
            disk: HashMap::new(),
            processes: Vec::new(),
            n_users: scenario.n_users,
            n_user_writes: 0,
            report: Report::default(),
            trace: VecDeque::new(),
        };
        let (state, violation_found) = (Mutex::new(state), Notify::new());
        Arc::new(Self {
            rng,
            faults_end_at: scenario.faults_end_at,
            scenario,
            began: Instant::now(),
            state,
            violation_found,
        })
    }

    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn faults_have_ended(&self) -> bool {
        self.now() >= self.faults_end_at
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    // Processes.

    pub(super) fn add_process(&self, name: String, role: Role) -> Arc<ProcessInfo> {
        let mut state = self.state();
        let info = Arc::new(ProcessInfo { idx: state.processes.len(), name, role });
        let life = ProcessState { info: info.clone(), died_at: None, paused_until: Duration::ZERO };
        state.processes.push(life);
        info
    }

    pub(super) fn process_died(&self, process_idx: usize) {
        let now = self.now();
        let mut state = self.state();
        let life = &mut state.processes[process_idx];
        life.died_at = Some(now);
        let what = format!("{} crashed", life.info.name);
        state.note(now, what);
        state.count("a process crashed");
    }

    pub(super) fn process_paused(&self, process_idx: usize, length: Duration) {
        let now = self.now();
        let mut state = self.state();
        let life = &mut state.processes[process_idx];
        life.paused_until = life.paused_until.max(now + length);
        let what = format!("{} pauses for {:.1} s", life.info.name, length.as_secs_f64());
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
            age: None,
            revision: object.etag.0.clone(),
        };
        all.map(entry).collect()
    }

    /// A write arrives: applies and checks it.
    pub(super) fn commit(&self, by: &ProcessInfo, write: &Write) -> PutOutcome {
        let now = self.now();
        let mut state = self.state();
        let state = &mut *state;
        state.n_user_writes -= usize::from(by.role == Role::User);
        let (key, body, when) = match write {
            Write::Put { key, body, when } => (key, Some(body), when),
            Write::Delete { key } => (key, None, &OwnedCondition::Always),
        };
        let found = state.objects.get(key).map(|object| &object.etag);
        let holds = match when {
            OwnedCondition::Always => true,
            OwnedCondition::Absent => found.is_none(),
            OwnedCondition::Is(etag) => found == Some(etag),
        };
        let verb = if body.is_some() { "writes" } else { "removes" };
        if !holds && self.scenario.conditions.applies_to(key) {
            state.note(now, format!("{} {verb} {key}: refused", by.name));
            state.count(state.checker.refused(by, key));
            return PutOutcome::ConditionFailed;
        }
        let written = body.map(|body| {
            let etag = ETag(format!("\"{:016x}\"", digest(body)));
            Object { bytes: body.clone(), etag }
        });
        let checked =
            state.checker.check_write(now, by, key, written.as_ref(), &state.objects, &state.processes);
        let etag = written.as_ref().map_or_else(|| ETag(String::new()), |object| object.etag.clone());
        match written {
            Some(object) => state.objects.insert(key.clone(), object),
            None => state.objects.remove(key),
        };
        let fingerprint = [now.as_nanos() as u64, digest(key.as_bytes()), digest(etag.0.as_bytes())];
        // The index may list the same jobs in any order.
        for number in fingerprint.into_iter().filter(|_| !key.starts_with("index/")) {
            state.report.fingerprint = mix(state.report.fingerprint ^ number);
        }
        match checked {
            Ok(verdict) => {
                state.note(now, format!("{} {verb} {key}{}", by.name, verdict.what));
                verdict.counts.into_iter().for_each(|what| state.count(what));
            }
            Err(violation) => {
                state.note(now, format!("{} {verb} {key}", by.name));
                self.record_violation(state, now, violation);
            }
        }
        PutOutcome::Written(etag)
    }

    /// Adds an object that exists before the simulation starts.
    pub(super) fn add_object(&self, key: String, bytes: Vec<u8>) {
        let etag = ETag(format!("\"{:016x}\"", digest(&bytes)));
        let object = Object { bytes: bytes.into(), etag };
        let mut state = self.state();
        state.checker.add_existing(&key, &object);
        state.objects.insert(key.into(), object);
    }

    // Disks.

    pub(super) fn write_file(&self, path: PathBuf, bytes: Vec<u8>) {
        self.state().disk.insert(path, bytes.into());
    }

    pub(super) fn file(&self, path: &Path) -> Bytes {
        self.state().disk[path].clone()
    }

    // Invariants.

    /// Stores results in the database.
    pub(super) fn import(&self, id: &JobId, sha256: &str) {
        let now = self.now();
        let mut state = self.state();
        match state.checker.import(id, sha256) {
            Ok(what) => state.count(what),
            Err(violation) => self.record_violation(&mut state, now, violation),
        }
    }

    /// Reports an event that must not happen.
    pub(super) fn report_violation(&self, violation: String) {
        let now = self.now();
        self.record_violation(&mut self.state(), now, violation);
    }

    fn record_violation(&self, state: &mut State, now: Duration, violation: String) {
        state.note(now, format!("VIOLATION: {violation}"));
        if state.report.violation.is_none() {
            state.report.violation = Some(violation);
            state.report.trace = state.trace.iter().map(line).collect();
        }
        self.violation_found.notify_one();
    }

    /// Waits for the first violation.
    pub(super) async fn wait_for_violation(&self) {
        self.violation_found.notified().await;
    }

    pub(super) fn declare(&self, id: &JobId, what: Declaration) {
        self.state().checker.declare(id, what);
    }

    pub(super) fn is_submitted(&self, id: &JobId) -> bool {
        self.state().checker.is_submitted(id)
    }

    pub(super) fn count(&self, what: &'static str) {
        self.state().count(what);
    }

    /// A write was sent.
    pub(super) fn write_sent(&self, by: &ProcessInfo) {
        if by.role == Role::User {
            self.state().n_user_writes += 1;
        }
    }

    /// A user has stopped writing.
    pub(super) fn user_finished(&self) {
        self.state().n_users -= 1;
    }

    /// Whether every job is finished and no user will write again.
    pub(super) fn is_settled(&self) -> bool {
        let state = self.state();
        state.n_users == 0 && state.n_user_writes == 0 && state.checker.is_settled()
    }

    /// Ends the simulation: checks the final state.
    pub(super) fn close(&self) -> Report {
        let now = self.now();
        let mut state = self.state();
        let last = state.checker.close(&state.objects);
        if let Err(violation) = last {
            self.record_violation(&mut state, now, violation);
        }
        state.report.clone()
    }
}

/// What a process declares about its actions, so that the checker can judge them.
#[derive(Debug, Clone)]
pub(super) enum Declaration {
    /// Its submission was confirmed.
    Submitted,
    /// The owner will report a failure that is not retryable.
    NotRetryable { claim_id: String },
}

fn line((at, what): &(Duration, String)) -> String {
    format!("{:>10.3} s  {what}", at.as_secs_f64())
}

impl State {
    fn note(&mut self, now: Duration, what: String) {
        if self.trace.len() == MAX_TRACE_LINES {
            self.trace.pop_front();
        }
        self.trace.push_back((now, what));
    }

    fn count(&mut self, what: &'static str) {
        *self.report.counts.entry(what).or_default() += 1;
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}
