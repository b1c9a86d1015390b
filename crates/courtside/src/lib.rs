//! The composition: the only crate that knows the others. Command line, settings, exit codes, and the one
//! place where a tracker's output becomes a record.

mod child;
pub mod cli;
pub mod desk;
pub mod doctor;
#[cfg(feature = "worker")]
pub mod engine;
pub mod export;
pub mod failure;
pub mod http;
#[cfg(feature = "worker")]
mod kernel_trial;
#[cfg(feature = "worker")]
pub mod model_places;
pub mod progress;
pub mod say;
pub mod settings;
pub mod stop;
#[cfg(feature = "worker")]
pub mod track;
pub mod whole_file;
#[cfg(feature = "worker")]
pub mod worker;
