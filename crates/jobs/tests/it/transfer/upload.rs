//! Uploads that are cut, resumed, refused, and answered wrongly.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use jobs::Error;
use jobs::bucket::FolderBucket;
use jobs::transfer::{FileFacts, Upload, upload};
use s3_fixture::{Fault, Gate, Op};

use super::{KEY, PART, Scene};
use crate::support::{Fresh, ignore, random_file};

#[tokio::test]
async fn files_of_all_sizes_arrive_in_equal_parts() {
    for (size_bytes, n_parts) in
        [(0, 1), (1, 1), (PART - 1, 1), (PART, 1), (PART + 1, 2), (2 * PART, 2), (40 * PART + 7, 41)]
    {
        let scene = Scene::new();
        let file = scene.file(size_bytes);
        let facts = scene.upload().await.unwrap();
        assert_eq!(facts, FileFacts::of(&file).unwrap());
        scene.assert_uploaded();
        assert_eq!(scene.count(Op::UploadPart), n_parts, "{size_bytes} bytes");
    }
}

#[tokio::test]
async fn the_usual_parts_are_those_that_r2_takes() {
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
async fn progress_grows_to_the_whole() {
    let scene = Scene::new();
    let file = scene.file(5 * PART + 3);
    let heard = std::sync::Mutex::new(Vec::new());
    let journal = scene.path("journal");
    let what =
        Upload { bucket: &*scene.bucket, key: KEY, file: &file, journal: &journal, part_bytes: Some(PART) };
    upload(what, &|through, of| heard.lock().unwrap().push((through, of))).await.unwrap();
    let heard = heard.into_inner().unwrap();
    assert!(heard.is_sorted() && heard.iter().all(|(_, of)| *of == 5 * PART + 3), "{heard:?}");
    assert_eq!(heard.last(), Some(&(5 * PART + 3, 5 * PART + 3)));
}

/// Whatever was in flight when it stopped: what the journal has is not sent again, all else is.
#[tokio::test]
async fn what_arrived_before_a_failure_is_not_sent_again() {
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
        let noted = parts_noted(&scene);
        assert!(noted <= n_good && noted + 4 >= n_good, "{noted} of {n_good} parts were noted");
        scene.begin_anew();
        scene.upload().await.unwrap();
        assert_eq!(scene.count(Op::UploadPart), 12 - noted);
        assert_eq!(scene.count(Op::CreateMultipartUpload), 0);
        scene.assert_uploaded();
    }
}

fn parts_noted(scene: &Scene) -> usize {
    let journal: serde_json::Value =
        serde_json::from_slice(&std::fs::read(scene.path("journal")).unwrap()).unwrap();
    journal["parts"].as_object().unwrap().len()
}

/// Its process was killed: the parts under way never answered.
#[tokio::test]
async fn an_upload_whose_process_died_goes_on() {
    let mut scene = Scene::new();
    scene.file(9 * PART + 5);
    let gate = Gate::new();
    let (n_sent, held) = (AtomicUsize::new(0), gate.clone());
    scene.server.set_faults(move |call| {
        (call.op == Op::UploadPart && n_sent.fetch_add(1, Ordering::Relaxed) >= 4)
            .then(|| Fault::CommitThenHold(held.clone()))
    });
    // In whatever order they arrive: the first part is among the first four, and the window then moves on.
    tokio::select! {
        result = scene.upload() => panic!("{result:?}"),
        () = gate.arrived(1) => {}
    }
    let noted = parts_noted(&scene);
    assert!((1..=4).contains(&noted), "{noted}");
    scene.begin_anew();
    scene.upload().await.unwrap();
    assert_eq!((scene.count(Op::UploadPart), scene.count(Op::CreateMultipartUpload)), (10 - noted, 0));
    scene.assert_uploaded();
}

/// An upload that stopped after some parts.
async fn interrupted() -> Scene {
    let mut scene = Scene::new();
    scene.file(6 * PART);
    let n_sent = AtomicUsize::new(0);
    scene.server.set_faults(move |call| {
        (call.op == Op::UploadPart && n_sent.fetch_add(1, Ordering::Relaxed) >= 3)
            .then_some(Fault::ServerError)
    });
    scene.upload().await.unwrap_err();
    scene.begin_anew();
    scene
}

#[tokio::test]
async fn a_journal_that_is_nonsense_is_none() {
    for nonsense in ["", "{", "{\"parts\": 3}"] {
        let scene = interrupted().await;
        std::fs::write(scene.path("journal"), nonsense).unwrap();
        scene.upload().await.unwrap();
        assert_eq!(scene.count(Op::UploadPart), 6);
        assert!(scene.server.object(KEY).is_some());
    }
}

#[tokio::test]
async fn an_upload_that_the_bucket_gave_up_begins_anew() {
    let scene = interrupted().await;
    let (upload_id, key) = scene.server.open_uploads().remove(0);
    let jobs::bucket::Bulk::Parts(store) = scene.bucket.bulk() else { panic!("a server takes parts") };
    store.abort(&key, &jobs::bucket::UploadId(upload_id)).await.unwrap();
    scene.upload().await.unwrap();
    scene.assert_uploaded();
    assert_eq!(scene.count(Op::CreateMultipartUpload), 1);
}

/// Its parts would lie in the bucket, and be billed, until it gives them up after days.
#[tokio::test]
async fn an_upload_of_a_file_that_is_another_now_is_given_up_and_begun_anew() {
    let scene = interrupted().await;
    random_file(&scene.path("game.mp4"), 4 * PART, 99);
    scene.upload().await.unwrap();
    scene.assert_uploaded();
}

#[tokio::test]
async fn a_completion_that_seemed_to_fail_is_one() {
    for fault in [Fault::CommitThenError, Fault::CommitThenDrop] {
        let scene = Scene::new();
        scene.file(3 * PART);
        scene.server.fail_next(Op::CompleteMultipartUpload, KEY, fault);
        scene.upload().await.unwrap();
        scene.assert_uploaded();
        assert_eq!(scene.count(Op::UploadPart), 3);
    }
}

/// The process died between the completion and the removal of its journal.
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
    scene.begin_anew();
    scene.upload().await.unwrap();
    assert_eq!(scene.count(Op::UploadPart), 0);
    scene.assert_uploaded();
}

/// A file that is still being written, or was replaced: the bucket must not get a mixture under that name.
#[tokio::test]
async fn a_file_that_changes_meanwhile_is_no_object() {
    for new_size in [5 * PART, 6 * PART, 7 * PART] {
        let scene = Scene::new();
        scene.file(6 * PART);
        let gate = Gate::new();
        scene.server.fail_next(Op::UploadPart, KEY, Fault::Hold(gate.clone()));
        let change = async {
            gate.arrived(1).await;
            random_file(&scene.path("game.mp4"), new_size, 99);
            // Clocks of file systems may stand still for some milliseconds.
            let changed = File::options().append(true).open(scene.path("game.mp4")).unwrap();
            changed.set_modified(SystemTime::now() + Duration::from_secs(10)).unwrap();
            gate.open();
        };
        let (result, ()) = futures::future::join(scene.upload(), change).await;
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Changed { .. }), "{error:?}");
        assert!(scene.server.object(KEY).is_none(), "{new_size} bytes");
        // As it is now, it can be uploaded.
        scene.upload().await.unwrap();
        scene.assert_uploaded();
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named() {
    let scene = Scene::new();
    let error = scene.upload().await.unwrap_err();
    assert!(matches!(&error, Error::File { path, .. } if *path == scene.path("game.mp4")), "{error:?}");
    assert_eq!(scene.server.counts().total(), 0);
}

/// Renaming one link of a file over another does nothing, by POSIX, and left the temporary one.
#[tokio::test]
async fn a_file_that_is_in_the_folder_already_leaves_nothing_else_there() {
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
async fn a_failed_submission_leaves_no_object() {
    let fresh = Fresh::folder();
    let bucket = fresh.open();
    let folder = tempfile::tempdir().unwrap();
    let (file, journal) = (folder.path().join("none"), folder.path().join("journal"));
    let what = Upload { bucket: &*bucket, key: KEY, file: &file, journal: &journal, part_bytes: None };
    upload(what, &ignore).await.unwrap_err();
    assert!(bucket.head(KEY).await.unwrap().is_none());
}
