//! The values of the enum columns. SQLAlchemy keeps the names of the members, in upper case.

use std::fmt;

/// Makes an enum with its stored names.
macro_rules! stored_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$member_doc:meta])* $member:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$member_doc])* $member,)* }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$member,)*];

            /// The name as the database holds it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$member => $text,)* }
            }

            /// The value of a name, whatever its case.
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
    /// How far a video is: `videos.processing_status`.
    ProcessingStatus {
        /// Nobody has asked for its detections yet.
        Pending = "PENDING",
        /// A job of it runs.
        Processing = "PROCESSING",
        /// Its detections are in the library.
        Completed = "COMPLETED",
        /// Its last job failed.
        Failed = "FAILED",
    }
}

stored_enum! {
    /// How far a job is: `processing_jobs.status`.
    JobStatus {
        /// Waits for a worker.
        Pending = "PENDING",
        /// A worker has it.
        Processing = "PROCESSING",
        /// Done.
        Completed = "COMPLETED",
        /// Ended by an error.
        Failed = "FAILED",
        /// Ended by request.
        Cancelled = "CANCELLED",
    }
}

impl JobStatus {
    /// The statuses of a job that is not over.
    pub const OPEN: &[Self] = &[Self::Pending, Self::Processing];

    /// Whether the job is not over.
    pub fn is_open(self) -> bool {
        Self::OPEN.contains(&self)
    }
}

stored_enum! {
    /// What a job does: `processing_jobs.job_type`.
    JobType {
        /// Finds and tracks the players of a video.
        VideoDetection = "VIDEO_DETECTION",
        /// The app's own: works over tracks that exist.
        TrackReprocess = "TRACK_REPROCESS",
    }
}

stored_enum! {
    /// Where a job runs: `processing_jobs.target`.
    Target {
        /// On this machine.
        Local = "local",
        /// By a worker that reads the bucket.
        Cloud = "cloud",
    }
}
