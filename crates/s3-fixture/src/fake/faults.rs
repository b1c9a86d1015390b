//! Faults that can be injected into a request, and plans that choose them.
//!
//! A plan is any closure from a [`Call`] to a [`Fault`]. [`RandomFaults`] is a plan whose decisions depend on
//! a seed and on the number of the call to its key, but not on how concurrent calls interleave.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use tokio::sync::watch;

use super::log::Op;

/// The properties of a request that a fault plan can use.
#[derive(Clone, Debug)]
pub struct Call {
    /// Number of the request in the log.
    pub seq: u64,
    /// S3 operation, derived from method, path and query.
    pub op: Op,
    /// Key of the object; for a list, the prefix.
    pub key: String,
    /// Whether the request has `If-Match` or `If-None-Match`.
    pub conditional: bool,
    /// First byte of the requested `Range`.
    pub range_start: Option<u64>,
}

/// A fault. "Not executed" is final: the request takes no effect later either.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The request is executed late, even if the client has disconnected by then.
    Delay(Duration),
    /// The request waits for the gate and is then executed, even if the client has disconnected.
    Hold(Gate),
    /// 500 `InternalError`; not executed.
    ServerError,
    /// 503 `SlowDown`; not executed.
    SlowDown,
    /// The connection is closed without a response; not executed.
    Drop,
    /// No response is ever sent; not executed.
    Hang,
    /// Executed, but the response is 500 `InternalError`.
    CommitThenError,
    /// Executed, but the connection is closed without a response.
    CommitThenDrop,
    /// Executed, but no response is ever sent.
    CommitThenHang,
    /// Executed, but the response waits for the gate.
    CommitThenHold(Gate),
    /// The response's body ends after this many bytes, before its announced length.
    Truncate(usize),
    /// The middle byte of the response's body is changed.
    Corrupt,
}

pub(crate) type Plan = Box<dyn FnMut(&Call) -> Option<Fault> + Send>;

/// Holds requests until the test opens it.
#[derive(Clone, Debug)]
pub struct Gate(watch::Sender<GateState>);

#[derive(Clone, Copy, Debug, Default)]
struct GateState {
    n_arrived: usize,
    open: bool,
}

impl Default for Gate {
    fn default() -> Self {
        Gate::new()
    }
}

impl Gate {
    /// Creates a closed gate.
    pub fn new() -> Gate {
        Gate(watch::Sender::new(GateState::default()))
    }

    /// Releases all requests that are waiting and lets later ones pass.
    pub fn open(&self) {
        self.0.send_modify(|s| s.open = true);
    }

    /// Waits until `n` requests have reached the gate.
    pub async fn arrived(&self, n: usize) {
        self.until(|s| s.n_arrived >= n).await;
    }

    pub(crate) async fn pass(&self) {
        self.0.send_modify(|s| s.n_arrived += 1);
        self.until(|s| s.open).await;
    }

    async fn until(&self, condition: impl FnMut(&GateState) -> bool) {
        self.0.subscribe().wait_for(condition).await.expect("the gate owns its sender");
    }
}

/// A plan that chooses faults by probability. All are 0 by default; each call gets at most one fault.
#[derive(Clone, Debug, Default)]
pub struct RandomFaults {
    /// Seed: the same seed and the same calls give the same faults.
    pub seed: u64,
    /// Operations that may fail; all if empty.
    pub ops: Vec<Op>,
    /// Prefix of the keys that may fail; all if empty.
    pub key_prefix: String,
    /// Probability of [`Fault::Drop`]: no response, not executed.
    pub drop: f64,
    /// Probability of [`Fault::ServerError`]: status 500, not executed.
    pub server_error: f64,
    /// Probability of [`Fault::SlowDown`]: status 503, not executed.
    pub slow_down: f64,
    /// Probability of [`Fault::Hang`]: never a response, not executed.
    pub hang: f64,
    /// Probability of [`Fault::CommitThenError`]: executed, status 500.
    pub commit_then_error: f64,
    /// Probability of [`Fault::CommitThenDrop`]: executed, no response.
    pub commit_then_drop: f64,
    /// Probability of [`Fault::CommitThenHang`]: executed, never a response.
    pub commit_then_hang: f64,
    /// Probability of [`Fault::Corrupt`]: one byte of the body is changed.
    pub corrupt: f64,
    /// Probability of [`Fault::Truncate`] to an empty body.
    pub truncate: f64,
    /// Probability of [`Fault::Delay`]: executed up to [`Self::max_delay`] late.
    pub delay: f64,
    /// Longest delay; delays are distributed uniformly from 0.
    pub max_delay: Duration,
}

impl RandomFaults {
    /// Makes the plan, for [`FakeR2::set_faults`](super::FakeR2::set_faults).
    pub fn plan(self) -> impl FnMut(&Call) -> Option<Fault> + Send + 'static {
        let mut n_calls = HashMap::<(Op, String), u64>::new();
        move |call| {
            if !(self.ops.is_empty() || self.ops.contains(&call.op))
                || !call.key.starts_with(&self.key_prefix)
            {
                return None;
            }
            let nth = n_calls.entry((call.op, call.key.clone())).or_default();
            *nth += 1;
            self.draw(fraction(&(self.seed, call.op, &call.key, *nth, "which")), || {
                fraction(&(self.seed, call.op, &call.key, *nth, "how long"))
            })
        }
    }

    fn draw(&self, mut at: f64, delay: impl Fn() -> f64) -> Option<Fault> {
        let table = [
            (self.drop, Fault::Drop),
            (self.server_error, Fault::ServerError),
            (self.slow_down, Fault::SlowDown),
            (self.hang, Fault::Hang),
            (self.commit_then_error, Fault::CommitThenError),
            (self.commit_then_drop, Fault::CommitThenDrop),
            (self.commit_then_hang, Fault::CommitThenHang),
            (self.corrupt, Fault::Corrupt),
            (self.truncate, Fault::Truncate(0)),
            (self.delay, Fault::Delay(self.max_delay.mul_f64(delay()))),
        ];
        for (probability, fault) in table {
            if at < probability {
                return Some(fault);
            }
            at -= probability;
        }
        None
    }
}

/// A number in [0, 1) derived from a hash of `what`.
fn fraction(what: &impl Hash) -> f64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    (hasher.finish() >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(seq: u64, key: &str) -> Call {
        Call { seq, op: Op::PutObject, key: key.to_owned(), conditional: false, range_start: None }
    }

    #[test]
    fn random_faults_depend_on_the_seed_and_not_on_the_order_of_keys() {
        let faults = RandomFaults { seed: 5, drop: 0.3, commit_then_error: 0.3, ..RandomFaults::default() };
        let decide = |order: &[&str]| {
            let mut plan = faults.clone().plan();
            let mut by_key = HashMap::<String, Vec<String>>::new();
            for key in order {
                by_key.entry((*key).to_owned()).or_default().push(format!("{:?}", plan(&call(0, key))));
            }
            by_key
        };
        assert_eq!(decide(&["a", "a", "b", "b", "a"]), decide(&["b", "a", "b", "a", "a"]));
    }

    #[test]
    fn random_faults_occur_with_the_given_probability() {
        let faults = RandomFaults { seed: 1, drop: 0.25, slow_down: 0.25, ..RandomFaults::default() };
        let mut plan = faults.plan();
        let outcomes: Vec<_> = (0..4000).map(|i| plan(&call(i, "k"))).collect();
        let n = |f: fn(&Fault) -> bool| outcomes.iter().flatten().filter(|o| f(o)).count();
        assert!((900..1100).contains(&n(|f| matches!(f, Fault::Drop))));
        assert!((900..1100).contains(&n(|f| matches!(f, Fault::SlowDown))));
        assert!((1800..2200).contains(&outcomes.iter().filter(|o| o.is_none()).count()));
    }

    #[test]
    fn random_faults_are_limited_to_operations_and_prefix() {
        let faults = RandomFaults {
            drop: 1.0,
            ops: vec![Op::PutObject],
            key_prefix: "jobs/".to_owned(),
            ..RandomFaults::default()
        };
        let mut plan = faults.plan();
        assert!(plan(&call(0, "jobs/1")).is_some());
        assert!(plan(&call(1, "videos/1")).is_none());
        assert!(plan(&Call { op: Op::GetObject, ..call(2, "jobs/1") }).is_none());
    }
}
