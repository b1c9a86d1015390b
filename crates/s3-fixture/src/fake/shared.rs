//! The state that the fake's threads and its handle share: content, settings, fault plan and log.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;

use super::conditions::ConditionalWrites;
use super::error::S3Error;
use super::faults::{Call, Fault, Plan};
use super::log::{Log, Op};
use super::request::Request;
use super::response::S3Response;
use super::service::Ready;
use super::store::{Rules, Store};

/// The permissions of the access key that clients sign with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Reads and writes are allowed.
    #[default]
    Full,
    /// Reads are allowed; a write is 403 `AccessDenied`.
    ReadOnly,
    /// Everything is 403 `AccessDenied`, as for a key of another bucket.
    None,
    /// Everything is 403 `SignatureDoesNotMatch`, as for a wrong secret.
    WrongSecret,
    /// Everything is 401 `Unauthorized`, as for a revoked key.
    UnknownKey,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) access: Access,
    /// Whether the bucket was created.
    pub(super) exists: bool,
    pub(super) rules: Rules,
    pub(super) latency: Duration,
    pub(super) max_page_size: usize,
}

/// A fault for a single request.
#[derive(Debug)]
struct Once {
    op: Op,
    key_prefix: String,
    fault: Fault,
}

pub(super) struct Shared {
    pub(super) bucket: String,
    access_key_id: Option<String>,
    pub(super) log: Log,
    store: Mutex<Store>,
    settings: Mutex<Settings>,
    plan: Mutex<Option<Plan>>,
    once: Mutex<VecDeque<Once>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(bucket: String, access_key_id: Option<String>) -> Shared {
        let rules = Rules {
            conditional_writes: ConditionalWrites::Honoured,
            min_part_bytes: 5 << 20,
            min_write_interval: Duration::ZERO,
        };
        let settings = Settings {
            access: Access::Full,
            exists: true,
            rules,
            latency: Duration::ZERO,
            max_page_size: usize::MAX,
        };
        Shared {
            bucket,
            access_key_id,
            log: Log::new(),
            store: Mutex::default(),
            settings: Mutex::new(settings),
            plan: Mutex::default(),
            once: Mutex::default(),
        }
    }

    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().expect("no operation panics")
    }

    pub(super) fn settings(&self) -> Settings {
        *self.settings.lock().expect("no setting panics")
    }

    pub(super) fn set(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings.lock().expect("no setting panics"));
    }

    pub(super) fn set_plan(&self, plan: Option<Plan>) {
        *self.plan.lock().expect("no fault plan panics") = plan;
    }

    pub(super) fn fail_next(&self, op: Op, key_prefix: &str, fault: Fault) {
        let once = Once { op, key_prefix: key_prefix.to_owned(), fault };
        self.once.lock().expect("this lock's users do not panic").push_back(once);
    }

    pub(super) fn clear_once(&self) {
        self.once.lock().expect("this lock's users do not panic").clear();
    }

    /// The fault for this call: a matching one of [`Self::fail_next`], otherwise the plan's.
    pub(super) fn fault(&self, call: &Call) -> Option<Fault> {
        let mut once = self.once.lock().expect("this lock's users do not panic");
        let meets = |once: &Once| once.op == call.op && call.key.starts_with(&once.key_prefix);
        if let Some(index) = once.iter().position(meets) {
            return once.remove(index).map(|once| once.fault);
        }
        drop(once);
        self.plan.lock().expect("no fault plan panics").as_mut().and_then(|plan| plan(call))
    }

    /// Executes a request in one atomic step.
    pub(super) fn execute(&self, request: Request, body: Bytes) -> Result<S3Response, S3Error> {
        let settings = self.settings();
        self.check_access(&request, settings.access)?;
        let is_creation = request.op == Op::CreateBucket;
        if request.bucket != self.bucket || !(settings.exists || is_creation) {
            return Err(S3Error::no_such_bucket());
        }
        if is_creation {
            self.set(|settings| settings.exists = true);
        }
        let ready = Ready::new(request, body)?;
        ready.run(&mut self.store(), settings.rules, settings.max_page_size)
    }

    fn check_access(&self, request: &Request, access: Access) -> Result<(), S3Error> {
        if self.access_key_id.is_some() && request.access_key_id() != self.access_key_id.as_deref() {
            return Err(S3Error::unauthorized());
        }
        match access {
            Access::Full => Ok(()),
            Access::ReadOnly if !request.op.is_write() => Ok(()),
            Access::ReadOnly | Access::None => Err(S3Error::access_denied()),
            Access::WrongSecret => Err(S3Error::signature_does_not_match()),
            Access::UnknownKey => Err(S3Error::unauthorized()),
        }
    }
}
