//! Whose job it is, and which video of this library it tracks. Several libraries may share a bucket, and each numbers its
//! own videos.

use std::collections::HashMap;

use jobs::manifest::{Manifest, Status};
use store::{JobFilter, JobRow, Library, Video};

use super::override_state::known_state;
use super::state::State;
use crate::Client;
use crate::failure::Outcome;
use crate::videos::{self, JobContent, Match};

/// What this library knows of a job in a bucket.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Origin {
    /// The video of this library that the job tracks; `None` if this library does not have it.
    pub video_id: Option<i64>,
    /// Whether another library submitted the job.
    pub is_foreign: bool,
    /// What the library knows better than the manifest.
    pub known_state: Option<State>,
}

/// The jobs and videos of this library at one moment.
#[derive(Debug)]
pub struct Origins {
    library_id: Option<String>,
    rows: HashMap<String, JobRow>,
    videos: Vec<Video>,
}

impl Origins {
    /// Reads them from the library.
    pub fn read(client: &Client, library: &Library) -> Outcome<Self> {
        let rows = library.jobs(&JobFilter::default())?;
        Ok(Self {
            library_id: client.known_library_id(library)?,
            rows: rows.into_iter().map(|row| (row.id.clone(), row)).collect(),
            videos: videos::all(library)?,
        })
    }

    /// The row of a job of this library.
    pub fn row(&self, id: &str) -> Option<&JobRow> {
        self.rows.get(id)
    }

    /// The rows of all jobs of this library, in no particular order.
    pub fn rows(&self) -> impl Iterator<Item = &JobRow> {
        self.rows.values()
    }

    /// What this library knows of a job. Reads no file and no bucket, so a video whose hash is not known yet is recognized
    /// by its size only if it has the right number too.
    pub fn of(&self, manifest: &Manifest) -> Origin {
        self.with_content(manifest, &JobContent::of(manifest))
    }

    /// As [`Self::of`], with the size of the video's object if the manifest does not have it.
    pub(super) fn with_size(&self, manifest: &Manifest, size_bytes: Option<u64>) -> Origin {
        self.with_content(manifest, &JobContent::of(manifest).or_size(size_bytes))
    }

    /// Whether only the size of the video's object can tell which video a job tracks: an older program submitted it.
    pub(super) fn needs_size(&self, manifest: &Manifest) -> bool {
        let is_known = manifest.submitter.is_some() || self.row(manifest.job_id.as_str()).is_some();
        !is_known && JobContent::of(manifest).is_unknown() && manifest.status != Status::Imported
    }

    fn with_content(&self, manifest: &Manifest, content: &JobContent) -> Origin {
        let recognized = || content.find_known(&self.videos).map(|video| video.id);
        if let Some(row) = self.row(manifest.job_id.as_str()) {
            let known_state = known_state(row, manifest);
            return Origin { video_id: row.video_id.or_else(recognized), is_foreign: false, known_state };
        }
        let submitter = manifest.submitter.as_ref().map(|submitter| &submitter.library_id);
        let numbered = || {
            let video = self.videos.iter().find(|video| video.id == manifest.video_id)?;
            let is_it = match content.compare_known(video) {
                Match::Same => true,
                // The submitter is an older program, which may be that of this library.
                Match::Unknown => submitter.is_none(),
                Match::Different => false,
            };
            is_it.then_some(video.id)
        };
        let video_id = recognized().or_else(numbered);
        let is_foreign = match submitter {
            Some(id) => self.library_id.as_ref() != Some(id),
            None => video_id.is_none(),
        };
        Origin { video_id, is_foreign, known_state: None }
    }
}
