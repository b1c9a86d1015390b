//! The `courtside` program: reads the environment, runs one command and sets the exit code.
//!
//! Each command is one file in `cli`; the checks of `courtside doctor` are in `doctor`. The work itself is done by the
//! crates `client`, `worker` and `courtside-http`.

mod cli;
mod doctor;

use std::process::ExitCode;

use clap::Parser;
use cli::Cli;
use client::failure::{Failure, Kind, Outcome};
use client::terminal::notify;
use tracing_subscriber::EnvFilter;

/// Exit code after a panic.
const INTERNAL_ERROR: u8 = 70;

fn main() -> ExitCode {
    if let Err(failure) = read_env_file() {
        notify(&failure);
        return failure.exit_code();
    }
    let filter = match log_filter() {
        Ok(filter) => filter,
        Err(failure) => {
            notify(&failure);
            return failure.exit_code();
        }
    };
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let cli = Cli::parse();
    match std::panic::catch_unwind(|| cli.run()) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => {
            notify(&failure);
            failure.exit_code()
        }
        Err(_) => {
            notify("error: internal error; please report it with the lines above");
            ExitCode::from(INTERNAL_ERROR)
        }
    }
}

/// The log filter in `COURTSIDE_LOG`; by default, warnings and errors.
fn log_filter() -> Outcome<EnvFilter> {
    let Some(text) = std::env::var_os("COURTSIDE_LOG").filter(|text| !text.is_empty()) else {
        return Ok(EnvFilter::new("warn"));
    };
    EnvFilter::try_new(text.to_string_lossy()).map_err(|e| {
        Failure::new(Kind::Config, e)
            .context(format!("invalid COURTSIDE_LOG: {}", text.display()))
            .hint("set it to error, warn, info, debug or trace, or to a filter such as jobs=debug,warn")
    })
}

/// Reads `.env` in the working folder. It does not override variables that are already set.
fn read_env_file() -> Outcome<()> {
    let reason = match dotenvy::from_path(".env") {
        Ok(()) => return Ok(()),
        Err(error) if error.not_found() => return Ok(()),
        // The error quotes the line, which may contain a secret.
        Err(dotenvy::Error::LineParse(..)) => "it has an invalid line".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(Failure::msg(Kind::Config, format!("cannot read .env: {reason}"))
        .hint("write each line as NAME=value or # comment, and quote values that contain spaces"))
}
