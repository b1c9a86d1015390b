//! The composition: the only crate that knows the others. Command line, settings, exit codes, and the one
//! place where a tracker's output becomes a record.

pub mod cli;
pub mod failure;
pub mod model_places;
pub mod progress;
pub mod say;
pub mod stop;
pub mod track;
pub mod whole_file;
