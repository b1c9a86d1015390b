//! Finding `ffmpeg` and `ffprobe`, and refusing versions that would number frames incorrectly.

use std::ffi::OsString;
use std::ops::ControlFlow;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::error::VideoError;
use crate::limits::Limits;
use crate::process;
use crate::sandbox::{self, policy::Sandbox};

/// The oldest supported version. Older ones lack `-fps_mode`, without which frames are dropped and
/// duplicated.
const MIN_VERSION: (u32, u32) = (5, 1);
/// The libavutil of [`MIN_VERSION`], for builds without a version number.
const MIN_AVUTIL_VERSION: (u32, u32) = (57, 28);

/// System folders with programs and libraries, which every child may read.
const SYSTEM_PATHS: [&str; 8] = [
    "/usr",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/nix/store",
    "/home/linuxbrew/.linuxbrew",
    "/dev/null",
    "/dev/urandom",
];

/// Whether the user chose to run ffmpeg without a sandbox; set once, when the program starts.
static SANDBOX_IS_OFF: AtomicBool = AtomicBool::new(false);

/// The paths of `ffmpeg` and `ffprobe`, whose versions were checked.
#[derive(Clone, Debug)]
pub struct Tools {
    ffmpeg: PathBuf,
    ffprobe: PathBuf,
    readable: Vec<PathBuf>,
    is_sandboxed: bool,
}

impl Tools {
    /// Finds both programs: those named by `COURTSIDE_FFMPEG` and `COURTSIDE_FFPROBE` if set, else the
    /// first on `PATH`. Blocks while both print their version.
    ///
    /// # Errors
    ///
    /// [`VideoError::Tools`] if one is missing, does not run, or is older than 5.1; [`VideoError::Sandbox`] if the
    /// system cannot sandbox them, or they do not run inside the sandbox.
    pub fn find() -> Result<Tools, VideoError> {
        Tools::at(&locate("ffmpeg", "COURTSIDE_FFMPEG")?, &locate("ffprobe", "COURTSIDE_FFPROBE")?)
    }

    /// Uses the programs at these paths.
    ///
    /// # Errors
    ///
    /// As for [`Tools::find`].
    pub fn at(ffmpeg: &Path, ffprobe: &Path) -> Result<Tools, VideoError> {
        let absolute = |tool: &Path| {
            let found = tool.canonicalize();
            found.map_err(|error| VideoError::Tools(format!("cannot use {}: {error}", tool.display())))
        };
        let (ffmpeg, ffprobe) = (absolute(ffmpeg)?, absolute(ffprobe)?);
        let mut readable: Vec<PathBuf> = SYSTEM_PATHS.iter().map(PathBuf::from).collect();
        for tool in [&ffmpeg, &ffprobe] {
            readable.push(tool.clone());
            readable.extend(own_libraries(tool));
        }
        let is_sandboxed = !SANDBOX_IS_OFF.load(Ordering::Relaxed);
        if is_sandboxed {
            sandbox::check_support().map_err(VideoError::Sandbox)?;
        }
        let tools = Tools { ffmpeg, ffprobe, readable, is_sandboxed };
        tools.check()?;
        Ok(tools)
    }

    /// Lets all tools that this process finds from now on run without restricting their access to files and the
    /// network. Their resource limits stay.
    pub fn disable_sandbox() {
        SANDBOX_IS_OFF.store(true, Ordering::Relaxed);
    }

    /// Whether children can access only the files that they need, where the system supports that.
    pub fn is_sandboxed(&self) -> bool {
        self.is_sandboxed
    }

    /// The absolute path of ffmpeg.
    pub fn ffmpeg(&self) -> &Path {
        &self.ffmpeg
    }

    /// The absolute path of ffprobe.
    pub fn ffprobe(&self) -> &Path {
        &self.ffprobe
    }

    /// A command that runs `program` without this process's environment, which contains secrets and
    /// variables that change the behaviour of ffmpeg.
    pub(crate) fn command(program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", "C");
        for name in ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        // A keyboard interrupt must reach only the parent, which handles it.
        command.process_group(0);
        command
    }

    /// The sandbox of a child with `threads` threads that reads `input`.
    pub(crate) fn sandbox(&self, input: Option<&Path>, limits: &Limits, threads: usize) -> Sandbox {
        let mut read = self.readable.clone();
        read.extend(input.map(Path::to_owned));
        let memory_bytes = limits.memory_bytes.saturating_add((threads as u64).saturating_mul(256 << 20));
        Sandbox { read, write: None, memory_bytes, restricts_access: self.is_sandboxed }
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
            Ok(finished) => finished.log.summary("it failed without a message"),
            Err(process::RunError::Io(error)) => error.to_string(),
            Err(process::RunError::Stalled) => String::from("it does not respond"),
        };
        let message = format!("cannot run {} -version: {why}", tool.display());
        // A sandboxed child cannot read libraries in unusual folders. It is not run without the sandbox to find out.
        Err(if self.is_sandboxed { VideoError::Sandbox(message) } else { VideoError::Tools(message) })
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

/// The library folders of a program that is installed under its own prefix.
fn own_libraries(tool: &Path) -> Vec<PathBuf> {
    let Some(folder) = tool.parent() else { return Vec::new() };
    let prefix = folder.parent().filter(|prefix| prefix.parent().is_some());
    prefix.map(|prefix| vec![prefix.join("lib"), prefix.join("lib64")]).unwrap_or_default()
}

fn check_version(tool: &Path, banner: &str) -> Result<(), VideoError> {
    let first = banner.lines().next().unwrap_or_default();
    let word = first.split_whitespace().nth(2).unwrap_or_default();
    let found = match parse_version(word.trim_start_matches('n')) {
        Some(version) => version >= MIN_VERSION,
        None => parse_avutil_version(banner).is_some_and(|version| version >= MIN_AVUTIL_VERSION),
    };
    if found {
        return Ok(());
    }
    Err(VideoError::Tools(format!("{} is too old or has an unknown version ({first:?})", tool.display())))
}

/// Parses a version: `5.1.9-0+deb12u1` is (5, 1), `7` is (7, 0), and the git build `N-110000-gabc`
/// is `None`.
fn parse_version(word: &str) -> Option<(u32, u32)> {
    let word = word.split(['-', '+', '~']).next()?;
    let mut parts = word.split('.');
    let major = parts.next()?.parse().ok()?;
    Some((major, parts.next().and_then(|minor| minor.parse().ok()).unwrap_or(0)))
}

/// Parses the version in the line `libavutil      57. 28.100 / 57. 28.100`.
fn parse_avutil_version(banner: &str) -> Option<(u32, u32)> {
    let line = banner.lines().find_map(|line| line.trim_start().strip_prefix("libavutil"))?;
    let mut parts = line.split('.').map(str::trim);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_unknown_versions_are_rejected() {
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
    fn error_for_a_missing_tool_explains_the_fix() {
        let none = locate_in("ffmpeg", "COURTSIDE_FFMPEG", None, Some("/nonexistent".into()));
        let error = none.unwrap_err().to_string();
        assert!(error.contains("ffmpeg was not found on PATH"), "{error}");
        assert!(error.contains("brew install ffmpeg"), "{error}");
        let set = locate_in("ffmpeg", "COURTSIDE_FFMPEG", Some("/nonexistent/ffmpeg".into()), None);
        assert!(set.unwrap_err().to_string().contains("COURTSIDE_FFMPEG names /nonexistent/ffmpeg"));
    }
}
