//! The `courtside` program: reads the environment, runs one command and sets the exit code.
//!
//! Each command is one file in `cli`; the checks of `courtside doctor` are in `doctor`. The work itself is done by the
//! crates `client`, `worker` and `courtside-http`.

mod cli;
mod doctor;
mod limits;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use cli::Cli;
use client::failure::{Failure, Kind, Outcome};
use client::settings::{EnvFile, untidy};
use client::terminal::notify;
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: limits::Allocator = limits::Allocator;

/// Exit code after a panic.
const INTERNAL_ERROR: u8 = 70;

fn main() -> ExitCode {
    if let Err(failure) = complete_environment() {
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
    limits::set_panic_hook();
    let run = || limits::check_open_files().and_then(|()| cli.run());
    let failure = match std::panic::catch_unwind(run) {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(failure)) => failure,
        Err(panic) => match limits::shortage(&*panic) {
            Some(failure) => failure,
            None => {
                notify("error: internal error; please report it with the lines above");
                return ExitCode::from(INTERNAL_ERROR);
            }
        },
    };
    notify(&failure);
    failure.exit_code()
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

/// Adds the settings in `.env` in the working folder to the environment, and removes blanks and quotes around settings.
/// From here on, every part of the program finds its settings in the environment.
fn complete_environment() -> Outcome<()> {
    let file = EnvFile::read(Path::new(".env"), &|name| {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    })?;
    file.warnings.iter().for_each(notify);
    for (name, value) in file.values {
        set_variable(name, Some(&value));
    }
    for (name, value) in untidy(&|name| std::env::var(name).ok()) {
        set_variable(name, value.as_deref());
    }
    Ok(())
}

/// Sets or removes an environment variable.
#[expect(unsafe_code, reason = "changes the environment before any other thread runs")]
fn set_variable(name: &str, value: Option<&str>) {
    match value {
        Some(value) => unsafe { std::env::set_var(name, value) },
        None => unsafe { std::env::remove_var(name) },
    }
}
