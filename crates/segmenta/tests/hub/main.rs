//! Folders as transformers and segmentation_models_pytorch write them: networks, names, real photographs.

#![expect(clippy::print_stdout, reason = "a skipped test says so")]

#[path = "../../../../conformance/formula.rs"]
#[expect(dead_code, reason = "inputs have names of their own")]
mod formula;

mod folders;
mod networks;
mod real;

use std::path::{Path, PathBuf};

/// A folder beside the project; the test that needs it is skipped where it is not.
fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared")
        .join(path);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is not there", path.display());
    None
}
