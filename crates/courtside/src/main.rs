//! The `courtside` program.

use std::process::ExitCode;

use clap::Parser;
use courtside::cli::Cli;
use tracing_subscriber::EnvFilter;

/// Exit code for a bug of ours.
const BUG: u8 = 70;

fn main() -> ExitCode {
    // Real environment wins over a `.env` file in the working folder, flags win over both.
    if let Err(error) = dotenvy::from_filename(".env")
        && !error.not_found()
    {
        eprintln!("error: .env: {error}\n  hint: every line is NAME=value or a # comment");
        return ExitCode::from(3);
    }
    let filter = EnvFilter::try_from_env("COURTSIDE_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let cli = Cli::parse();
    match std::panic::catch_unwind(|| cli.run()) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => {
            eprintln!("{failure}");
            failure.exit_code()
        }
        Err(_) => {
            eprintln!("error: this is a bug in courtside; please report it with the lines above");
            ExitCode::from(BUG)
        }
    }
}
