//! What the operating system limits: open files, threads and memory. Where these run short, libraries panic or abort.
//! Here that becomes a message that says what is short.

use std::alloc::{GlobalAlloc, Layout, System};
use std::any::Any;
use std::io::Write;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use client::failure::{Failure, Kind, Outcome};

/// Open files and sockets without which no command is started.
const FILES_NEEDED: u64 = 32;
/// Limit of open files that is set if a higher one is permitted.
const FILES_WANTED: u64 = 1024;

/// Raises the limit of open files if it is low and may be raised.
///
/// # Errors
/// If it stays too low.
pub(crate) fn check_open_files() -> Outcome<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(now) = current.filter(|now| *now < FILES_WANTED) else { return Ok(()) };
    let possible = maximum.map_or(FILES_WANTED, |maximum| maximum.min(FILES_WANTED));
    let raised = Rlimit { current: Some(possible), maximum };
    let now = if possible > now && setrlimit(Resource::Nofile, raised).is_ok() { possible } else { now };
    if now >= FILES_NEEDED {
        return Ok(());
    }
    let message = format!("this process may open only {now} files and sockets, and needs {FILES_NEEDED}");
    Err(Failure::msg(Kind::Failed, message).hint(format!("raise the limit: `ulimit -n {FILES_WANTED}`")))
}

/// The system's allocator. Without memory it ends the process with a message and exit code 1, where the standard library
/// aborts. As after a crash, finished work is on disk and a worker's job is taken over.
pub(crate) struct Allocator;

#[expect(unsafe_code, reason = "passes every call on to the system's allocator")]
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        not_null(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        not_null(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, n_bytes: usize) -> *mut u8 {
        not_null(unsafe { System.realloc(memory, layout, n_bytes) }, n_bytes)
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { System.dealloc(memory, layout) }
    }
}

fn not_null(memory: *mut u8, n_bytes: usize) -> *mut u8 {
    if memory.is_null() {
        out_of_memory(n_bytes);
    }
    memory
}

/// Ends the process at once. Allocates nothing and waits for no lock, which another thread without memory may hold.
#[cold]
#[expect(unsafe_code, reason = "writes a buffer of this function to standard error, and ends the process")]
fn out_of_memory(n_bytes: usize) -> ! {
    let mut buffer = [0; 256];
    let mut message = &mut buffer[..];
    let _ = write!(
        message,
        "error: out of memory: {n_bytes} more bytes are not available\n  hint: close other programs, raise \
         the limit of `ulimit -v`, or use a machine with more memory\n"
    );
    let n_unused = message.len();
    let text = &buffer[..buffer.len() - n_unused];
    unsafe {
        libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len());
        libc::_exit(1)
    }
}

/// The failure for a panic of a library that could not get a thread, a file or memory from the operating system. `None`
/// for all other panics, which are errors in the program.
pub(crate) fn shortage(panic: &(dyn Any + Send)) -> Option<Failure> {
    let text =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied())?;
    let (what, hint) = SHORTAGES.iter().find(|(error, ..)| text.contains(error)).map(|(_, w, h)| (w, h))?;
    Some(
        Failure::msg(Kind::Failed, format!("the operating system provides no more {what} ({text})"))
            .hint(*hint),
    )
}

/// Texts of `EMFILE`, `ENFILE`, `EAGAIN` and `ENOMEM`, what is short then, and what to do.
const SHORTAGES: [(&str, &str, &str); 4] = [
    ("Too many open files in system", "files", "close other programs"),
    ("Too many open files", "files", "raise the limit: `ulimit -n 1024`"),
    (
        "Resource temporarily unavailable",
        "threads",
        "close other programs, or raise the limit of `ulimit -u`",
    ),
    ("Cannot allocate memory", "memory", "close other programs, or raise the limit of `ulimit -v`"),
];

/// Suppresses the report of panics that [`shortage`] explains.
pub(crate) fn set_panic_hook() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let is_shortage =
            panic.payload_as_str().is_some_and(|text| SHORTAGES.iter().any(|s| text.contains(s.0)));
        if !is_shortage {
            report(panic);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_for_lack_of_threads_is_not_an_internal_error() {
        let panic: Box<dyn Any + Send> = Box::new(
            "OS can't spawn worker thread: Resource temporarily unavailable (os error 11)".to_owned(),
        );
        let failure = shortage(&*panic).unwrap();
        assert!(failure.to_string().contains("no more threads"), "{failure}");
        let panic: Box<dyn Any + Send> = Box::new("index out of bounds");
        assert!(shortage(&*panic).is_none());
    }
}
