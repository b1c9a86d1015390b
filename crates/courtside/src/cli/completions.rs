//! `courtside completions`.

use std::fmt;

use clap::CommandFactory;
use clap_complete::Shell;
use serde::Serialize;

use super::Cli;
use client::failure::Outcome;

/// Print the completions of a shell
///
/// For bash: `courtside completions bash > ~/.local/share/bash-completion/completions/courtside`. For zsh: write them to
/// `_courtside` in a folder of $fpath. For fish: write them to ~/.config/fish/completions/courtside.fish.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Shell to complete for
    shell: Shell,
}

impl Args {
    pub(super) fn run(self, json: bool) -> Outcome<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "courtside", &mut script);
        let script = String::from_utf8_lossy(&script).into_owned();
        super::print(&Completions { shell: self.shell.to_string(), script }, json)
    }
}

#[derive(Debug, Serialize)]
struct Completions {
    shell: String,
    script: String,
}

impl fmt::Display for Completions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.script)
    }
}
