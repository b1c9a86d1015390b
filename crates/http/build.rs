//! Compiles the crate again when the files of the page have changed.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../../ui/dist");
}
