//! The command line: one file for each command, whose doc comments are its help.

#[cfg(feature = "worker")]
mod bench;
mod doctor;
#[cfg(feature = "worker")]
mod engine_args;
mod export;
mod import;
mod manage;
#[cfg(feature = "worker")]
mod model;
mod serve;
mod status;
mod submit;
#[cfg(feature = "worker")]
mod track;
mod tracks;
mod videos;
#[cfg(feature = "worker")]
mod worker;

use std::future::Future;

use clap::{Parser, Subcommand};

use client::Client;
use client::failure::{Failure, Kind, Outcome};
use client::settings::Settings;

/// Tracks every player through an hour-long game with SAM3 and brings the tracks home.
#[derive(Debug, Parser)]
#[command(name = "courtside", version, propagate_version = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
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
    Submit(submit::Args),
    #[cfg(feature = "worker")]
    Worker(worker::Args),
    Serve(serve::Args),
    Status(status::Args),
    Import(import::Args),
    Tracks(tracks::Args),
    Export(export::Args),
    Videos(videos::Args),
    Logs(manage::LogsArgs),
    Cancel(manage::CancelArgs),
    Retry(manage::RetryArgs),
    Rm(manage::RmArgs),
    Doctor(doctor::Args),
    #[cfg(feature = "worker")]
    Track(track::Args),
    #[cfg(feature = "worker")]
    Model(model::Args),
    #[cfg(feature = "worker")]
    Bench(bench::Args),
}

impl Cli {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome<()> {
        let json = self.json;
        match self.command {
            Command::Submit(args) => submit::run(args, &Context::new(json)?),
            #[cfg(feature = "worker")]
            Command::Worker(args) => worker::run(args, &Context::new(json)?),
            Command::Serve(args) => serve::run(args, Context::new(json)?),
            Command::Status(args) => status::run(args, &Context::new(json)?),
            Command::Import(args) => import::run(args, &Context::new(json)?),
            Command::Tracks(args) => tracks::run(&args, &Context::new(json)?),
            Command::Export(args) => export::run(&args, &Context::new(json)?),
            Command::Videos(args) => videos::run(args, &Context::new(json)?),
            Command::Logs(args) => manage::logs(&args, &Context::new(json)?),
            Command::Cancel(args) => manage::cancel(&args, &Context::new(json)?),
            Command::Retry(args) => manage::retry(&args, &Context::new(json)?),
            Command::Rm(args) => manage::rm(&args, &Context::new(json)?),
            Command::Doctor(args) => doctor::run(&args, json),
            #[cfg(feature = "worker")]
            Command::Track(args) => track::run(args, json),
            #[cfg(feature = "worker")]
            Command::Model(args) => model::run(&args, json),
            #[cfg(feature = "worker")]
            Command::Bench(args) => bench::run(&args, json),
        }
    }
}

/// What commands that work with library and bucket have in common.
struct Context {
    client: Client,
    json: bool,
    runtime: tokio::runtime::Runtime,
}

impl Context {
    fn new(json: bool) -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|e| Failure::new(Kind::Failed, e).context("cannot start threads"))?;
        Ok(Self { client: Client::new(Settings::from_env()?), json, runtime })
    }

    fn block_on<T>(&self, work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
        self.runtime.block_on(work)
    }

    fn print(&self, value: &(impl serde::Serialize + std::fmt::Display)) -> Outcome<()> {
        print(value, self.json)
    }

    /// As [`Self::print`], and tells whether anybody still reads it.
    fn print_while_heard(&self, value: &(impl serde::Serialize + std::fmt::Display)) -> Outcome<bool> {
        write(value, self.json)
    }

    /// Before the next picture of a display that is watched on a terminal.
    fn clear_screen(&self) {
        use std::io::{IsTerminal, Write};
        if !self.json && std::io::stdout().is_terminal() {
            let _ = std::io::stdout().write_all(b"\x1b[2J\x1b[H");
        }
    }
}

/// Prints a value as JSON, or as its text. A reader that has seen enough is no error.
fn print(value: &(impl serde::Serialize + std::fmt::Display), json: bool) -> Outcome<()> {
    write(value, json).map(|_| ())
}

fn write(value: &(impl serde::Serialize + std::fmt::Display), json: bool) -> Outcome<bool> {
    use std::io::Write;
    let text = if json {
        serde_json::to_string_pretty(value).map_err(std::io::Error::from)? + "\n"
    } else {
        value.to_string()
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        other => Ok(other.map(|()| true)?),
    }
}
