//! The `segmenta` command.
fn main() {}
