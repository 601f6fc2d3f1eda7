//! A picture, a model file, and what is where.
//!
//! `cargo run --release -p segmenta --example two_lines [PICTURE [MODEL]]`; without arguments a photograph of a cat and
//! a network that knows road scenes, which come along.

#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::env::args_os;
use std::error::Error;
use std::path::PathBuf;

use segmenta::{Model, ModelOptions, Picture};

fn main() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let given = |at, file: &str| args_os().nth(at).map_or(here.join(file), PathBuf::from);
    let photograph = given(1, "../../assets/chelsea.jpg");
    let weights = given(2, "../segmenta-cli/assets/demo.safetensors");

    let picture = Picture::open(&photograph)?;
    let model = Model::open(&ModelOptions::new().weights(weights), &mut |_| {})?;

    // These are the two lines.
    let found = model.segment(&picture)?;
    let overlay = found.legend(&found.overlay(&picture));

    for class in found.shares() {
        println!("{:5.1} %  {}", class.share * 100.0, class.name);
    }
    let out = std::env::temp_dir().join("two_lines.overlay.png");
    overlay.save(&out)?;
    println!("{}", out.display());
    Ok(())
}
