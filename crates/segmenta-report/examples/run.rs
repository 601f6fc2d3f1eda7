//! Writes the folder of a run that nobody trained, to look at: `cargo run -p segmenta-report --example run -- FOLDER`.

use std::error::Error;
use std::path::PathBuf;

#[path = "../tests/made_up/mod.rs"]
mod made_up;

fn main() -> Result<(), Box<dyn Error>> {
    let path: PathBuf = std::env::args_os()
        .nth(1)
        .ok_or("name a folder for the run")?
        .into();
    let mut record = made_up::begin(&path)?;
    made_up::train(&mut record, 6, 0..=20, 20)?;
    record.report(&made_up::summary(Vec::new()))?;
    Ok(())
}
