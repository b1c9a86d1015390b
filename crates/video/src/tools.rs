//! Finding `ffmpeg` and `ffprobe`, once, and refusing versions that would number frames wrongly.

use std::ffi::OsString;
use std::ops::ControlFlow;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::error::VideoError;
use crate::limits::Limits;
use crate::process;
use crate::sandbox::Sandbox;

/// Older versions lack `-fps_mode`, without which frames are dropped and doubled.
const OLDEST: (u32, u32) = (5, 1);
/// The libavutil of that version, for builds that carry no version number.
const OLDEST_AVUTIL: (u32, u32) = (57, 28);

/// Where programs and libraries live: readable by every child.
const SYSTEM: [&str; 8] = [
    "/usr",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/nix/store",
    "/home/linuxbrew/.linuxbrew",
    "/dev/null",
    "/dev/urandom",
];

/// The two programs, found and checked.
#[derive(Clone, Debug)]
pub struct Tools {
    ffmpeg: PathBuf,
    ffprobe: PathBuf,
    readable: Vec<PathBuf>,
    landlock: bool,
}

impl Tools {
    /// Finds both programs: `COURTSIDE_FFMPEG` and `COURTSIDE_FFPROBE` if set, else the first on
    /// `PATH`. Blocks for two short runs of them.
    ///
    /// # Errors
    ///
    /// [`VideoError::Tools`] when one is missing, does not run or is older than 5.1.
    pub fn find() -> Result<Tools, VideoError> {
        Tools::at(&locate("ffmpeg", "COURTSIDE_FFMPEG")?, &locate("ffprobe", "COURTSIDE_FFPROBE")?)
    }

    /// Takes these two programs, which have to be files.
    ///
    /// # Errors
    ///
    /// As [`Tools::find`].
    pub fn at(ffmpeg: &Path, ffprobe: &Path) -> Result<Tools, VideoError> {
        let absolute = |tool: &Path| {
            let found = tool.canonicalize();
            found.map_err(|error| VideoError::Tools(format!("{} cannot be used: {error}", tool.display())))
        };
        let (ffmpeg, ffprobe) = (absolute(ffmpeg)?, absolute(ffprobe)?);
        let mut readable: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
        for tool in [&ffmpeg, &ffprobe] {
            readable.push(tool.clone());
            readable.extend(own_libraries(tool));
        }
        let mut tools = Tools { ffmpeg, ffprobe, readable, landlock: true };
        if let Err(confined) = tools.check() {
            // Libraries in a place of their own are out of reach of a confined child.
            tools.landlock = false;
            tools.check()?;
            tracing::warn!("ffmpeg does not run confined by Landlock and is run without it ({confined})");
        }
        Ok(tools)
    }

    /// The ffmpeg program.
    pub fn ffmpeg(&self) -> &Path {
        &self.ffmpeg
    }

    /// The ffprobe program.
    pub fn ffprobe(&self) -> &Path {
        &self.ffprobe
    }

    /// A command for one of the two, without this process's environment: it holds secrets, and
    /// variables that change what ffmpeg does.
    pub(crate) fn command(program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", "C");
        for name in ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        // An interrupt from the keyboard is the parent's to handle.
        command.process_group(0);
        command
    }

    /// A sandbox in which a child with `threads` threads may read `input`.
    pub(crate) fn sandbox(&self, input: Option<&Path>, limits: &Limits, threads: usize) -> Sandbox {
        let mut read = self.readable.clone();
        read.extend(input.map(Path::to_owned));
        let memory_bytes = limits.memory_bytes.saturating_add((threads as u64).saturating_mul(256 << 20));
        Sandbox { read, write: None, memory_bytes, landlock: self.landlock }
    }

    fn check(&self) -> Result<(), VideoError> {
        for tool in [&self.ffmpeg, &self.ffprobe] {
            let banner = self.banner(tool)?;
            check_version(tool, &banner)?;
        }
        Ok(())
    }

    fn banner(&self, tool: &Path) -> Result<String, VideoError> {
        let mut command = Tools::command(tool);
        command.arg("-version");
        let mut banner = Vec::new();
        let finished = process::run(
            command,
            &self.sandbox(None, &Limits::default(), 1),
            Duration::from_secs(20),
            &mut |chunk| {
                banner.extend_from_slice(chunk);
                if banner.len() > 1 << 16 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
        );
        let why = match finished {
            Ok(finished) if finished.status.is_some_and(|status| status.success()) => {
                return Ok(String::from_utf8_lossy(&banner).into_owned());
            }
            Ok(finished) => finished.log.words("it failed without a word"),
            Err(process::RunError::Io(error)) => error.to_string(),
            Err(process::RunError::Stalled) => String::from("it does not answer"),
        };
        Err(VideoError::Tools(format!("{} -version does not run: {why}", tool.display())))
    }
}

fn locate(name: &'static str, variable: &'static str) -> Result<PathBuf, VideoError> {
    locate_in(name, variable, std::env::var_os(variable), std::env::var_os("PATH"))
}

fn locate_in(
    name: &str,
    variable: &str,
    set: Option<OsString>,
    path: Option<OsString>,
) -> Result<PathBuf, VideoError> {
    if let Some(set) = set.filter(|value| !value.is_empty()) {
        let set = PathBuf::from(set);
        return set.canonicalize().ok().filter(|file| file.is_file()).ok_or_else(|| {
            VideoError::Tools(format!("{variable} names {}, which is not a file", set.display()))
        });
    }
    path.iter()
        .flat_map(std::env::split_paths)
        .filter_map(|folder| folder.join(name).canonicalize().ok())
        .find(|file| file.is_file())
        .ok_or_else(|| VideoError::Tools(format!("{name} was not found on PATH")))
}

/// The folders beside a program in which an installation of its own keeps its libraries.
fn own_libraries(tool: &Path) -> Vec<PathBuf> {
    let Some(folder) = tool.parent() else { return Vec::new() };
    let prefix = folder.parent().filter(|prefix| prefix.parent().is_some());
    prefix.map(|prefix| vec![prefix.join("lib"), prefix.join("lib64")]).unwrap_or_default()
}

fn check_version(tool: &Path, banner: &str) -> Result<(), VideoError> {
    let first = banner.lines().next().unwrap_or_default();
    let word = first.split_whitespace().nth(2).unwrap_or_default();
    let found = match numbers(word.trim_start_matches('n')) {
        Some(version) => version >= OLDEST,
        None => avutil(banner).is_some_and(|version| version >= OLDEST_AVUTIL),
    };
    if found {
        return Ok(());
    }
    Err(VideoError::Tools(format!("{} is too old or of an unknown version ({first:?})", tool.display())))
}

/// `5.1.9-0+deb12u1` is (5, 1); `7` is (7, 0); a build from git, `N-110000-gabc`, is none.
fn numbers(word: &str) -> Option<(u32, u32)> {
    let word = word.split(['-', '+', '~']).next()?;
    let mut parts = word.split('.');
    let major = parts.next()?.parse().ok()?;
    Some((major, parts.next().and_then(|minor| minor.parse().ok()).unwrap_or(0)))
}

/// The version in the line `libavutil      57. 28.100 / 57. 28.100`.
fn avutil(banner: &str) -> Option<(u32, u32)> {
    let line = banner.lines().find_map(|line| line.trim_start().strip_prefix("libavutil"))?;
    let mut parts = line.split('.').map(str::trim);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared() {
        let tool = Path::new("ffmpeg");
        for good in [
            "ffmpeg version 5.1.9-0+deb12u1 Copyright",
            "ffmpeg version 7 Copyright",
            "ffmpeg version n6.0 x",
            "ffmpeg version N-110000-gabcdef Copyright\nlibavutil      58.  2.100 / 58.  2.100",
        ] {
            assert!(check_version(tool, good).is_ok(), "{good}");
        }
        for bad in [
            "ffmpeg version 5.0.3 Copyright",
            "ffmpeg version 4.4.2-0ubuntu0.22.04.1 Copyright",
            "ffmpeg version N-90000-gabcdef Copyright\nlibavutil      56. 70.100 / 56. 70.100",
            "hello",
            "",
        ] {
            let error = check_version(tool, bad).unwrap_err().to_string();
            assert!(error.contains("apt-get install ffmpeg"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_missing_tool_is_named_with_the_way_out() {
        let none = locate_in("ffmpeg", "COURTSIDE_FFMPEG", None, Some("/nonexistent".into()));
        let error = none.unwrap_err().to_string();
        assert!(error.contains("ffmpeg was not found on PATH"), "{error}");
        assert!(error.contains("brew install ffmpeg"), "{error}");
        let set = locate_in("ffmpeg", "COURTSIDE_FFMPEG", Some("/nonexistent/ffmpeg".into()), None);
        assert!(set.unwrap_err().to_string().contains("COURTSIDE_FFMPEG names /nonexistent/ffmpeg"));
    }
}
