//! The `courtside` program: reads the environment, runs one command and sets the exit code.
//!
//! Each command is one file in `cli`; the checks of `courtside doctor` are in `doctor`. The work itself is done by the
//! crates `client`, `worker` and `courtside-http`.

mod cli;
mod doctor;
mod http_client;
mod limits;
mod rent;
#[cfg(feature = "worker")]
mod when_done;

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, print_failure, report_failure};
use client::failure::{Failure, Kind, Outcome};
use client::settings::{EnvFile, Home, Misspelt, untidy};
use client::terminal::{name_library_in_commands, notify};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

#[global_allocator]
static ALLOCATOR: limits::Allocator = limits::Allocator;

/// Exit code of an invalid command line.
const INVALID_COMMAND_LINE: u8 = 2;

fn main() -> ExitCode {
    let given = Cli::try_parse();
    let json =
        given.as_ref().map_or_else(|_| std::env::args_os().any(|word| word == "--json"), |cli| cli.json);
    let library = given.ok().and_then(|cli| cli.library);
    let started = complete_environment(library.as_deref()).and_then(|()| start_log());
    if let Err(failure) = started {
        report_failure(&failure, json);
        #[cfg(feature = "worker")]
        end_useless_machine(&failure.message());
        return failure.exit_code();
    }
    // Again, because the settings have values for flags.
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return report_usage(&error, json),
    };
    limits::set_panic_hook();
    let run = || limits::check_open_files().and_then(|()| cli.run());
    let failure = match std::panic::catch_unwind(run) {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(failure)) => failure,
        Err(panic) => limits::shortage(&*panic).unwrap_or_else(|| {
            Failure::msg(Kind::Internal, "internal error; please report it with the lines above")
        }),
    };
    report_failure(&failure, json);
    failure.exit_code()
}

/// Prints the help that was asked for, or what is wrong with the command line.
fn report_usage(error: &clap::Error, json: bool) -> ExitCode {
    // A closed pipe is not an error.
    let _ = error.print();
    if json && error.use_stderr() {
        let text = error.to_string();
        let message = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
        let failure = Failure::msg(Kind::Usage, message).hint("run it with `--help` for the usage");
        print_failure(&failure);
    }
    #[cfg(feature = "worker")]
    if error.use_stderr() {
        let text = error.to_string();
        end_useless_machine(text.lines().next().unwrap_or_default());
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(INVALID_COMMAND_LINE))
}

/// Ends the rented machine that this runs on, if the command was to start a worker there.
#[cfg(feature = "worker")]
fn end_useless_machine(message: &str) {
    if let Some(when_done) = cli::worker_in_command_line() {
        when_done::after_invalid_start(message, when_done.as_deref());
    }
}

/// Writes log lines to standard error.
fn start_log() -> Outcome<()> {
    let filter = log_filter()?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(())
}

/// The log filter in `COURTSIDE_LOG`; by default, warnings and errors.
fn log_filter() -> Outcome<EnvFilter> {
    let Some(text) = std::env::var_os("COURTSIDE_LOG").filter(|text| !text.is_empty()) else {
        return Ok(EnvFilter::new("warn"));
    };
    let invalid = |why: String| {
        Failure::msg(Kind::Config, format!("COURTSIDE_LOG is {text:?}: {why}"))
            .hint("set it to error, warn, info, debug or trace, or to a filter such as jobs=debug,warn")
    };
    let text = text.to_string_lossy();
    // A word that is no level would be the name of a crate, and hide everything else.
    let is_level = |word: &&str| word.parse::<LevelFilter>().is_ok();
    let words = text.split(',').map(str::trim).filter(|word| !word.contains(['=', '[']));
    if let Some(other) = words.filter(|word| !is_level(word)).find(|word| !word.is_empty()) {
        return Err(invalid(format!("{other:?} is not a level")));
    }
    EnvFilter::try_new(&text).map_err(|e| invalid(e.to_string()))
}

/// Determines the folder of the library, adds the settings in its `.env` to the environment, and removes blanks and
/// quotes around settings. From here on, every part of the program finds its settings in the environment.
fn complete_environment(library: Option<&Path>) -> Outcome<()> {
    let environment = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let home = Home::find(library, &environment)?;
    if let Some(folder) = library {
        name_library_in_commands(folder);
    }
    if home.is_flag() {
        set_variable("DATABASE_URL", None);
    }
    if let Some(folder) = home.folder() {
        set_variable("COURTSIDE_HOME", Some(folder.as_os_str()));
    }
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut misspelt: Vec<_> = names.filter_map(|name| Misspelt::find(&name, "the environment")).collect();
    for path in home.env_files() {
        let file = EnvFile::read(&path, &environment)?;
        file.warnings.iter().for_each(notify);
        for (name, value) in file.values {
            set_variable(name, Some(value.as_ref()));
        }
        misspelt.extend(file.misspelt);
    }
    for (name, value) in untidy(&|name| std::env::var(name).ok()) {
        set_variable(name, value.as_deref().map(OsStr::new));
    }
    misspelt.iter().filter(|found| std::env::var_os(found.meant).is_none()).for_each(notify);
    Ok(())
}

/// Sets or removes an environment variable.
#[expect(unsafe_code, reason = "changes the environment before any other thread runs")]
fn set_variable(name: &str, value: Option<&OsStr>) {
    match value {
        Some(value) => unsafe { std::env::set_var(name, value) },
        None => unsafe { std::env::remove_var(name) },
    }
}
