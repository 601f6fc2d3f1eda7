//! A network learns from painted scenes, and tells of each epoch; after the third it is told to stop, and then goes on.
//!
//! `cargo run --release -p segmenta --features train --example train [FOLDER]`

#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::error::Error;
use std::ops::ControlFlow;
use std::path::PathBuf;

use segmenta::train::{Ended, Event, Recipe, Run};
use segmenta::{Model, ModelOptions};
use segmenta_data::{Classes, Dataset, SCENE_CLASSES, Sample, Scene};

const RECIPE: &str = r#"
augment = [{ name = "horizontal_flip", p = 0.5 }]
[model]
encoder = "mobilenet_v2"
encoder_weights = "none"
settings = { encoder_depth = 3, decoder_channels = [32, 16, 16] }
[train]
epochs = 6
batch = 4
previews = 2
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let scratch = std::env::temp_dir().join(format!("segmenta-train-{}", std::process::id()));
    let given = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = given.clone().unwrap_or(scratch);
    let run = Run::new(
        Recipe::from_text(RECIPE, "the example"),
        scenes(24)?,
        &folder,
    );

    // The answer to an event decides whether the run goes on.
    let outcome = run.run(|event| match event {
        Event::Epoch(epoch) => {
            println!("epoch {} · {}", epoch.record.epoch, epoch.summary());
            match epoch.record.epoch {
                3 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
        _ => ControlFlow::Continue(()),
    })?;
    assert_eq!(outcome.ended, Ended::Stopped);

    // Later, or in another process: the same bits as if it had not stopped.
    let outcome = Run::resume(&folder).data(scenes(24)?).run(|event| {
        match event {
            Event::Note(note) => println!("{note}"),
            Event::Epoch(epoch) => println!("epoch {} · {}", epoch.record.epoch, epoch.summary()),
            _ => {}
        }
        ControlFlow::Continue(())
    })?;
    if let Some((score, value, epoch)) = outcome.best {
        println!("best: {score} {value:.4} in epoch {epoch}");
    }

    // What it left is a model like any other.
    let options = ModelOptions::new().weights(&outcome.model);
    let model = Model::open(&options, &mut |_| {})?;
    let Scene { picture, .. } = Scene::generate(1000, 96, 72)?;
    for class in model.segment(&picture)?.shares() {
        println!("{:5.1} % {}", class.share * 100.0, class.name);
    }
    if given.is_none() {
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(())
}

/// Pictures with labels, from anywhere: a program, a database, a camera.
fn scenes(count: u64) -> Result<Dataset, Box<dyn Error>> {
    let sample = |seed| -> Result<_, Box<dyn Error>> {
        let Scene { picture, labels } = Scene::generate(seed, 96, 72)?;
        Ok((format!("scene {seed}"), Sample::new(picture, labels)?))
    };
    let samples: Vec<_> = (0..count).map(sample).collect::<Result<_, _>>()?;
    let classes = Classes::with_palette(SCENE_CLASSES, Scene::palette());
    Ok(Dataset::from_samples(samples, classes, None))
}
