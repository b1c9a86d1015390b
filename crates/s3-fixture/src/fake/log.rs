//! The log of requests: one entry per request, in order of arrival.
//!
//! Tests use it to count requests, which R2 bills, and to wait for a request instead of sleeping.

use std::sync::Mutex;

use tokio::sync::watch;

/// The S3 operation of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    /// `GET /bucket?location`: the bucket's region
    GetBucketLocation,
    /// `HEAD /bucket`: whether the bucket exists
    HeadBucket,
    /// `PUT /bucket`: create the bucket
    CreateBucket,
    /// `GET /bucket?list-type=2`: one page
    ListObjects,
    /// `GET /bucket/key`: all bytes or a `Range`
    GetObject,
    /// `HEAD /bucket/key`: size and entity tag
    HeadObject,
    /// `PUT /bucket/key`: create or replace, with optional conditions
    PutObject,
    /// `DELETE /bucket/key`: succeeds if the object is missing, too
    DeleteObject,
    /// `POST /bucket?delete`: up to 1,000 keys
    DeleteObjects,
    /// `POST /bucket/key?uploads`: returns an upload id
    CreateMultipartUpload,
    /// `PUT /bucket/key?partNumber&uploadId`: one part
    UploadPart,
    /// `POST /bucket/key?uploadId`: joins the parts into the object
    CompleteMultipartUpload,
    /// `DELETE /bucket/key?uploadId`: discards the parts
    AbortMultipartUpload,
    /// `GET /bucket/key?uploadId`: the uploaded parts
    ListParts,
    /// Any other request; rejected with 501.
    Unknown,
}

/// How R2 bills an operation, <https://developers.cloudflare.com/r2/pricing/>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Operations that change state, and lists
    A,
    /// Operations that read state.
    B,
    /// Deleting objects and aborting uploads.
    Free,
}

impl Op {
    /// How R2 bills this operation.
    pub fn class(self) -> Class {
        match self {
            Op::CreateBucket
            | Op::ListObjects
            | Op::PutObject
            | Op::CreateMultipartUpload
            | Op::UploadPart
            | Op::CompleteMultipartUpload
            | Op::ListParts => Class::A,
            Op::GetBucketLocation | Op::HeadBucket | Op::GetObject | Op::HeadObject => Class::B,
            Op::DeleteObject | Op::DeleteObjects | Op::AbortMultipartUpload | Op::Unknown => Class::Free,
        }
    }

    /// Whether the operation changes the bucket's objects or open uploads.
    pub fn is_write(self) -> bool {
        matches!(
            self,
            Op::CreateBucket
                | Op::PutObject
                | Op::DeleteObject
                | Op::DeleteObjects
                | Op::CreateMultipartUpload
                | Op::UploadPart
                | Op::CompleteMultipartUpload
                | Op::AbortMultipartUpload
        )
    }
}

/// A request in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Number of the request, from 0 at the server's first start; never reset.
    pub seq: u64,
    /// S3 operation, derived from method, path and query.
    pub op: Op,
    /// Key of the object; for a list, the prefix.
    pub key: String,
    /// Status of the response; `None` if there is no response yet, or never.
    pub status: Option<u16>,
}

/// Numbers of requests, with or without a response.
#[derive(Clone, Debug, Default)]
pub struct Counts(Vec<Op>);

impl Counts {
    /// Number of requests for one operation.
    pub fn of(&self, op: Op) -> usize {
        self.0.iter().filter(|o| **o == op).count()
    }

    /// Number of requests that R2 bills as Class A.
    pub fn class_a(&self) -> usize {
        self.in_class(Class::A)
    }

    /// Number of requests that R2 bills as Class B.
    pub fn class_b(&self) -> usize {
        self.in_class(Class::B)
    }

    /// Number of all requests.
    pub fn total(&self) -> usize {
        self.0.len()
    }

    fn in_class(&self, class: Class) -> usize {
        self.0.iter().filter(|o| o.class() == class).count()
    }
}

/// The log, with a way to wait for changes.
#[derive(Debug)]
pub(crate) struct Log {
    entries: Mutex<Entries>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Entries {
    /// Number of entries that were cleared.
    n_cleared: u64,
    kept: Vec<Entry>,
}

impl Log {
    pub(crate) fn new() -> Log {
        Log { entries: Mutex::default(), changed: watch::Sender::new(()) }
    }

    /// Records a request and returns its number.
    pub(crate) fn arrived(&self, op: Op, key: &str) -> u64 {
        let mut entries = self.lock();
        let seq = entries.n_cleared + entries.kept.len() as u64;
        entries.kept.push(Entry { seq, op, key: key.to_owned(), status: None });
        drop(entries);
        self.changed.send_replace(());
        seq
    }

    /// Records the response to a request.
    pub(crate) fn responded(&self, seq: u64, status: u16) {
        let mut entries = self.lock();
        let index = seq.checked_sub(entries.n_cleared);
        if let Some(entry) = index.and_then(|i| entries.kept.get_mut(i as usize)) {
            entry.status = Some(status);
        }
        drop(entries);
        self.changed.send_replace(());
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.lock().kept.clone()
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts(self.lock().kept.iter().map(|e| e.op).collect())
    }

    pub(crate) fn clear(&self) {
        let mut entries = self.lock();
        entries.n_cleared += entries.kept.len() as u64;
        entries.kept.clear();
    }

    pub(crate) async fn wait_for(&self, mut enough: impl FnMut(&[Entry]) -> bool) {
        let mut changed = self.changed.subscribe();
        loop {
            if enough(&self.entries()) {
                return;
            }
            changed.changed().await.expect("the log owns its sender");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.entries.lock().expect("no holder of the log's lock panics")
    }
}
