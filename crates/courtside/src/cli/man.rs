//! `courtside man`, for packagers: hidden from the help.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_mangen::Man;
use serde::Serialize;

use super::Cli;
use client::atomic_file::cannot;
use client::failure::Outcome;

/// Print the manual page of the program, or write those of all commands
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub(super) struct Args {
    /// Folder to write courtside.1 and a page for each command to; it is created
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

impl Args {
    pub(super) fn run(self, json: bool) -> Outcome<()> {
        let mut root = Cli::command();
        root.build();
        let Some(folder) = self.out else {
            return super::print(&Page { page: render(&root)? }, json);
        };
        std::fs::create_dir_all(&folder).map_err(|e| cannot("create", &folder, e))?;
        let mut pages = Vec::new();
        write_pages(&root, "courtside", &folder, &mut pages)?;
        super::print(&Written { folder, pages }, json)
    }
}

/// Writes the page of a command and of the commands below it, as `courtside-videos-add.1`.
fn write_pages(command: &clap::Command, name: &str, folder: &Path, pages: &mut Vec<String>) -> Outcome<()> {
    let file = format!("{name}.1");
    let path = folder.join(&file);
    let page = render(&command.clone().display_name(name.to_owned()))?;
    std::fs::write(&path, page).map_err(|e| cannot("write", &path, e))?;
    pages.push(file);
    let visible = command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help");
    visible
        .into_iter()
        .try_for_each(|sub| write_pages(sub, &format!("{name}-{}", sub.get_name()), folder, pages))
}

fn render(command: &clap::Command) -> Outcome<String> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

#[derive(Debug, Serialize)]
struct Page {
    page: String,
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.page)
    }
}

#[derive(Debug, Serialize)]
struct Written {
    folder: PathBuf,
    pages: Vec<String>,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "wrote {} manual pages to {}", self.pages.len(), self.folder.display())
    }
}
