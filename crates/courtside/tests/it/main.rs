//! Tests of the built program: each runs it in a [`sandbox`], on videos made from the clips of the parity fixtures, and
//! checks exit code, standard output, standard error and files.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "test helpers panic on failure, as tests do")]

mod app_database;
mod bench;
mod checkpoints;
mod daily_use;
mod doctor;
mod env_file;
mod export;
mod fixture;
mod frame_selection;
mod help;
mod hub;
mod library_folder;
mod limits;
mod model_check;
mod model_copy;
mod model_download;
mod model_lookup;
mod outputs;
mod parity;
mod people;
mod rejected;
mod rented;
mod resume;
mod sandbox;
mod serve;
mod settings;
mod signals;
mod streams;
mod system;
mod tls;
mod video_input;
