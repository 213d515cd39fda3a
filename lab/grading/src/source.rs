//! A hash over source files, to prove which ones a program was built from.
//!
//! Kit-owned. Also compiled into the build scripts of `labraft` and `labkv`, so it uses nothing but std.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The hash of all files under `folders`, by their paths from `root` and their contents, in hexadecimal.
///
/// # Errors
///
/// When a folder or a file cannot be read.
pub fn source_hash(root: &Path, folders: &[&str]) -> io::Result<String> {
    let mut files = Vec::new();
    for folder in folders {
        files.extend(files_under(&root.join(folder))?);
    }
    files.sort();
    let mut hash = Fnv::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().replace('\\', "/");
        hash.write(name.as_bytes());
        hash.write(&fs::read(&file)?);
    }
    Ok(hash.to_hex())
}

/// What a build script does: makes the hash of all files under `folders` of the kit known to its crate as the
/// environment variable `variable`, and has cargo run it again when one of them changes.
///
/// # Panics
///
/// When it is not a build script that calls, or the files cannot be read: then nothing can be built.
pub fn note(variable: &str, folders: &[&str]) {
    // Asked when it runs: copies of the kit may share what was compiled for one of them.
    let folder = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where the crate lies");
    let root = Path::new(&folder).parent().expect("the crate lies in the kit");
    let hash = source_hash(root, folders).expect("the crate's own files can be read");
    println!("cargo::rustc-env={variable}={hash}");
    for folder in folders {
        // Seen from the crate, so that a copy of the kit looks at its own files.
        println!("cargo::rerun-if-changed=../{folder}");
    }
}

/// The hash of one file's contents, in hexadecimal.
///
/// # Errors
///
/// When the file cannot be read.
pub fn file_hash(file: &Path) -> io::Result<String> {
    Ok(bytes_hash(&fs::read(file)?))
}

/// The hash of a file with these contents, in hexadecimal.
pub fn bytes_hash(content: &[u8]) -> String {
    let mut hash = Fnv::new();
    hash.write(content);
    hash.to_hex()
}

/// All files in a folder and the folders in it.
///
/// # Errors
///
/// When a folder cannot be read.
pub fn files_under(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_under(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

/// FNV-1a: the same on every machine and in every version of Rust.
struct Fnv(u64);

impl Fnv {
    fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    fn write(&mut self, bytes: &[u8]) {
        // The length goes first, so that what one file ends with is not what the next begins with.
        for byte in (bytes.len() as u64).to_le_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn to_hex(&self) -> String {
        format!("{:016x}", self.0)
    }
}
