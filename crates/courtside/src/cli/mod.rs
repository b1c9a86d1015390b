//! The command line: one file for each command, whose doc comments are its help.

mod bench;
mod model;
mod track;

use clap::{Parser, Subcommand};

use crate::failure::Outcome;

/// Tracks every player through an hour-long game with SAM3 and brings the tracks home.
#[derive(Debug, Parser)]
#[command(name = "courtside", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// Prints results as JSON on standard output.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed and you can fix it, 2 wrong command line, 3 wrong \
                          configuration or checkpoint, 4 something remote did not answer, 5 the tracking itself \
                          failed, 70 a bug of ours, 130 interrupted.";

#[derive(Debug, Subcommand)]
enum Command {
    Track(track::Args),
    Model(model::Args),
    Bench(bench::Args),
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> Outcome<()> {
        match self.command {
            Command::Track(args) => track::run(args, self.json),
            Command::Model(args) => model::run(&args, self.json),
            Command::Bench(args) => bench::run(&args, self.json),
        }
    }
}

/// Prints a value as JSON, or as its text.
fn print(value: &(impl serde::Serialize + std::fmt::Display), json: bool) -> Outcome<()> {
    use std::io::Write;
    let text = if json {
        serde_json::to_string_pretty(value).map_err(std::io::Error::from)? + "\n"
    } else {
        value.to_string()
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        // A reader that has seen enough is no error.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}
