//! Landlock, resource limits and the parent-death signal. Everything that allocates or opens files
//! happens before the fork; the hook that runs in the child only makes system calls.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError,
};

use crate::sandbox::policy::Sandbox;

/// The Landlock version whose rules are requested. An older kernel enforces the rules that it supports.
const RULES: ABI = ABI::V5;

/// Makes `command` start its program inside `sandbox`. The program is killed when the thread that
/// spawned it ends, so that thread must live as long as the child.
pub(crate) fn apply(command: &mut Command, sandbox: &Sandbox) -> io::Result<()> {
    let ruleset = sandbox.restricts_access.then(|| prepare(sandbox)).transpose()?;
    let parent = std::process::id();
    let memory = sandbox.memory_bytes;
    let may_write = sandbox.write.is_some();
    let hook = move || {
        kill_with_parent(parent)?;
        limit(libc::RLIMIT_AS, memory)?;
        limit(libc::RLIMIT_CORE, 0)?;
        limit(libc::RLIMIT_NOFILE, 64)?;
        if !may_write {
            limit(libc::RLIMIT_FSIZE, 0)?;
        }
        ruleset.as_ref().map_or(Ok(()), restrict)
    };
    #[expect(
        unsafe_code,
        reason = "the hook runs between fork and exec: it makes async-signal-safe system calls on values \
                  prepared before the fork, and neither allocates nor locks"
    )]
    // SAFETY: see the reason above; every function called by the hook is in this file.
    unsafe {
        command.pre_exec(hook);
    }
    Ok(())
}

/// Whether this kernel can restrict a child.
///
/// # Errors
///
/// The reason why it cannot.
pub(crate) fn check_support() -> Result<(), String> {
    let everything =
        Sandbox { read: Vec::new(), write: None, memory_bytes: u64::MAX, restricts_access: true };
    prepare(&everything).map(drop).map_err(|error| error.to_string())
}

fn prepare(sandbox: &Sandbox) -> io::Result<OwnedFd> {
    let ruleset = build(sandbox).map_err(io::Error::other)?;
    Option::<OwnedFd>::from(ruleset).ok_or_else(|| {
        let why = "this kernel has no Landlock, or a container's seccomp profile blocks it";
        io::Error::new(io::ErrorKind::Unsupported, why)
    })
}

fn build(sandbox: &Sandbox) -> Result<RulesetCreated, RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(RULES))?
        .handle_access(AccessNet::from_all(RULES))?
        .create()?;
    for path in &sandbox.read {
        ruleset = allow(ruleset, path, AccessFs::from_read(RULES))?;
    }
    if let Some(path) = &sandbox.write {
        ruleset = allow(ruleset, path, AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate)?;
    }
    Ok(ruleset)
}

/// Adds a rule for a path. A path that does not exist needs none.
fn allow(
    ruleset: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    let Ok(fd) = PathFd::new(path) else { return Ok(ruleset) };
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(RULES) };
    ruleset.add_rule(PathBeneath::new(fd, access))
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Requests SIGKILL for when the spawning thread ends; fails if it has already ended.
fn kill_with_parent(parent: u32) -> io::Result<()> {
    #[expect(unsafe_code, reason = "system call without pointers")]
    // SAFETY: PR_SET_PDEATHSIG takes an integer; getppid takes nothing and cannot fail.
    let now = unsafe {
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        libc::getppid()
    };
    if u32::try_from(now) == Ok(parent) { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
}

// The type of the resource's number differs between C libraries.
#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Resource = libc::c_int;

/// Lowers a resource limit to `max`, or leaves the current hard limit if that is lower.
fn limit(resource: Resource, max: u64) -> io::Result<()> {
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    #[expect(unsafe_code, reason = "system call with a pointer to a local")]
    // SAFETY: the pointer is to a live, initialised local of the right type.
    check(unsafe { libc::getrlimit(resource, &raw mut now) })?;
    let max = (max as libc::rlim_t).min(now.rlim_max);
    let requested = libc::rlimit { rlim_cur: max, rlim_max: max };
    #[expect(unsafe_code, reason = "system call with a pointer to a local")]
    // SAFETY: the pointer is to a live, initialised local of the right type.
    check(unsafe { libc::setrlimit(resource, &raw const requested) })
}

/// Enforces a prepared ruleset on this process, permanently.
fn restrict(ruleset: &OwnedFd) -> io::Result<()> {
    #[expect(unsafe_code, reason = "system calls without pointers")]
    // SAFETY: integers only; the descriptor is open because `ruleset` is alive.
    unsafe {
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        let fd = ruleset.as_raw_fd();
        check(libc::syscall(libc::SYS_landlock_restrict_self, fd, 0 as libc::c_uint) as libc::c_int)
    }
}
