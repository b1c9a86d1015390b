//! The destination of an export: a file that appears atomically, or standard output.

use std::io::{BufWriter, ErrorKind, Result, Stdout, Write};
use std::path::{Path, PathBuf};

use crate::atomic_file::{AtomicFile, check_name, folder_of};
use crate::failure::{Failure, Kind, Outcome};

/// An export that is being written.
pub enum Output {
    /// A file, which appears on [`Output::commit`].
    File(AtomicFile),
    /// Standard output. If its reader closes it, as in `courtside export … | head`, the rest is discarded.
    Stdout(BufWriter<Stdout>),
}

impl Output {
    /// Opens a file, or standard output for the name `-`.
    pub fn create(target: &Path) -> Outcome<Self> {
        match is_stdout(target) {
            true => Ok(Self::Stdout(BufWriter::with_capacity(1 << 16, std::io::stdout()))),
            false => Ok(Self::File(AtomicFile::create(target)?)),
        }
    }

    /// The folder for temporary files of an export to `target`.
    pub fn scratch_of(target: &Path) -> PathBuf {
        if is_stdout(target) { std::env::temp_dir() } else { folder_of(target).to_owned() }
    }

    /// Completes the export after everything was written.
    pub fn commit(self) -> Outcome<()> {
        match self {
            Self::File(file) => file.commit(),
            Self::Stdout(mut stdout) => Ok(ignore_closed(stdout.flush(), ())?),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match self {
            Self::File(file) => file.write(bytes),
            Self::Stdout(stdout) => ignore_closed(stdout.write(bytes), bytes.len()),
        }
    }

    fn flush(&mut self) -> Result<()> {
        match self {
            Self::File(file) => file.flush(),
            Self::Stdout(stdout) => ignore_closed(stdout.flush(), ()),
        }
    }
}

/// Returns `fallback` if the reader of a pipe closed it, which is not an error.
fn ignore_closed<T>(result: Result<T>, fallback: T) -> Result<T> {
    match result {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(fallback),
        other => other,
    }
}

fn is_stdout(target: &Path) -> bool {
    target == Path::new("-")
}

/// Checks that an export can be written to `target`. `sources` are the files that it reads, each with a description
/// such as "the video"; they must not be overwritten.
///
/// # Errors
/// Of kind [`Kind::Failed`], naming the file.
pub fn check_target(target: &Path, sources: &[(&Path, &str)]) -> Outcome<()> {
    if is_stdout(target) {
        return Ok(());
    }
    check_name(target)?;
    let existing = target.canonicalize().ok();
    for (source, what) in sources {
        if existing.is_some() && source.canonicalize().ok() == existing {
            let message = format!("{}: is {what} itself; choose another name", target.display());
            return Err(Failure::msg(Kind::Failed, message).hint("use --out FILE to choose the name"));
        }
    }
    Ok(())
}
