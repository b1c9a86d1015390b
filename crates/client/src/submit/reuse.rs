//! Objects in the bucket that have the content of a video already, so that it is not uploaded again.

use jobs::JobId;
use jobs::bucket::{Bucket, BulkTransfer};
use jobs::manifest::Target;
use jobs::transfer::FileDigest;
use store::{JobFilter, Library, Video};

use crate::failure::Outcome;
use crate::overview::is_own;
use crate::target;

/// A video whose content is known, and the keys under which earlier jobs uploaded it.
#[derive(Debug, Clone)]
pub(super) struct Reusable {
    content: FileDigest,
    keys: Vec<String>,
}

impl Reusable {
    /// What this library knows. The file of the video is the one that was uploaded: other content is another video.
    /// `None` if it was never uploaded.
    pub(super) fn of(library: &Library, video: &Video, target: Target) -> Outcome<Option<Self>> {
        let size = video.file.size_bytes.and_then(|size| u64::try_from(size).ok());
        let Some((size_bytes, sha256)) = size.zip(video.file.sha256.clone()) else { return Ok(None) };
        let filter = JobFilter { video_id: Some(video.id), ..JobFilter::default() };
        let is_here = |row: &store::JobRow| is_own(row) && row.target.map(target::from_store) == Some(target);
        let rows: Vec<_> = library.jobs(&filter)?.into_iter().filter(is_here).collect();
        let mut keys: Vec<String> = rows.iter().filter_map(|row| row.r2_video_key.clone()).collect();
        // An object of another program may be replaced at any time.
        let is_own_object = |id: JobId| rows.iter().any(|row| row.id == id.as_str());
        keys.retain(|key| JobId::from_video_key(key).is_some_and(is_own_object));
        keys.dedup();
        Ok(Some(Self { content: FileDigest { size_bytes, sha256 }, keys }))
    }

    /// The first object that is still in the bucket, with its content.
    pub(super) async fn find(&self, bucket: &dyn Bucket) -> Option<(String, FileDigest)> {
        for key in &self.keys {
            // Where it cannot be found out, the video is uploaded.
            if has_content(bucket, key, &self.content).await {
                return Some((key.clone(), self.content.clone()));
            }
        }
        None
    }
}

/// Whether the bucket has an object of this size. In a folder, where other programs may write to it, also whether it has this
/// content.
pub(super) async fn has_content(bucket: &dyn Bucket, key: &str, content: &FileDigest) -> bool {
    let has_size = matches!(bucket.head(key).await, Ok(Some((size, _))) if size == content.size_bytes);
    match bucket.bulk_transfer() {
        BulkTransfer::Folder(folder) if has_size => match folder.file(key) {
            Ok(file) => FileDigest::of_in_background(&file).await.is_ok_and(|found| found == *content),
            Err(_) => false,
        },
        _ => has_size,
    }
}
