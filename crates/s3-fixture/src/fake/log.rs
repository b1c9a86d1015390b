//! What the fake was asked: one entry for each request, in the order in which the requests arrived.
//!
//! Tests count requests with it (they are what R2 bills) and wait for one to arrive instead of sleeping.

use std::sync::Mutex;

use tokio::sync::watch;

/// The S3 operation that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    /// `GET /bucket?location`
    GetBucketLocation,
    /// `HEAD /bucket`
    HeadBucket,
    /// `GET /bucket?list-type=2`: one page
    ListObjects,
    /// `GET /bucket/key`
    GetObject,
    /// `HEAD /bucket/key`
    HeadObject,
    /// `PUT /bucket/key`
    PutObject,
    /// `DELETE /bucket/key`
    DeleteObject,
    /// `POST /bucket?delete`
    DeleteObjects,
    /// `POST /bucket/key?uploads`
    CreateMultipartUpload,
    /// `PUT /bucket/key?partNumber&uploadId`
    UploadPart,
    /// `POST /bucket/key?uploadId`
    CompleteMultipartUpload,
    /// `DELETE /bucket/key?uploadId`
    AbortMultipartUpload,
    /// `GET /bucket/key?uploadId`
    ListParts,
    /// Anything else: declined with 501.
    Unknown,
}

/// How R2 bills an operation, <https://developers.cloudflare.com/r2/pricing/>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Operations that change state, and lists.
    A,
    /// Reads.
    B,
    /// Deletions and aborted uploads.
    Free,
}

impl Op {
    /// How R2 bills this operation.
    pub fn class(self) -> Class {
        match self {
            Op::ListObjects
            | Op::PutObject
            | Op::CreateMultipartUpload
            | Op::UploadPart
            | Op::CompleteMultipartUpload
            | Op::ListParts => Class::A,
            Op::GetBucketLocation | Op::HeadBucket | Op::GetObject | Op::HeadObject => Class::B,
            Op::DeleteObject | Op::DeleteObjects | Op::AbortMultipartUpload | Op::Unknown => Class::Free,
        }
    }

    /// Whether the operation changes what the bucket holds, open uploads included.
    pub fn is_write(self) -> bool {
        matches!(
            self,
            Op::PutObject
                | Op::DeleteObject
                | Op::DeleteObjects
                | Op::CreateMultipartUpload
                | Op::UploadPart
                | Op::CompleteMultipartUpload
                | Op::AbortMultipartUpload
        )
    }
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The request's number, from 0 at the server's first start; it never starts anew.
    pub seq: u64,
    /// What was asked.
    pub op: Op,
    /// The object's key; of a list, its prefix.
    pub key: String,
    /// The status answered; `None` while there is no answer, which may be for ever.
    pub status: Option<u16>,
}

/// Numbers of requests, answered or not.
#[derive(Clone, Debug, Default)]
pub struct Counts(Vec<Op>);

impl Counts {
    /// Requests for one operation.
    pub fn of(&self, op: Op) -> usize {
        self.0.iter().filter(|o| **o == op).count()
    }

    /// Requests that R2 bills as Class A.
    pub fn class_a(&self) -> usize {
        self.in_class(Class::A)
    }

    /// Requests that R2 bills as Class B.
    pub fn class_b(&self) -> usize {
        self.in_class(Class::B)
    }

    /// All requests.
    pub fn total(&self) -> usize {
        self.0.len()
    }

    fn in_class(&self, class: Class) -> usize {
        self.0.iter().filter(|o| o.class() == class).count()
    }
}

/// The log, and a way to wait for it to grow.
#[derive(Debug)]
pub(crate) struct Log {
    entries: Mutex<Entries>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Entries {
    /// Requests that were cleared.
    n_cleared: u64,
    kept: Vec<Entry>,
}

impl Log {
    pub(crate) fn new() -> Log {
        Log { entries: Mutex::default(), changed: watch::Sender::new(()) }
    }

    /// Notes a request and gives its number.
    pub(crate) fn arrived(&self, op: Op, key: &str) -> u64 {
        let mut entries = self.lock();
        let seq = entries.n_cleared + entries.kept.len() as u64;
        entries.kept.push(Entry { seq, op, key: key.to_owned(), status: None });
        drop(entries);
        self.changed.send_replace(());
        seq
    }

    /// Notes the answer to a request.
    pub(crate) fn answered(&self, seq: u64, status: u16) {
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
            changed.changed().await.expect("the log holds its sender");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.entries.lock().expect("no user of the log panics")
    }
}
