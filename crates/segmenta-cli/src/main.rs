//! The binary: the command line of [`segmenta_cli`] in a process of its own.

use std::process::ExitCode;

/// Pictures, logits and label maps are large and short-lived: the system's allocator gives their
/// pages back and faults them in again, this one keeps them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(segmenta_cli::run(std::env::args_os().collect()))
}
