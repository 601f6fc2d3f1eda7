//! How likely each class is at each pixel, at a size of one's own, and masks in colours of one's own.
//!
//! `cargo run --release -p segmenta --example probabilities`: on a painted road scene, with the network of the demo.

#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::error::Error;
use std::path::Path;

use segmenta::data::Scene;
use segmenta::{Model, ModelOptions, Palette, Resolution};

fn main() -> Result<(), Box<dyn Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let weights = here.join("../segmenta-cli/assets/demo.safetensors");
    let model = Model::open(&ModelOptions::new().weights(weights), &mut |_| {})?;
    // Colours by id; ids beyond them are void's.
    let classes = model.description().class_names().len();
    let greys: Vec<[u8; 3]> = (0..classes)
        .map(|id| [(id * 255 / classes.max(2)) as u8; 3])
        .collect();
    let model = model.with_palette(Palette::from_colors(&greys));

    let picture = Scene::generate(7, 320, 240)?.picture;
    let scores = model.scores(&picture)?;
    let small = Resolution::Size {
        width: 32,
        height: 24,
    };
    let probabilities = scores.probabilities(small)?;
    let planes = probabilities
        .data
        .chunks_exact(probabilities.shape.pixels());
    for (name, plane) in model.description().class_names().into_iter().zip(planes) {
        let mean = plane.iter().sum::<f32>() / plane.len() as f32;
        let most = plane.iter().copied().fold(0.0, f32::max);
        println!(
            "{name:12} {:5.1} % on average, {:5.1} % at most",
            mean * 100.0,
            most * 100.0
        );
    }

    let found = scores.segmentation()?;
    let out = std::env::temp_dir().join("probabilities.mask.png");
    found.save(&out)?;
    println!("{}", out.display());
    Ok(())
}
