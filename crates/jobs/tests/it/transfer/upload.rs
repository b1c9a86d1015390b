//! Uploads that are interrupted, resumed, refused, or whose responses are lost.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use jobs::Error;
use jobs::bucket::FolderBucket;
use jobs::transfer::{FileDigest, Upload, upload};
use s3_fixture::{Fault, Gate, Op};

use super::{KEY, PART, Scene};
use crate::support::{Fresh, ignore, random_file};

#[tokio::test]
async fn uploads_files_of_all_sizes_in_equal_parts() {
    for (size_bytes, n_parts) in
        [(0, 1), (1, 1), (PART - 1, 1), (PART, 1), (PART + 1, 2), (2 * PART, 2), (40 * PART + 7, 41)]
    {
        let scene = Scene::new();
        let file = scene.file(size_bytes);
        let facts = scene.upload().await.unwrap();
        assert_eq!(facts, FileDigest::of(&file).unwrap());
        scene.assert_uploaded();
        assert_eq!(scene.count(Op::UploadPart), n_parts, "{size_bytes} bytes");
    }
}

#[tokio::test]
async fn the_default_part_size_is_accepted_by_r2() {
    let scene = Scene::new();
    scene.server.set_min_part_bytes(5 << 20);
    let file = scene.file((33 << 20) + 1);
    let journal = scene.path("journal");
    let what = Upload { bucket: &*scene.bucket, key: KEY, file: &file, journal: &journal, part_bytes: None };
    upload(what, &ignore).await.unwrap();
    scene.assert_uploaded();
    assert_eq!(scene.count(Op::UploadPart), 3);
}

#[tokio::test]
async fn progress_increases_to_the_total() {
    let scene = Scene::new();
    let file = scene.file(5 * PART + 3);
    let reported = std::sync::Mutex::new(Vec::new());
    let journal = scene.path("journal");
    let what =
        Upload { bucket: &*scene.bucket, key: KEY, file: &file, journal: &journal, part_bytes: Some(PART) };
    upload(what, &|n_bytes, total| reported.lock().unwrap().push((n_bytes, total))).await.unwrap();
    let reported = reported.into_inner().unwrap();
    assert!(reported.is_sorted() && reported.iter().all(|(_, total)| *total == 5 * PART + 3), "{reported:?}");
    assert_eq!(reported.last(), Some(&(5 * PART + 3, 5 * PART + 3)));
}

/// Exactly the parts that the journal lists are not sent again.
#[tokio::test]
async fn a_retry_does_not_resend_recorded_parts() {
    for n_good in [0, 1, 7, 11] {
        let mut scene = Scene::new();
        scene.file(12 * PART);
        let n_sent = AtomicUsize::new(0);
        scene.server.set_faults(move |call| {
            (call.op == Op::UploadPart && n_sent.fetch_add(1, Ordering::Relaxed) >= n_good)
                .then_some(Fault::ServerError)
        });
        let error = scene.upload().await.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
        assert!(scene.server.object(KEY).is_none());
        let n_recorded = n_parts_recorded(&scene);
        assert!(
            n_recorded <= n_good && n_recorded + 4 >= n_good,
            "{n_recorded} of {n_good} parts were recorded"
        );
        scene.restart();
        scene.upload().await.unwrap();
        assert_eq!(scene.count(Op::UploadPart), 12 - n_recorded);
        assert_eq!(scene.count(Op::CreateMultipartUpload), 0);
        scene.assert_uploaded();
    }
}

/// Number of parts that the journal lists.
fn n_parts_recorded(scene: &Scene) -> usize {
    let journal: serde_json::Value =
        serde_json::from_slice(&std::fs::read(scene.path("journal")).unwrap()).unwrap();
    journal["parts"].as_object().unwrap().len()
}

/// The process is killed while parts are in flight.
#[tokio::test]
async fn an_upload_resumes_after_a_crash() {
    let mut scene = Scene::new();
    scene.file(9 * PART + 5);
    let gate = Gate::new();
    let (n_sent, held) = (AtomicUsize::new(0), gate.clone());
    scene.server.set_faults(move |call| {
        (call.op == Op::UploadPart && n_sent.fetch_add(1, Ordering::Relaxed) >= 4)
            .then(|| Fault::CommitThenHold(held.clone()))
    });
    // Whatever the order of arrival, the first part is among the first four, and only then is a fifth sent.
    tokio::select! {
        result = scene.upload() => panic!("{result:?}"),
        () = gate.arrived(1) => {}
    }
    let n_recorded = n_parts_recorded(&scene);
    assert!((1..=4).contains(&n_recorded), "{n_recorded}");
    scene.restart();
    scene.upload().await.unwrap();
    assert_eq!((scene.count(Op::UploadPart), scene.count(Op::CreateMultipartUpload)), (10 - n_recorded, 0));
    scene.assert_uploaded();
}

/// An upload that was interrupted after some parts.
async fn interrupted() -> Scene {
    let mut scene = Scene::new();
    scene.file(6 * PART);
    let n_sent = AtomicUsize::new(0);
    scene.server.set_faults(move |call| {
        (call.op == Op::UploadPart && n_sent.fetch_add(1, Ordering::Relaxed) >= 3)
            .then_some(Fault::ServerError)
    });
    scene.upload().await.unwrap_err();
    scene.restart();
    scene
}

#[tokio::test]
async fn an_invalid_journal_is_ignored() {
    for invalid in ["", "{", "{\"parts\": 3}"] {
        let scene = interrupted().await;
        std::fs::write(scene.path("journal"), invalid).unwrap();
        scene.upload().await.unwrap();
        assert_eq!(scene.count(Op::UploadPart), 6);
        assert!(scene.server.object(KEY).is_some());
    }
}

#[tokio::test]
async fn an_upload_starts_over_if_the_bucket_dropped_it() {
    let scene = interrupted().await;
    let (upload_id, key) = scene.server.open_uploads().remove(0);
    let jobs::bucket::BulkTransfer::Parts(store) = scene.bucket.bulk_transfer() else {
        panic!("a server takes parts")
    };
    store.abort(&key, &jobs::bucket::UploadId(upload_id)).await.unwrap();
    scene.upload().await.unwrap();
    scene.assert_uploaded();
    assert_eq!(scene.count(Op::CreateMultipartUpload), 1);
}

/// The outdated parts would be stored and billed until the bucket's lifecycle rule drops them.
#[tokio::test]
async fn an_upload_is_aborted_and_restarted_if_the_file_changed() {
    let scene = interrupted().await;
    random_file(&scene.path("game.mp4"), 4 * PART, 99);
    scene.upload().await.unwrap();
    scene.assert_uploaded();
}

#[tokio::test]
async fn a_completion_without_a_response_succeeds() {
    for fault in [Fault::CommitThenError, Fault::CommitThenDrop] {
        let scene = Scene::new();
        scene.file(3 * PART);
        scene.server.fail_next(Op::CompleteMultipartUpload, KEY, fault);
        scene.upload().await.unwrap();
        scene.assert_uploaded();
        assert_eq!(scene.count(Op::UploadPart), 3);
    }
}

/// The process crashes between the completion and the removal of its journal.
#[tokio::test]
async fn a_completed_upload_is_not_sent_again() {
    let mut scene = Scene::new();
    scene.file(3 * PART);
    scene.server.set_faults(|call| match call.op {
        Op::CompleteMultipartUpload => Some(Fault::CommitThenDrop),
        Op::HeadObject => Some(Fault::Drop),
        _ => None,
    });
    scene.upload().await.unwrap_err();
    scene.restart();
    scene.upload().await.unwrap();
    assert_eq!(scene.count(Op::UploadPart), 0);
    scene.assert_uploaded();
}

/// If the file is modified or replaced during the upload, no object with mixed content may appear.
#[tokio::test]
async fn a_file_that_changes_during_the_upload_is_not_stored() {
    for new_size in [5 * PART, 6 * PART, 7 * PART] {
        let scene = Scene::new();
        scene.file(6 * PART);
        let gate = Gate::new();
        scene.server.fail_next(Op::UploadPart, KEY, Fault::Hold(gate.clone()));
        let change = async {
            gate.arrived(1).await;
            random_file(&scene.path("game.mp4"), new_size, 99);
            // The resolution of file times may be several milliseconds.
            let changed = File::options().append(true).open(scene.path("game.mp4")).unwrap();
            changed.set_modified(SystemTime::now() + Duration::from_secs(10)).unwrap();
            gate.open();
        };
        let (result, ()) = futures::future::join(scene.upload(), change).await;
        let error = result.unwrap_err();
        assert!(matches!(error, Error::FileChanged { .. }), "{error:?}");
        assert!(scene.server.object(KEY).is_none(), "{new_size} bytes");
        // The changed file can be uploaded.
        scene.upload().await.unwrap();
        scene.assert_uploaded();
    }
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let scene = Scene::new();
    let error = scene.upload().await.unwrap_err();
    assert!(matches!(&error, Error::File { path, .. } if *path == scene.path("game.mp4")), "{error:?}");
    assert_eq!(scene.server.counts().total(), 0);
}

/// Regression: by POSIX, renaming a hard link over another one to the same file does nothing, so the
/// temporary link remained.
#[tokio::test]
async fn uploading_the_same_file_twice_leaves_no_temporary_file() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Arc::new(FolderBucket::open(&folder.path().join("bucket")).unwrap());
    let file = folder.path().join("game.mp4");
    random_file(&file, 10, 1);
    for _ in 0..2 {
        let journal = folder.path().join("journal");
        let what = Upload { bucket: &*bucket, key: KEY, file: &file, journal: &journal, part_bytes: None };
        upload(what, &ignore).await.unwrap();
    }
    assert_eq!(std::fs::read_dir(folder.path().join("bucket/.tmp")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_failed_upload_leaves_no_object() {
    let fresh = Fresh::folder();
    let bucket = fresh.open();
    let folder = tempfile::tempdir().unwrap();
    let (file, journal) = (folder.path().join("none"), folder.path().join("journal"));
    let what = Upload { bucket: &*bucket, key: KEY, file: &file, journal: &journal, part_bytes: None };
    upload(what, &ignore).await.unwrap_err();
    assert!(bucket.head(KEY).await.unwrap().is_none());
}
