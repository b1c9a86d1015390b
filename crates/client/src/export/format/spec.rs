//! What each format's module defines.

use std::io::Write;
use std::path::Path;

use crate::export::detection::Detections;
use crate::export::info::ExportInfo;
use crate::failure::Outcome;

/// The definition of a format.
pub(super) struct Spec {
    /// The name on the command line and in JSON.
    pub(super) name: &'static str,
    /// The extension that replaces the video's in the default file name.
    pub(super) extension: &'static str,
    /// The media type (RFC 6838) of the file.
    pub(super) media_type: &'static str,
    /// What the file contains, and the function that writes it.
    pub(super) content: Content,
    /// Whether each detection has the time of its frame.
    pub(super) has_times: bool,
}

/// Writes all detections to a writer. The last argument is a folder for temporary files.
pub(super) type WriteDetections =
    fn(&mut (dyn Write + Send), &ExportInfo, &mut Detections<'_>, &Path) -> Outcome<()>;

/// What a file contains.
#[derive(Clone, Copy)]
pub(super) enum Content {
    /// UTF-8 text, which can also be written to a terminal.
    Text(WriteDetections),
    /// Binary data, which is never written to a terminal.
    #[cfg_attr(not(feature = "parquet"), expect(dead_code, reason = "parquet is the only binary format"))]
    Binary(WriteDetections),
    /// A video, which needs the source video besides the detections.
    Video,
}
