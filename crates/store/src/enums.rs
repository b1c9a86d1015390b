//! The values of enum columns. In the app's tables, SQLAlchemy stores the names of the members in
//! upper case.

use std::fmt;

/// Defines an enum with the text stored for each value.
macro_rules! stored_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$member_doc:meta])* $member:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$member_doc])* $member,)* }

        impl $name {
            /// All values, in declaration order.
            pub const ALL: &[Self] = &[$(Self::$member,)*];

            /// The value as stored in the database.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$member => $text,)* }
            }

            /// Parses a stored value, ignoring case. `None` if it is unknown.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str().eq_ignore_ascii_case(name))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

stored_enum! {
    /// Processing state of a video: `videos.processing_status`.
    ProcessingStatus {
        /// No job has been submitted for it.
        Pending = "PENDING",
        /// A job for it is running.
        Processing = "PROCESSING",
        /// Its detections are in the library.
        Completed = "COMPLETED",
        /// Its last job failed.
        Failed = "FAILED",
    }
}

stored_enum! {
    /// Status of a job: `processing_jobs.status`.
    JobStatus {
        /// Waiting for a worker.
        Pending = "PENDING",
        /// Claimed by a worker.
        Processing = "PROCESSING",
        /// Finished successfully; for a job of a bucket, the results may not be imported yet.
        Completed = "COMPLETED",
        /// Ended by an error.
        Failed = "FAILED",
        /// Ended by request of the user.
        Cancelled = "CANCELLED",
    }
}

impl JobStatus {
    /// The statuses of a job that has not ended.
    pub const OPEN: &[Self] = &[Self::Pending, Self::Processing];

    /// Whether a job with this status has not ended.
    pub fn is_open(self) -> bool {
        Self::OPEN.contains(&self)
    }
}

stored_enum! {
    /// The kind of work of a job: `processing_jobs.job_type`.
    JobType {
        /// Detects and tracks the players in a video.
        VideoDetection = "VIDEO_DETECTION",
        /// Reprocesses existing tracks. Only the app creates these jobs.
        TrackReprocess = "TRACK_REPROCESS",
    }
}

stored_enum! {
    /// Where a job runs: `processing_jobs.target`.
    StoredTarget {
        /// On this machine, from a local bucket.
        Local = "local",
        /// On a worker that reads the remote bucket.
        Cloud = "cloud",
    }
}

/// How far the submission of a job to its bucket has come: `courtside_jobs.submission`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SubmissionState {
    /// The video is being uploaded, or the upload was interrupted. The bucket may not have the job yet.
    Uploading,
    /// The upload failed and was not retried.
    UploadFailed,
    /// The bucket has the job.
    Submitted,
    /// A state written by a newer version of courtside.
    Other(String),
}

impl SubmissionState {
    /// The state as stored in the database.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Uploading => "uploading",
            Self::UploadFailed => "upload_failed",
            Self::Submitted => "submitted",
            Self::Other(name) => name,
        }
    }

    /// Parses a stored state. Unknown states are kept as [`SubmissionState::Other`].
    pub fn from_name(name: &str) -> Self {
        match name {
            "uploading" => Self::Uploading,
            "upload_failed" => Self::UploadFailed,
            "submitted" => Self::Submitted,
            other => Self::Other(other.to_owned()),
        }
    }
}
