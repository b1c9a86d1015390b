//! Which video of the library has the content that a job tracked. A job names its video by a number that counts in the
//! library of its submitter, so the number alone means nothing here.

use jobs::admin::Admin;
use jobs::manifest::Manifest;
use jobs::transfer::FileDigest;
use store::{FileFingerprint, Library, Video as Row};

use super::{all, file_facts, locate, remember_file};
use crate::failure::Outcome;
use crate::settings::Settings;

/// What is known of the video that a job tracked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobContent {
    /// SHA-256, in hexadecimal.
    sha256: Option<String>,
    size_bytes: Option<u64>,
    /// The video stream that was chosen.
    stream: Option<u32>,
    /// Key in the job's bucket.
    key: String,
}

/// Whether a video of the library has the content of a job's video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Match {
    Same,
    /// Too little is known of one of them.
    Unknown,
    Different,
}

impl JobContent {
    /// What the manifest says.
    pub(crate) fn of(manifest: &Manifest) -> Self {
        let video = manifest.video.clone().unwrap_or_default();
        let (size_bytes, stream) = (video.size_bytes, video.stream);
        Self { sha256: video.sha256, size_bytes, stream, key: manifest.video_key() }
    }

    /// What the manifest says, or else the size of the object in the bucket.
    pub(crate) async fn read(admin: &Admin, manifest: &Manifest) -> Outcome<Self> {
        let known = Self::of(manifest);
        if known.size_bytes.is_some() {
            return Ok(known);
        }
        let size_bytes = admin.bucket().head(&known.key).await?.map(|(size, _)| size);
        Ok(Self { size_bytes, ..known })
    }

    /// With this size, if it is not known.
    pub(crate) fn or_size(self, size_bytes: Option<u64>) -> Self {
        Self { size_bytes: self.size_bytes.or(size_bytes), ..self }
    }

    /// Whether nothing is known by which a video could be recognized.
    pub(crate) fn is_unknown(&self) -> bool {
        self.sha256.is_none() && self.size_bytes.is_none()
    }

    /// Whether its hash is known.
    pub(crate) fn is_hashed(&self) -> bool {
        self.sha256.is_some()
    }

    /// Compares a video of the library with it. Reads the file of the video where only its hash can tell, and remembers
    /// the hash.
    pub(crate) fn compare(&self, settings: &Settings, library: &Library, row: &Row) -> Outcome<Match> {
        if row.stream != self.stream {
            return Ok(Match::Different);
        }
        let sizes = (self.size_bytes, size_of(settings, row));
        match (&self.sha256, &row.file.sha256) {
            (Some(theirs), Some(ours)) => return Ok(of_equality(theirs == ours)),
            _ if row.r2_key.as_ref() == Some(&self.key) => return Ok(Match::Same),
            (Some(theirs), None) if sizes.0.is_some() && sizes.0 == sizes.1 => {
                if let Some(ours) = hash(settings, library, row)? {
                    return Ok(of_equality(*theirs == ours));
                }
            }
            _ => {}
        }
        Ok(match sizes {
            (Some(theirs), Some(ours)) => of_equality(theirs == ours),
            _ => Match::Unknown,
        })
    }

    /// Compares what is recorded of a video of the library with it.
    pub(crate) fn compare_known(&self, row: &Row) -> Match {
        if row.stream != self.stream {
            return Match::Different;
        }
        if let (Some(theirs), Some(ours)) = (&self.sha256, &row.file.sha256) {
            return of_equality(theirs == ours);
        }
        if row.r2_key.as_ref() == Some(&self.key) {
            return Match::Same;
        }
        match (self.size_bytes, row.file.size_bytes) {
            (Some(theirs), Some(ours)) => of_equality(i64::try_from(theirs) == Ok(ours)),
            _ => Match::Unknown,
        }
    }

    /// The first video of the library with this content.
    pub(crate) fn find(&self, settings: &Settings, library: &Library) -> Outcome<Option<Row>> {
        for row in all(library)?.into_iter().rev() {
            if self.compare(settings, library, &row)? == Match::Same {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// The first video of the library that is known to have exactly this content, without reading any file.
    pub(crate) fn find_known<'a>(&self, videos: &'a [Row]) -> Option<&'a Row> {
        let sha256 = self.sha256.as_ref()?;
        videos.iter().find(|row| row.file.sha256.as_ref() == Some(sha256) && row.stream == self.stream)
    }
}

fn of_equality(is_equal: bool) -> Match {
    if is_equal { Match::Same } else { Match::Different }
}

/// Size of a video's file: as it was recorded, or else as it is now.
fn size_of(settings: &Settings, row: &Row) -> Option<u64> {
    let recorded = row.file.size_bytes.and_then(|size| u64::try_from(size).ok());
    recorded.or_else(|| Some(locate(settings, row)?.metadata().ok()?.len()))
}

/// Hashes the file of a video and records the hash. `None` if there is no file, or not the one that was added.
fn hash(settings: &Settings, library: &Library, row: &Row) -> Outcome<Option<String>> {
    let Some(file) = locate(settings, row) else { return Ok(None) };
    let now = file_facts(&file)?;
    if row.file.size_bytes.is_some() && now.size_bytes != row.file.size_bytes {
        return Ok(None);
    }
    let sha256 = FileDigest::of(&file)?.sha256;
    let known = FileFingerprint { sha256: Some(sha256.clone()), ..now };
    remember_file(library, row.id, row.n_frames, &known)?;
    Ok(Some(sha256))
}
