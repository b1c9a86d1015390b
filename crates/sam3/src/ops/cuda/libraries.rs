//! Loads the CUDA libraries when a GPU is requested. On a machine without them, that is an error that names what is
//! missing, and everything else works.

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

use libloading::Library as Loaded;

use super::symbols::{LIBRARIES, Library};

/// Number of stubs: the functions of all [`LIBRARIES`].
const N_STUBS: usize = {
    let (mut n, mut i) = (0, 0);
    while i < LIBRARIES.len() {
        n += LIBRARIES[i].functions.len();
        i += 1;
    }
    n
};

#[expect(unsafe_code, reason = "the table through which the stubs of build.rs call the libraries")]
unsafe extern "C" {
    static mut courtside_cuda_functions: [*mut c_void; N_STUBS];
}

/// Loads the libraries, once per process.
///
/// # Errors
/// A message that names what is missing and how to install it.
pub(super) fn load() -> Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    LOADED.get_or_init(load_all).clone()
}

fn load_all() -> Result<(), String> {
    let mut stub = 0;
    let mut found = Vec::with_capacity(N_STUBS);
    for library in &LIBRARIES {
        let loaded = open(library)?;
        for name in library.functions {
            found.push((stub, function(&loaded, library, name)?));
            stub += 1;
        }
        // The library must stay loaded for the lifetime of the process.
        std::mem::forget(loaded);
    }
    for (stub, function) in found {
        #[expect(unsafe_code, reason = "nothing calls a stub before this has returned")]
        unsafe {
            courtside_cuda_functions[stub] = function;
        }
    }
    Ok(())
}

fn open(library: &Library) -> Result<Loaded, String> {
    let mut why = String::new();
    for file in library.files {
        #[expect(
            unsafe_code,
            reason = "a library's own initialisation runs, as if the program were linked with it"
        )]
        match unsafe { Loaded::new(*file) } {
            Ok(loaded) => return Ok(loaded),
            Err(e) => why = std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string),
        }
    }
    let (files, what) = (library.files.join(" nor "), library.what);
    Err(format!("the loader finds no {files} ({why}): install {what}, and add its folder to LD_LIBRARY_PATH"))
}

fn function(loaded: &Loaded, library: &Library, name: &str) -> Result<*mut c_void, String> {
    #[expect(unsafe_code, reason = "the address is called only through the declaration of that name")]
    let symbol = unsafe { loaded.get::<unsafe extern "C" fn() -> c_int>(name.as_bytes()) };
    let symbol =
        symbol.map_err(|_| format!("{} has no {name}: install {}", library.files[0], library.what))?;
    Ok(*symbol as *mut c_void)
}
