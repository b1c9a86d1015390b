//! The program from outside: the built binary on videos made of the parity fixtures' clips, with an
//! environment of its own and an exit code, standard output, standard error and files to look at.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking, like the tests themselves")]

mod bench;
mod check;
mod checkpoints;
mod continuing;
mod doctor;
mod download;
mod export;
mod fixture;
mod help;
mod hub;
mod outputs;
mod parity;
mod places;
mod program;
mod refused;
mod sampling;
mod serve;
mod stopping;
mod system;
mod video_input;
