//! Ctrl-C.
//!
//! Kit-owned. An interrupted command ends its test processes and its compilers, saves nothing, says so, and exits with 4.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::build;
use crate::process;
use crate::trouble::Trouble;

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Has Ctrl-C noted from now on, instead of ending this process on the spot.
pub(crate) fn watch() -> Result<(), Trouble> {
    let handler = || {
        REQUESTED.store(true, Ordering::SeqCst);
        process::kill_all();
        build::end();
    };
    ctrlc::set_handler(handler)
        .map_err(|error| Trouble::Kit(format!("Ctrl-C cannot be watched for: {error}")))
}

/// True once the user has pressed Ctrl-C.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}
