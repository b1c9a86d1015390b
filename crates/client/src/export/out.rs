//! Where an export goes: a file that appears whole or not at all, or standard output.

use std::io::{BufWriter, ErrorKind, Result, Stdout, Write};
use std::path::{Path, PathBuf};

use crate::atomic_file::{AtomicFile, check_name, folder_of};
use crate::failure::{Failure, Kind, Outcome};

/// What is being written.
pub enum Out {
    /// A file.
    File(AtomicFile),
    /// Standard output. Where nobody reads any more, the rest is lost, as in `courtside export … | head`.
    Pipe(BufWriter<Stdout>),
}

impl Out {
    /// Starts to write a file, or to standard output if the name is `-`.
    pub fn create(target: &Path) -> Outcome<Self> {
        match is_pipe(target) {
            true => Ok(Self::Pipe(BufWriter::with_capacity(1 << 16, std::io::stdout()))),
            false => Ok(Self::File(AtomicFile::create(target)?)),
        }
    }

    /// A folder for what must be put aside on the way.
    pub fn scratch_of(target: &Path) -> PathBuf {
        if is_pipe(target) { std::env::temp_dir() } else { folder_of(target).to_owned() }
    }

    /// All is written.
    pub fn keep(self) -> Outcome<()> {
        match self {
            Self::File(file) => file.keep(),
            Self::Pipe(mut pipe) => Ok(heard(pipe.flush(), ())?),
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match self {
            Self::File(file) => file.write(bytes),
            Self::Pipe(pipe) => heard(pipe.write(bytes), bytes.len()),
        }
    }

    fn flush(&mut self) -> Result<()> {
        match self {
            Self::File(file) => file.flush(),
            Self::Pipe(pipe) => heard(pipe.flush(), ()),
        }
    }
}

/// A reader that has seen enough is no error.
fn heard<T>(result: Result<T>, unheard: T) -> Result<T> {
    match result {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(unheard),
        other => other,
    }
}

/// Whether the name stands for standard output.
fn is_pipe(target: &Path) -> bool {
    target == Path::new("-")
}

/// Refuses a name that cannot be a new file's, or is one of those that the export is made of.
///
/// # Errors
/// Of kind [`Kind::Failed`], naming the file.
pub fn check_target(target: &Path, sources: &[(&Path, &str)]) -> Outcome<()> {
    if is_pipe(target) {
        return Ok(());
    }
    check_name(target)?;
    let place = target.canonicalize().ok();
    for (source, what) in sources {
        if place.is_some() && source.canonicalize().ok() == place {
            let message = format!("{}: is {what} itself; choose another name", target.display());
            return Err(Failure::msg(Kind::Failed, message).hint("--out FILE names it"));
        }
    }
    Ok(())
}
