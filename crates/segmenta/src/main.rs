//! The `segmenta` command. What it can do is in `cli/args.rs`, which is also its help.

mod cli;

/// Pictures, logits and label maps are large and short-lived: the system's allocator gives their
/// pages back and faults them in again, this one keeps them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::run()
}
