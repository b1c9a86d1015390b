//! Loads the CUDA libraries when a GPU is requested. On a machine without them, that is an error that names what is
//! missing, and everything else works.
//!
//! cuBLAS is looked for where the loader looks, and in the Python environment that the program is installed in, where the
//! packages of PyPI put it. The driver decides which major versions it can be.

use std::ffi::{c_int, c_void};
use std::path::{Path, PathBuf};
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

/// The first driver version, in the format of `cuDriverGetVersion`, that runs cuBLAS 13.
const CUBLAS_13_DRIVER: c_int = 13_000;

/// Loads the libraries, once per process. Returns the version of cuBLAS, if it has one: `(12, 4)`.
///
/// # Errors
/// A message that names what is missing and how to install it.
pub(super) fn load() -> Result<Option<(c_int, c_int)>, String> {
    static LOADED: OnceLock<Result<Option<(c_int, c_int)>, String>> = OnceLock::new();
    LOADED.get_or_init(load_all).clone()
}

fn load_all() -> Result<Option<(c_int, c_int)>, String> {
    let [driver, cublas] = &LIBRARIES;
    let loaded_driver = open(driver, driver.files)?;
    let loaded_cublas = open(cublas, cublas_files(cublas, driver_version(&loaded_driver)))?;
    let version = cublas_version(&loaded_cublas);
    let mut found = Vec::with_capacity(N_STUBS);
    for (library, loaded) in [(driver, &loaded_driver), (cublas, &loaded_cublas)] {
        for name in library.functions {
            found.push(function(loaded, library, name)?);
        }
    }
    // The libraries must stay loaded for the lifetime of the process.
    std::mem::forget([loaded_driver, loaded_cublas]);
    for (stub, function) in found.into_iter().enumerate() {
        #[expect(unsafe_code, reason = "nothing calls a stub before this has returned")]
        unsafe {
            courtside_cuda_functions[stub] = function;
        }
    }
    Ok(version)
}

/// The files of cuBLAS that the driver can run.
fn cublas_files(cublas: &Library, driver_version: c_int) -> &'static [&'static str] {
    match driver_version < CUBLAS_13_DRIVER {
        true => &cublas.files[1..],
        false => cublas.files,
    }
}

/// Opens the first of the files that the loader finds, or that the Python environment of this program has.
fn open(library: &Library, files: &[&str]) -> Result<Loaded, String> {
    let mut why = String::new();
    for file in files {
        match open_file(Path::new(file)) {
            Ok(loaded) => return Ok(loaded),
            Err(error) => why = error,
        }
    }
    for folder in python_folders() {
        for file in files.iter().map(|file| folder.join(file)).filter(|file| file.is_file()) {
            // A library that it needs, from the same folder.
            let needed = file.to_string_lossy().replace("libcublas.", "libcublasLt.");
            let loaded = open_file(Path::new(&needed)).and_then(|needed| Ok((needed, open_file(&file)?)));
            match loaded {
                Ok((needed, loaded)) => {
                    std::mem::forget(needed);
                    return Ok(loaded);
                }
                Err(error) => why = error,
            }
        }
    }
    let (files, what) = (files.join(" nor "), library.what);
    Err(format!("the loader finds no {files} ({why}): install {what}, and add its folder to LD_LIBRARY_PATH"))
}

fn open_file(file: &Path) -> Result<Loaded, String> {
    #[expect(
        unsafe_code,
        reason = "a library's own initialisation runs, as if the program were linked with it"
    )]
    let loaded = unsafe { Loaded::new(file) };
    loaded.map_err(|e| std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string))
}

/// Folders of CUDA libraries in the Python environment that has this program in its `bin`.
fn python_folders() -> Vec<PathBuf> {
    let Ok(program) = std::env::current_exe() else { return Vec::new() };
    let Some(lib) = program.parent().and_then(Path::parent).map(|prefix| prefix.join("lib")) else {
        return Vec::new();
    };
    let versions = std::fs::read_dir(lib).into_iter().flatten().flatten().map(|entry| entry.path());
    let versions =
        versions.filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("python3")));
    let packages =
        versions.flat_map(|python| ["site-packages", "dist-packages"].map(|name| python.join(name)));
    packages
        .flat_map(|packages| ["nvidia/cu13/lib", "nvidia/cublas/lib"].map(|name| packages.join(name)))
        .collect()
}

/// The CUDA version that the driver supports, in the format of `cuDriverGetVersion`; 0 if it does not say.
fn driver_version(driver: &Loaded) -> c_int {
    let mut version = 0;
    #[expect(unsafe_code, reason = "writes one integer; works before cuInit")]
    let status = unsafe {
        match driver.get::<unsafe extern "C" fn(*mut c_int) -> c_int>(b"cuDriverGetVersion") {
            Ok(function) => function(&raw mut version),
            Err(_) => return 0,
        }
    };
    if status == 0 { version } else { 0 }
}

/// Major and minor version of cuBLAS; `None` if it does not say.
fn cublas_version(cublas: &Loaded) -> Option<(c_int, c_int)> {
    #[expect(unsafe_code, reason = "the type of the function; it is called below")]
    let property =
        unsafe { cublas.get::<unsafe extern "C" fn(c_int, *mut c_int) -> c_int>(b"cublasGetProperty") };
    let property = property.ok()?;
    let number = |kind| {
        let mut value = 0;
        #[expect(unsafe_code, reason = "writes one integer")]
        let status = unsafe { property(kind, &raw mut value) };
        (status == 0).then_some(value)
    };
    Some((number(0)?, number(1)?))
}

fn function(loaded: &Loaded, library: &Library, name: &str) -> Result<*mut c_void, String> {
    #[expect(unsafe_code, reason = "the address is called only through the declaration of that name")]
    let symbol = unsafe { loaded.get::<unsafe extern "C" fn() -> c_int>(name.as_bytes()) };
    let symbol =
        symbol.map_err(|_| format!("{} has no {name}: install {}", library.files[0], library.what))?;
    Ok(*symbol as *mut c_void)
}
