//! The export formats.
//!
//! To add one, write a module with a `SPEC` and add its line to the table below: the command line takes names,
//! descriptions and file extensions from here.

mod by_track;
mod coco;
mod csv;
mod cvat;
mod decimal;
mod jsonl;
mod mot;
#[cfg(feature = "parquet")]
mod parquet;
mod spec;
mod video;

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::str::FromStr;

use super::detection::Detections;
use super::info::ExportInfo;
use crate::failure::{Failure, Kind, Outcome};
use spec::{Content, Spec};

pub use mot::write_mot;
pub use video::{Annotation, check_video_name};

/// Defines [`Format`]. The doc comment of an entry is the format's description, one line; an entry with a `cfg` is
/// an optional format, which is named like its feature.
macro_rules! formats {
    ($(
        #[doc = $description:literal]
        $(#[cfg(feature = $feature:literal)])?
        $variant:ident = $module:ident,
    )*) => {
        /// A file format for detections.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Format {
            $(#[doc = $description] $(#[cfg(feature = $feature)])? $variant,)*
        }

        impl Format {
            /// The formats of this build.
            pub const ALL: &[Self] = &[$($(#[cfg(feature = $feature)])? Self::$variant,)*];

            /// The names of the formats that need a cargo feature.
            const OPTIONAL: &[&str] = &[$($($feature,)?)*];

            /// One line that describes the format, for help texts.
            pub fn description(self) -> &'static str {
                let description: &str = match self {
                    $($(#[cfg(feature = $feature)])? Self::$variant => $description,)*
                };
                description.trim().trim_end_matches('.')
            }

            fn spec(self) -> &'static Spec {
                match self {
                    $($(#[cfg(feature = $feature)])? Self::$variant => &$module::SPEC,)*
                }
            }
        }
    };
}

formats! {
    /// MOT Challenge text, with frames counted from 1.
    Mot = mot,
    /// COCO detection JSON with track IDs.
    Coco = coco,
    /// Comma-separated values with a header; times need the video file to be exact.
    Csv = csv,
    /// JSON Lines: one object per detection.
    Jsonl = jsonl,
    /// Apache Parquet, for DuckDB, pandas and Polars.
    #[cfg(feature = "parquet")]
    Parquet = parquet,
    /// CVAT for video 1.1 (XML).
    Cvat = cvat,
    /// A copy of the video (mp4) with boxes and track numbers; requires the video file.
    Video = video,
}

impl Format {
    /// The name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        self.spec().name
    }

    /// The extension that replaces the video's in the default file name.
    pub fn extension(self) -> &'static str {
        self.spec().extension
    }

    /// The media type of the file, with its character encoding.
    pub fn media_type(self) -> &'static str {
        self.spec().media_type
    }

    /// The name of the file for a video: its name with another extension.
    pub fn file_name(self, info: &ExportInfo) -> String {
        let stem = Path::new(&info.video_name).file_stem().unwrap_or_default().to_string_lossy();
        format!("{stem}.{}", self.extension())
    }

    /// Whether the file is text, which can be written to a terminal or a pipe.
    pub fn is_text(self) -> bool {
        matches!(self.spec().content, Content::Text(_))
    }

    /// Whether each detection has the time of its frame; see [`ExportInfo::frame_times_s`].
    pub fn has_times(self) -> bool {
        self.spec().has_times
    }

    /// Writes all detections. Temporary data goes to an unnamed file in the folder `scratch`.
    ///
    /// # Errors
    /// Those of the iterator and of the writer; for [`Format::Video`], which [`Annotation`] writes.
    pub fn write(
        self,
        out: &mut (dyn Write + Send),
        info: &ExportInfo,
        detections: &mut Detections<'_>,
        scratch: &Path,
    ) -> Outcome<()> {
        match self.spec().content {
            Content::Text(write) | Content::Binary(write) => write(out, info, detections, scratch),
            Content::Video => {
                Err(Failure::msg(Kind::Failed, "a video cannot be written without the video file"))
            }
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl serde::Serialize for Format {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A name that no format of this build has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownFormat {
    /// No build has it.
    #[error("unknown format {0:?}")]
    NoSuchFormat(String),
    /// Only builds with a cargo feature of that name have it.
    #[error("this build of courtside does not include the {0} format; build it with the cargo feature `{0}`")]
    NotInThisBuild(&'static str),
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if let Some(format) = Self::ALL.iter().find(|format| format.name() == name) {
            return Ok(*format);
        }
        match Self::OPTIONAL.iter().find(|optional| **optional == name) {
            Some(optional) => Err(UnknownFormat::NotInThisBuild(optional)),
            None => Err(UnknownFormat::NoSuchFormat(name.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_found_by_its_name() {
        for format in Format::ALL {
            assert_eq!(format.name().parse(), Ok(*format));
            assert!(!format.description().is_empty());
        }
        assert_eq!("avi".parse::<Format>(), Err(UnknownFormat::NoSuchFormat("avi".to_owned())));
    }

    #[test]
    fn names_and_extensions_are_unique() {
        for (i, a) in Format::ALL.iter().enumerate() {
            for b in &Format::ALL[..i] {
                assert_ne!(a.name(), b.name());
                assert_ne!(a.extension(), b.extension());
            }
        }
    }

    #[test]
    fn optional_formats_are_named_like_their_feature() {
        for name in Format::OPTIONAL {
            match name.parse::<Format>() {
                Ok(format) => assert_eq!(format.name(), *name),
                Err(error) => assert_eq!(error, UnknownFormat::NotInThisBuild(name)),
            }
        }
        assert_eq!("parquet".parse::<Format>().is_ok(), cfg!(feature = "parquet"));
    }
}
