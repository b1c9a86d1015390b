//! The `courtside` program: command line, exit codes, and the composition of the crates.

mod cli;
mod doctor;

use std::process::ExitCode;

use clap::Parser;
use cli::Cli;
use client::failure::{Failure, Kind, Outcome};
use client::terminal::notify;
use tracing_subscriber::EnvFilter;

/// Exit code for a bug of ours.
const BUG: u8 = 70;

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
            notify("error: this is a bug in courtside; please report it with the lines above");
            ExitCode::from(BUG)
        }
    }
}

/// `COURTSIDE_LOG`, or warnings.
fn log_filter() -> Outcome<EnvFilter> {
    let Some(text) = std::env::var_os("COURTSIDE_LOG").filter(|text| !text.is_empty()) else {
        return Ok(EnvFilter::new("warn"));
    };
    EnvFilter::try_new(text.to_string_lossy()).map_err(|e| {
        Failure::new(Kind::Config, e)
            .context(format!("COURTSIDE_LOG is {}", text.display()))
            .hint("use error, warn, info, debug or trace, or parts of the program as in jobs=debug,warn")
    })
}

/// Reads `.env` of the working folder. Real environment wins over it, flags win over both.
fn read_env_file() -> Outcome<()> {
    let what = match dotenvy::from_path(".env") {
        Ok(()) => return Ok(()),
        Err(error) if error.not_found() => return Ok(()),
        // The line itself stays unsaid: it may hold a secret.
        Err(dotenvy::Error::LineParse(..)) => "a line of it cannot be read".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(Failure::msg(Kind::Config, format!(".env: {what}"))
        .hint("every line is NAME=value or a # comment; quote values with spaces"))
}
