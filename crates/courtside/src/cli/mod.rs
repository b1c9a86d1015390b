//! The command line. Each command is one file; the doc comments on its `Args` are its help text.
//!
//! To add a command, write `NAME.rs` with a struct `Args` and a method `run`, and add `NAME` to the `mod` lines and to
//! `commands!` below.

#[cfg(feature = "worker")]
mod bench;
mod cancel;
mod completions;
mod doctor;
mod export;
mod import;
mod launch;
mod logs;
mod machines;
mod man;
#[cfg(feature = "worker")]
mod model;
#[cfg(feature = "worker")]
mod model_args;
mod open;
mod retry;
mod rm;
mod selection;
mod serve;
mod status;
mod submit;
#[cfg(test)]
#[cfg(feature = "worker")]
mod tests;
#[cfg(feature = "worker")]
mod track;
mod tracks;
mod values;
mod videos;
#[cfg(feature = "worker")]
mod worker;

use std::fmt;
use std::future::Future;
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Parser, Subcommand};
use jobs::JobId;
use serde::Serialize;

use client::Client;
use client::failure::{Failure, Kind, Outcome};
use client::job_name::resolve_job;
use client::settings::Settings;
use client::terminal::{notify, typeable};
use store::Library;
use video::Tools;

/// Track every player through an hour-long game with SAM3
#[derive(Debug, Parser)]
#[command(name = "courtside", version, propagate_version = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// Print results as JSON on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Let ffmpeg access files and the network while it decodes; for videos that you trust
    #[arg(long, global = true)]
    no_sandbox: bool,
    /// Folder of the library, with its database, bucket and .env [default: COURTSIDE_HOME, or searched upwards]
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(crate) library: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 success, 1 failed (you can fix it), 2 invalid command line, 3 invalid \
                          configuration or model, 4 remote service unavailable, 5 tracking failed, 70 internal error \
                          (please report), 130 interrupted (serve, --watch, --follow: 0)";

/// Declares the commands, in the order in which `courtside --help` lists them.
macro_rules! commands {
    ($($(#[$attribute:meta])* $name:ident($module:ident),)*) => {
        #[derive(Debug, Subcommand)]
        enum Command {
            $($(#[$attribute])* $name($module::Args),)*
        }

        impl Cli {
            /// Runs the chosen command.
            pub(crate) fn run(self) -> Outcome<()> {
                if self.no_sandbox {
                    Tools::disable_sandbox();
                }
                match self.command {
                    $($(#[$attribute])* Command::$name(args) => args.run(self.json),)*
                }
            }
        }
    };
}

commands! {
    Submit(submit),
    #[cfg(feature = "worker")]
    Worker(worker),
    Launch(launch),
    Machines(machines),
    Serve(serve),
    Open(open),
    Status(status),
    Import(import),
    Tracks(tracks),
    Export(export),
    Videos(videos),
    Logs(logs),
    Cancel(cancel),
    Retry(retry),
    Rm(rm),
    Doctor(doctor),
    Completions(completions),
    Man(man),
    #[cfg(feature = "worker")]
    Track(track),
    #[cfg(feature = "worker")]
    Model(model),
    #[cfg(feature = "worker")]
    Bench(bench),
}

/// Whether a command line that may be invalid is one of `courtside worker`: then the value of its `--when-done`.
#[cfg(feature = "worker")]
pub(crate) fn worker_in_command_line() -> Option<Option<String>> {
    let command = <Cli as clap::CommandFactory>::command().ignore_errors(true);
    let matches = command.try_get_matches_from(std::env::args_os()).ok()?;
    let (_, worker) = matches.subcommand().filter(|(name, _)| *name == "worker")?;
    Some(worker.try_get_one::<String>("when_done").ok().flatten().cloned())
}

/// What commands need that work with the library and the bucket.
struct Context {
    client: Client,
    json: bool,
    runtime: tokio::runtime::Runtime,
}

impl Context {
    /// Reads the settings from the environment. Opens neither library nor bucket.
    fn new(json: bool) -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|e| Failure::new(Kind::Failed, e).context("cannot start threads"))?;
        Ok(Self { client: Client::new(Settings::from_env()?), json, runtime })
    }

    /// Opens the library for a command that adds to it. Says so if that creates the database.
    fn library(&self) -> Outcome<Library> {
        let is_new = self.client.existing_library()?.is_none();
        let library = self.client.library()?;
        if is_new {
            notify(format!("created the library {}", library.path().display()));
        } else {
            self.name_library_above(&library);
        }
        Ok(library)
    }

    /// Opens the library for a command that adds nothing to it. A missing library is read as an empty one and not created.
    fn library_to_read(&self) -> Outcome<Library> {
        if let Some(library) = self.client.existing_library()? {
            self.name_library_above(&library);
            return Ok(library);
        }
        let library = Library::absent(&self.client.settings.database_url)?;
        notify(format!(
            "there is no library at {} yet; use --library FOLDER for one in another folder, or create it with \
             `courtside submit FILE`",
            library.path().display()
        ));
        Ok(library)
    }

    /// The job that the user names by its id, the beginning of it, `@latest`, or the file name of its video.
    fn job(&self, library: &Library, name: &str) -> Outcome<JobId> {
        self.block_on(resolve_job(&self.client, library, name))
    }

    /// Whether the library is in a folder above the working folder.
    fn is_library_above(&self) -> bool {
        let here = std::env::current_dir().unwrap_or_default();
        self.client.settings.home.as_ref().is_some_and(|home| *home != here && here.starts_with(home))
    }

    /// Names a library that was found above the working folder.
    fn name_library_above(&self, library: &Library) {
        if self.is_library_above() {
            notify(format!("using the library {}", library.path().display()));
        }
    }

    fn block_on<T>(&self, work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
        self.runtime.block_on(work)
    }

    fn print(&self, value: &(impl Serialize + fmt::Display)) -> Outcome<()> {
        print(value, self.json)
    }

    /// Prints an update of `--watch`: with `--json`, on one line. Returns false once the reader has closed standard output.
    fn print_line_while_open(&self, value: &(impl Serialize + fmt::Display)) -> Outcome<bool> {
        match self.json {
            true => write_text(&(serde_json::to_string(value).map_err(std::io::Error::from)? + "\n")),
            false => write_text(&typeable(&value.to_string())),
        }
    }

    /// Clears the terminal for the next update of `--watch`, unless standard output is redirected.
    fn clear_screen(&self) {
        if !self.json && std::io::stdout().is_terminal() {
            let _ = std::io::stdout().write_all(b"\x1b[2J\x1b[H");
        }
    }
}

/// Prints a value on standard output, as JSON or as text. A closed pipe is not an error.
fn print(value: &(impl Serialize + fmt::Display), json: bool) -> Outcome<()> {
    let text = if json {
        serde_json::to_string_pretty(value).map_err(std::io::Error::from)? + "\n"
    } else {
        typeable(&value.to_string()).into_owned()
    };
    if json {
        IS_RESULT_PRINTED.store(true, Ordering::Relaxed);
    }
    write_text(&text).map(|_| ())
}

/// Whether standard output has a JSON value already, so that another one would make it invalid.
static IS_RESULT_PRINTED: AtomicBool = AtomicBool::new(false);

/// Shows the failure that ends the program: as text on standard error and, with `--json`, as a JSON object on standard
/// output, or on standard error if the result is on standard output already.
pub(crate) fn report_failure(failure: &Failure, json: bool) {
    let is_result_printed = IS_RESULT_PRINTED.load(Ordering::Relaxed);
    if !(json && is_result_printed) {
        notify(failure);
    }
    if json {
        match is_result_printed {
            true => notify(failure.to_json()),
            false => print_failure(failure),
        }
    }
}

/// Prints a failure on standard output, as a JSON object on one line. If that is closed, the text on standard error
/// has to do.
pub(crate) fn print_failure(failure: &Failure) {
    let _ = write_text(&format!("{}\n", failure.to_json()));
}

/// Writes to standard output. Returns false if the reader has closed it.
fn write_text(text: &str) -> Outcome<bool> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(false),
        other => Ok(other.map(|()| true)?),
    }
}

/// The outcome of a command that changes one job.
#[derive(Debug, Serialize)]
struct JobChange {
    job_id: String,
    status: String,
}

impl fmt::Display for JobChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "job {} is now {}", self.job_id, self.status)
    }
}
