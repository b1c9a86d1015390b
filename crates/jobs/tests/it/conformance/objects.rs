//! Objects, conditions and listings.

use bytes::Bytes;
use futures::StreamExt;
use jobs::Error;
use jobs::bucket::{Bucket, Condition, ETag, Entry, PutOutcome};
use jobs::probe;
use jobs::transfer::FileDigest;

use crate::support::{Fresh, TestEnv, random_file};

pub(super) fn body(text: &str) -> Bytes {
    Bytes::from(text.to_owned())
}

/// Writes an object and returns its tag.
pub(super) async fn put(bucket: &dyn Bucket, key: &str, text: &str, condition: Condition<'_>) -> ETag {
    match bucket.put(key, body(text), condition).await.unwrap() {
        PutOutcome::Written(etag) => etag,
        PutOutcome::ConditionFailed => panic!("the write of {key} was refused"),
    }
}

pub(super) async fn text(bucket: &dyn Bucket, key: &str) -> Option<String> {
    let object = bucket.get(key, 2 << 20).await.unwrap()?;
    Some(String::from_utf8(object.bytes.to_vec()).unwrap())
}

/// A tag that no object has.
pub(super) fn unknown_tag() -> ETag {
    ETag("\"0123456789abcdef0123456789abcdef\"".to_owned())
}

async fn assert_refused(bucket: &dyn Bucket, key: &str, condition: Condition<'_>) {
    let written = bucket.put(key, body("refused"), condition).await.unwrap();
    assert_eq!(written, PutOutcome::ConditionFailed, "{condition:?}");
}

async fn list_sorted(bucket: &dyn Bucket, prefix: &str) -> Vec<Entry> {
    let mut entries = bucket.list(prefix).await.unwrap();
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    entries
}

pub(super) async fn objects_are_read_as_written(fresh: &Fresh) {
    let bucket = fresh.open();
    assert!(bucket.get("jobs/a.json", 100).await.unwrap().is_none());
    assert!(bucket.head("jobs/a.json").await.unwrap().is_none());
    let written = put(&*bucket, "jobs/a.json", "{\"a\": 1}", Condition::Always).await;
    let other = fresh.open();
    let read = other.get("jobs/a.json", 100).await.unwrap().unwrap();
    assert_eq!((&read.bytes[..], &read.etag), (&b"{\"a\": 1}"[..], &written));
    assert_eq!(other.head("jobs/a.json").await.unwrap(), Some((8, written)));
    put(&*bucket, "jobs/a.json", "", Condition::Always).await;
    assert_eq!(text(&*other, "jobs/a.json").await.as_deref(), Some(""));
}

pub(super) async fn conditions_are_honoured(fresh: &Fresh) {
    let (bucket, key) = (fresh.open(), "jobs/a.json");
    assert_refused(&*bucket, key, Condition::Is(&unknown_tag())).await;
    assert!(bucket.head(key).await.unwrap().is_none());
    let first = put(&*bucket, key, "1", Condition::Absent).await;
    assert_refused(&*bucket, key, Condition::Absent).await;
    assert_refused(&*bucket, key, Condition::Is(&unknown_tag())).await;
    assert_eq!(text(&*bucket, key).await.as_deref(), Some("1"));
    let second = put(&*bucket, key, "2", Condition::Is(&first)).await;
    assert_ne!(first, second);
    assert_refused(&*bucket, key, Condition::Is(&first)).await;
    assert_refused(&*fresh.open(), key, Condition::Is(&first)).await;
    let third = put(&*fresh.open(), key, "3", Condition::Is(&second)).await;
    assert_eq!(bucket.head(key).await.unwrap(), Some((1, third)));
    put(&*bucket, key, "4", Condition::Always).await;
    assert_eq!(text(&*bucket, key).await.as_deref(), Some("4"));
    bucket.delete(key).await.unwrap();
    assert_refused(&*bucket, key, Condition::Is(&second)).await;
    put(&*bucket, key, "5", Condition::Absent).await;
}

pub(super) async fn reads_are_limited_in_size(fresh: &Fresh) {
    let bucket = fresh.open();
    put(&*bucket, "logs/a", "12345", Condition::Always).await;
    assert_eq!(bucket.get("logs/a", 5).await.unwrap().unwrap().bytes.len(), 5);
    let error = bucket.get("logs/a", 4).await.unwrap_err();
    assert!(matches!(&error, Error::Mismatch { key, .. } if key == "logs/a"), "{error:?}");
}

pub(super) async fn files_are_written_as_single_objects(fresh: &Fresh) {
    let (bucket, key) = (fresh.open(), "results/a.json");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let mut last = None;
    // Empty, one byte, and three full chunks with a partial one.
    for (seed, size_bytes) in [0, 1, (3 << 20) + 17].into_iter().enumerate() {
        random_file(&file, size_bytes, seed as u64);
        let condition = last.as_ref().map_or(Condition::Absent, Condition::Is);
        let content = FileDigest::of(&file).unwrap();
        let PutOutcome::Written(etag) = bucket.put_file(key, &file, &content, condition).await.unwrap()
        else {
            panic!("the write of {size_bytes} bytes was refused");
        };
        let object = bucket.get(key, 4 << 20).await.unwrap().unwrap();
        assert!(object.bytes == std::fs::read(&file).unwrap(), "{size_bytes} bytes changed");
        assert_eq!(object.etag, etag);
        last = Some(etag);
    }
    let content = FileDigest::of(&file).unwrap();
    for condition in [Condition::Absent, Condition::Is(&unknown_tag())] {
        let outcome = bucket.put_file(key, &file, &content, condition).await.unwrap();
        assert_eq!(outcome, PutOutcome::ConditionFailed);
    }
    let none = folder.path().join("none");
    let missing = bucket.put_file(key, &none, &content, Condition::Always).await.unwrap_err();
    assert!(matches!(missing, Error::File { .. }), "{missing:?}");
}

pub(super) async fn a_file_that_was_damaged_after_it_was_hashed_is_not_taken(fresh: &Fresh) {
    let (bucket, key) = (fresh.open(), "results/a.json");
    let file = tempfile::NamedTempFile::new().unwrap();
    random_file(file.path(), 3000, 1);
    let content = FileDigest::of(file.path()).unwrap();
    for change in [|bytes: &mut Vec<u8>| bytes.truncate(30), |bytes: &mut Vec<u8>| bytes.fill(0), Vec::clear]
    {
        let mut bytes = std::fs::read(file.path()).unwrap();
        change(&mut bytes);
        std::fs::write(file.path(), bytes).unwrap();
        let error = bucket.put_file(key, file.path(), &content, Condition::Always).await.unwrap_err();
        assert!(matches!(error, Error::FileChanged { .. }), "{error:?}");
    }
}

pub(super) async fn removing_a_missing_object_succeeds(fresh: &Fresh) {
    let bucket = fresh.open();
    bucket.delete("checkpoints/a/0001-000001/state").await.unwrap();
    put(&*bucket, "checkpoints/a/0001-000001/state", "1", Condition::Always).await;
    for _ in 0..2 {
        bucket.delete("checkpoints/a/0001-000001/state").await.unwrap();
        assert!(bucket.head("checkpoints/a/0001-000001/state").await.unwrap().is_none());
    }
}

pub(super) async fn a_listing_shows_exactly_the_keys_below_its_prefix(fresh: &Fresh) {
    let bucket = fresh.open();
    for prefix in ["jobs/", "checkpoints/none/"] {
        assert_eq!(bucket.list(prefix).await.unwrap(), []);
    }
    let below = ["checkpoints/a/0001-000001/x", "checkpoints/a/0001-000001/y", "checkpoints/a/z"];
    for key in below.into_iter().chain(["checkpoints/a.b/x", "checkpoints/ab/x", "jobs/a"]) {
        put(&*bucket, key, "123", Condition::Always).await;
    }
    let listed = list_sorted(&*bucket, "checkpoints/a/").await;
    assert_eq!(listed.iter().map(|e| e.key.as_str()).collect::<Vec<_>>(), below);
    assert!(listed.iter().all(|entry| entry.size_bytes == 3 && !entry.revision.is_empty()));
    assert_eq!(bucket.list("checkpoints/").await.unwrap().len(), 5);
}

pub(super) async fn a_listing_spans_several_pages(fresh: &Fresh) {
    let bucket = fresh.open();
    let keys: Vec<_> = (0..1003).map(|i| format!("jobs/{i:04}.json")).collect();
    let writes = futures::stream::iter(&keys).map(|key| {
        let bucket = bucket.clone();
        async move { put(&*bucket, key, "{}", Condition::Always).await }
    });
    writes.buffer_unordered(16).collect::<Vec<_>>().await;
    let listed = list_sorted(&*bucket, "jobs/").await;
    assert_eq!(listed.into_iter().map(|entry| entry.key).collect::<Vec<_>>(), keys);
}

pub(super) async fn a_listing_shows_changes(fresh: &Fresh) {
    let bucket = fresh.open();
    put(&*bucket, "jobs/a", "1", Condition::Always).await;
    put(&*bucket, "jobs/b", "1", Condition::Always).await;
    // Ages grow all the time.
    let without_age = |entry: Entry| Entry { age: None, ..entry };
    let listed = async |bucket: &dyn Bucket| -> Vec<Entry> {
        list_sorted(bucket, "jobs/").await.into_iter().map(without_age).collect()
    };
    let before = listed(&*bucket).await;
    assert_eq!(listed(&*fresh.open()).await, before);
    put(&*bucket, "jobs/b", "2", Condition::Always).await;
    let after = listed(&*bucket).await;
    assert_eq!(after[0], before[0]);
    assert_ne!(after[1].revision, before[1].revision);
}

pub(super) async fn keys_may_contain_dots_spaces_and_unicode(fresh: &Fresh) {
    let bucket = fresh.open();
    let keys = ["jobs/a.b-c_D.1.json", "jobs/a.json", "videos/My game (1) + ä, 篮球.mp4", "videos/a=b&c.mp4"];
    for key in keys {
        put(&*bucket, key, key, Condition::Absent).await;
    }
    let mut listed = list_sorted(&*bucket, "jobs/").await;
    listed.extend(list_sorted(&*bucket, "videos/").await);
    let mut found: Vec<_> = listed.into_iter().map(|entry| entry.key).collect();
    found.sort();
    assert_eq!(found, keys);
    for key in keys {
        assert_eq!(text(&*bucket, key).await.as_deref(), Some(key));
        bucket.delete(key).await.unwrap();
        assert!(bucket.head(key).await.unwrap().is_none(), "{key}");
    }
}

pub(super) async fn the_probe_passes(fresh: &Fresh) {
    let bucket = fresh.open();
    for _ in 0..2 {
        probe::conditional_writes(&*bucket, &*TestEnv::new()).await.unwrap();
    }
    assert_eq!(bucket.list("probe/").await.unwrap(), []);
}
