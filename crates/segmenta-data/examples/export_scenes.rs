//! Writes generated scenes as files: `DIR/pictures/SEED.png` and palette masks `DIR/masks/SEED.png`.
//!
//! `cargo run --release -p segmenta-data --example export_scenes -- DIR --count 100 --seed 0 --size 320x240`

use std::error::Error;
use std::path::Path;

use segmenta_data::Scene;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let directory = Path::new(
        arguments
            .first()
            .ok_or("usage: DIR [--count N] [--seed S] [--size WxH]")?,
    );
    let option = |name: &str, default: &str| {
        let at = arguments.iter().position(|a| a == name);
        at.and_then(|i| arguments.get(i + 1))
            .map_or(default, String::as_str)
            .to_owned()
    };
    let (count, first): (u64, u64) = (
        option("--count", "10").parse()?,
        option("--seed", "0").parse()?,
    );
    let size = option("--size", "320x240");
    let (width, height) = size.split_once('x').ok_or("a size is written 320x240")?;
    let (width, height) = (width.parse()?, height.parse()?);

    let (pictures, masks) = (directory.join("pictures"), directory.join("masks"));
    std::fs::create_dir_all(&pictures)?;
    std::fs::create_dir_all(&masks)?;
    let palette = Scene::palette();
    for seed in first..first + count {
        let scene = Scene::generate(seed, width, height)?;
        scene
            .picture
            .save(pictures.join(format!("{seed:06}.png")))?;
        scene
            .labels
            .save(masks.join(format!("{seed:06}.png")), &palette)?;
    }
    Ok(())
}
