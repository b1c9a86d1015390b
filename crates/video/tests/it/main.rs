//! The crate's guarantees, checked on files that the tests create with ffmpeg. Every frame carries its
//! number as a bar code in its pixels, so a test can read which frame it received.

#![expect(clippy::unwrap_used, reason = "test helpers fail by panicking, like the tests themselves")]

mod annotated;
mod barcode;
mod clips;
mod damage;
mod field_pictures;
mod formats;
mod growing_file;
mod hostile;
mod lifecycle;
mod table;
mod traps;
mod truth;
