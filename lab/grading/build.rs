//! Puts the catalogue of tests where the crate's source takes it in.
//!
//! Kit-owned. The file lies outside the package, and a path to it in the source would be noted by the compiler as
//! it reads on this machine: a kit that was copied together with what was built from it would go on looking at
//! the file of the other. Cargo takes the path below from the package, wherever that lies.

use std::path::Path;
use std::{env, fs};

/// The catalogue, as seen from the package.
const CATALOG: &str = "../../tests/catalog.toml";

fn main() {
    println!("cargo::rerun-if-changed={CATALOG}");
    let folder = |name| env::var_os(name).expect("cargo says where the crate lies, and where it is built");
    let from = Path::new(&folder("CARGO_MANIFEST_DIR")).join(CATALOG);
    let to = Path::new(&folder("OUT_DIR")).join("catalog.toml");
    let text = fs::read(&from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    fs::write(&to, text).unwrap_or_else(|error| panic!("{}: {error}", to.display()));
}
