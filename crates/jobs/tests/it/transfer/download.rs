//! Downloads that are interrupted, resumed, or of the wrong object.

use jobs::Error;
use jobs::transfer::{FileDigest, download};
use s3_fixture::{Fault, Gate, Op};

use super::{KEY, Scene};
use crate::support::{Fresh, random_file};

/// Bytes per request of a download.
const RANGE: u64 = 16 << 20;
/// Four ranges, the last of three bytes.
const SIZE: u64 = 3 * RANGE + 3;

impl Scene {
    /// Adds an object of random bytes and returns its size and hash.
    fn object(&self, size_bytes: u64, seed: u64) -> FileDigest {
        let file = self.path("original");
        random_file(&file, size_bytes, seed);
        self.server.put(KEY, std::fs::read(&file).unwrap());
        let facts = FileDigest::of(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        facts
    }

    async fn download(&self, facts: &FileDigest) -> jobs::Result<FileDigest> {
        let want = (Some(facts.size_bytes), Some(facts.sha256.as_str()));
        download(&*self.bucket, KEY, want.0, want.1, &self.path("copy.mp4"), &|_| {}).await
    }
}

#[tokio::test]
async fn downloads_objects_of_all_sizes() {
    for (size_bytes, n_ranges) in [(0, 0), (1, 1), (RANGE, 1), (RANGE + 1, 2), (SIZE, 4)] {
        let scene = Scene::new();
        let facts = scene.object(size_bytes, 1);
        assert_eq!(scene.download(&facts).await.unwrap(), facts);
        assert_eq!(FileDigest::of(&scene.path("copy.mp4")).unwrap(), facts);
        assert_eq!((scene.names(), scene.count(Op::GetObject)), (vec!["copy.mp4".to_owned()], n_ranges));
    }
}

#[tokio::test]
async fn an_existing_correct_file_is_not_downloaded_again() {
    let scene = Scene::new();
    let facts = scene.object(1000, 1);
    scene.download(&facts).await.unwrap();
    scene.server.clear_log();
    assert_eq!(scene.download(&facts).await.unwrap(), facts);
    assert_eq!(scene.server.counts().total(), 0);
    // A file with wrong content is replaced.
    std::fs::write(scene.path("copy.mp4"), "something else").unwrap();
    scene.download(&facts).await.unwrap();
    assert_eq!(FileDigest::of(&scene.path("copy.mp4")).unwrap(), facts);
}

#[tokio::test]
async fn a_mismatching_object_does_not_become_a_file() {
    let scene = Scene::new();
    let facts = scene.object(1000, 1);
    let wrong = [
        FileDigest { size_bytes: 1001, ..facts.clone() },
        FileDigest { sha256: "0".repeat(64), ..facts.clone() },
    ];
    for wrong in &wrong {
        let error = scene.download(wrong).await.unwrap_err();
        assert!(matches!(&error, Error::Mismatch { key, .. } if key == KEY), "{error:?}");
        assert_eq!(scene.names(), [""; 0]);
    }
    scene.server.remove(KEY);
    let error = scene.download(&facts).await.unwrap_err();
    assert!(matches!(&error, Error::Missing { key, .. } if key == KEY), "{error:?}");
    assert_eq!(scene.names(), [""; 0]);
}

#[tokio::test]
async fn downloads_from_a_folder_are_verified_too() {
    let fresh = Fresh::folder();
    let bucket = fresh.open();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.mp4");
    let get = async |size_bytes, sha256| download(&*bucket, KEY, size_bytes, sha256, &copy, &|_| {}).await;
    assert!(matches!(get(None, None).await, Err(Error::Missing { .. })));
    bucket.put(KEY, "frames".into(), jobs::bucket::Condition::Always).await.unwrap();
    assert!(matches!(get(Some(7), None).await, Err(Error::Mismatch { .. })));
    assert!(matches!(get(None, Some("00")).await, Err(Error::Mismatch { .. })));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    // The second time, the file is already a hard link to the object.
    for _ in 0..2 {
        assert_eq!(get(Some(6), None).await.unwrap().size_bytes, 6);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

#[tokio::test]
async fn corruption_in_transit_is_detected_and_the_retry_succeeds() {
    let scene = Scene::new();
    let facts = scene.object(1000, 1);
    scene.server.fail_next(Op::GetObject, KEY, Fault::Corrupt);
    let error = scene.download(&facts).await.unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error:?}");
    assert_eq!(scene.names(), [""; 0]);
    scene.download(&facts).await.unwrap();
}

/// The connection is closed in the middle of a response; the client requests the rest by itself.
#[tokio::test]
async fn a_truncated_response_is_continued() {
    let scene = Scene::new();
    let facts = scene.object(SIZE, 1);
    for n_bytes in [0, 5, 1 << 20] {
        scene.server.fail_next(Op::GetObject, KEY, Fault::Truncate(n_bytes));
    }
    assert_eq!(scene.download(&facts).await.unwrap(), facts);
    assert!(scene.count(Op::GetObject) > 4);
}

/// Interrupts a download when the journal lists two of four ranges.
async fn interrupted() -> (Scene, FileDigest) {
    let mut scene = Scene::new();
    let facts = scene.object(SIZE, 1);
    let gate = Gate::new();
    let (held, mut n_asked) = (gate.clone(), 0);
    scene.server.set_faults(move |call| {
        n_asked += usize::from(call.op == Op::GetObject);
        (call.op == Op::GetObject && n_asked > 2).then(|| Fault::Hold(held.clone()))
    });
    let journal = scene.path("copy.mp4.journal");
    let two_recorded = async {
        gate.arrived(2).await;
        while n_recorded(&journal) < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        result = scene.download(&facts) => panic!("{result:?}"),
                () = two_recorded => {}
    }
    scene.restart();
    (scene, facts)
}

/// Number of ranges that the journal lists.
fn n_recorded(journal: &std::path::Path) -> usize {
    let read = std::fs::read(journal).ok();
    let journal: Option<serde_json::Value> = read.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    journal.and_then(|j| Some(j["ranges"].as_array()?.len())).unwrap_or(0)
}

#[tokio::test]
async fn a_download_resumes_after_a_crash() {
    let (scene, facts) = interrupted().await;
    assert_eq!(scene.names(), ["copy.mp4.journal", "copy.mp4.partial"]);
    assert_eq!(scene.download(&facts).await.unwrap(), facts);
    assert_eq!((scene.count(Op::GetObject), scene.names()), (2, vec!["copy.mp4".to_owned()]));
}

#[tokio::test]
async fn an_invalid_journal_is_ignored() {
    let (scene, facts) = interrupted().await;
    std::fs::write(scene.path("copy.mp4.journal"), "{").unwrap();
    assert_eq!(scene.download(&facts).await.unwrap(), facts);
    assert_eq!(scene.count(Op::GetObject), 4);
}

/// Regression: the journal listed ranges of a file that no longer existed. Without a hash to verify, zeros
/// were taken for the content.
#[tokio::test]
async fn a_journal_without_its_file_is_ignored() {
    let (scene, facts) = interrupted().await;
    std::fs::remove_file(scene.path("copy.mp4.partial")).unwrap();
    let got = download(&*scene.bucket, KEY, None, None, &scene.path("copy.mp4"), &|_| {}).await.unwrap();
    assert_eq!((got, scene.count(Op::GetObject)), (facts, 4));
}

#[tokio::test]
async fn a_download_starts_over_if_the_object_was_replaced() {
    let (scene, _) = interrupted().await;
    let other = scene.object(SIZE, 2);
    assert_eq!(scene.download(&other).await.unwrap(), other);
    assert_eq!(scene.count(Op::GetObject), 4);
}

#[tokio::test]
async fn replacing_the_object_during_a_download_is_detected() {
    let scene = Scene::new();
    let facts = scene.object(SIZE, 1);
    let gate = Gate::new();
    scene.server.fail_next(Op::GetObject, KEY, Fault::Hold(gate.clone()));
    let replace = async {
        gate.arrived(1).await;
        let other = scene.object(SIZE, 2);
        gate.open();
        other
    };
    let (result, other) = futures::future::join(scene.download(&facts), replace).await;
    let error = result.unwrap_err();
    assert!(matches!(&error, Error::Mismatch { key, .. } if key == KEY), "{error:?}");
    assert!(!scene.path("copy.mp4").exists());
    assert_eq!(scene.download(&other).await.unwrap(), other);
}

#[tokio::test]
async fn progress_reports_only_what_can_be_read_from_the_partial_file() {
    let scene = Scene::new();
    let facts = scene.object(SIZE + RANGE, 1);
    let content = scene.server.object(KEY).unwrap().body;
    let reported = std::sync::Mutex::new(Vec::new());
    let listen = |arrived: jobs::transfer::DownloadProgress<'_>| {
        // What is reported as written can be read from the file.
        let written = std::fs::read(arrived.partial).unwrap();
        let (prefix, end) = (arrived.prefix as usize, content.len() - RANGE as usize);
        assert!(written[..prefix] == content[..prefix], "{arrived:?}");
        assert!(!arrived.has_end || written[end..] == content[end..], "{arrived:?}");
        reported.lock().unwrap().push((arrived.prefix, arrived.has_end));
    };
    // Hold back the second range until all others are written.
    let gate = Gate::new();
    let held = gate.clone();
    scene.server.set_faults(move |call| (call.range_start == Some(RANGE)).then(|| Fault::Hold(held.clone())));
    let copy = scene.path("copy.mp4");
    let download = download(&*scene.bucket, KEY, Some(facts.size_bytes), Some(&facts.sha256), &copy, &listen);
    let open = async {
        while reported.lock().unwrap().last() != Some(&(RANGE, true)) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        gate.open();
    };
    assert_eq!(futures::future::join(download, open).await.0.unwrap(), facts);
    let reported = reported.into_inner().unwrap();
    assert_eq!((reported.first(), reported.last()), (Some(&(0, false)), Some(&(facts.size_bytes, true))));
    assert!(reported.is_sorted(), "{reported:?}");
}
