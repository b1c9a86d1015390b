//! Transfers of large objects.

use bytes::Bytes;
use futures::TryStreamExt;
use jobs::Error;
use jobs::bucket::{BulkTransfer, Condition, ETag, PartStore};
use jobs::transfer::{Upload, download, upload};

use super::objects::{put, unknown_tag};
use crate::support::{Fresh, ignore, random_file};

/// The smallest part size that all servers accept.
const PART: usize = 5 << 20;
const KEY: &str = "videos/a.mp4";

async fn range(store: &dyn PartStore, from: u64, to: u64, version: &ETag) -> Result<Vec<u8>, Error> {
    let pieces: Vec<Bytes> = store.read(KEY, from..to, version).await?.try_collect().await?;
    Ok(pieces.concat())
}

pub(super) async fn multipart_uploads_become_one_object(fresh: &Fresh) {
    let bucket = fresh.open();
    let BulkTransfer::Parts(store) = bucket.bulk_transfer() else {
        return assert!(bucket.location().starts_with("folder "), "only a folder has no parts");
    };
    // The client may detect here that the server requires unquoted tags; later requests must work with that.
    let etag = put(&*bucket, "jobs/a.json", "1", Condition::Absent).await;
    put(&*bucket, "jobs/a.json", "2", Condition::Is(&etag)).await;
    let upload = store.start(KEY).await.unwrap();
    let parts = [vec![1; PART], vec![2; PART], vec![3; 7]];
    let mut ids = vec![String::new(); 3];
    // In any order, and one part twice.
    for index in [2, 0, 1, 0] {
        ids[index] = store.part(KEY, &upload, index, parts[index].clone().into()).await.unwrap();
    }
    assert!(bucket.head(KEY).await.unwrap().is_none(), "the object exists before the upload is complete");
    store.complete(KEY, &upload, ids.clone()).await.unwrap();
    let (size_bytes, etag) = bucket.head(KEY).await.unwrap().unwrap();
    assert_eq!(size_bytes, 2 * PART as u64 + 7);
    let at = 2 * PART as u64;
    assert_eq!(range(store, at - 2, at + 3, &etag).await.unwrap(), [2, 2, 3, 3, 3]);
    assert!(range(store, 0, size_bytes, &etag).await.unwrap() == parts.concat());
    let other_version = range(store, 0, 5, &unknown_tag()).await.unwrap_err();
    assert!(matches!(&other_version, Error::Mismatch { key, .. } if key == KEY), "{other_version:?}");
}

pub(super) async fn an_aborted_upload_creates_no_object(fresh: &Fresh) {
    let bucket = fresh.open();
    let BulkTransfer::Parts(store) = bucket.bulk_transfer() else {
        return assert!(bucket.location().starts_with("folder "), "only a folder has no parts");
    };
    let upload = store.start(KEY).await.unwrap();
    let part = store.part(KEY, &upload, 0, Bytes::from_static(b"1")).await.unwrap();
    store.abort(KEY, &upload).await.unwrap();
    // R2 reports a missing upload; Ceph and moto report other errors.
    let error = store.complete(KEY, &upload, vec![part]).await.unwrap_err();
    assert!(matches!(error, Error::Missing { .. } | Error::Unavailable { .. }), "{error:?}");
    assert!(bucket.head(KEY).await.unwrap().is_none());
}

pub(super) async fn files_survive_upload_and_download(fresh: &Fresh) {
    let bucket = fresh.open();
    let folder = tempfile::tempdir().unwrap();
    let (file, copy) = (folder.path().join("game.mp4"), folder.path().join("copy.mp4"));
    let journal = folder.path().join("upload.journal");
    for (seed, size_bytes) in [0, 1, PART as u64, PART as u64 + 1, 17 << 20].into_iter().enumerate() {
        random_file(&file, size_bytes, seed as u64);
        let what = Upload {
            bucket: &*bucket,
            key: KEY,
            file: &file,
            journal: &journal,
            part_bytes: Some(PART as u64),
        };
        let facts = upload(what, &ignore).await.unwrap();
        assert_eq!(facts.size_bytes, size_bytes);
        let want = (Some(size_bytes), Some(facts.sha256.as_str()));
        let got = download(&*bucket, KEY, want.0, want.1, &copy, &|_| {}).await.unwrap();
        assert_eq!(got, facts);
        assert!(std::fs::read(&copy).unwrap() == std::fs::read(&file).unwrap(), "{size_bytes} bytes differ");
        // An object in a folder may be a hard link to the file, so replace the file instead of changing it.
        std::fs::remove_file(&file).unwrap();
    }
    let mut left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["copy.mp4"]);
}
