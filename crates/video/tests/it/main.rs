//! The crate's promises, checked on files that the tests make with ffmpeg. Which frame a picture is
//! is read from the picture itself: a bar-code of its number is painted into every one.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking, like the tests themselves")]

mod annotated;
mod arriving;
mod barcode;
mod clips;
mod damage;
mod formats;
mod hostile;
mod lifecycle;
mod traps;
