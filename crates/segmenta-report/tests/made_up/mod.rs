//! A run that nobody trained: scenes painted by a program, predictions that get better by a formula.

use std::error::Error;
use std::path::Path;

use segmenta_data::{SCENE_CLASSES, SCENE_COLOURS, Scene};
use segmenta_image::{LabelMap, Palette};
use segmenta_metrics::{Confusion, Score};
use segmenta_report::{
    Classes, Epoch, Example, Existing, Facts, Recorded, RunFolder, RunLog, RunRecord, Summary,
};

/// Steps in an epoch.
pub(crate) const STEPS: u64 = 25;

/// What is recorded of the run.
pub(crate) fn recorded() -> Recorded {
    Recorded {
        classes: Classes::new(SCENE_CLASSES, Palette::from_colors(&SCENE_COLOURS)),
        scores: vec!["mIoU".into(), "pixel accuracy".into()],
        best_by: 0,
    }
}

/// A new run's folder and record.
pub(crate) fn begin(path: &Path) -> Result<RunRecord, Box<dyn Error>> {
    let config = "# resolved\nmodel = \"unet\"\nencoder = \"mobilenet_v2\"\n\n[train]\nepochs = 20\nbatch = 8\n\
                  loss = \"cross_entropy\"\n\n[optimiser]\nname = \"adam\"\nlearning_rate = 1e-3\nschedule = \"poly\"\n";
    let folder = RunFolder::create(path, config, Existing::Refuse)?;
    RunLog::open(&folder)?.line("a run that nobody trained")?;
    Ok(RunRecord::create(&folder, recorded())?)
}

/// Tells the record of some of `of` epochs, which measure on so many pictures.
pub(crate) fn train(
    record: &mut RunRecord,
    pictures: u64,
    epochs: std::ops::RangeInclusive<u32>,
    of: u32,
) -> Result<(), Box<dyn Error>> {
    let scenes: Vec<Scene> = (0..pictures)
        .map(|seed| Scene::generate(seed, 320, 240))
        .collect::<Result<_, _>>()?;
    for epoch in epochs {
        let rate =
            |step: u64| 1e-3 * (1.0 - step as f64 / (STEPS as f64 * f64::from(of))).powf(0.9);
        for step in u64::from(epoch.max(1) - 1) * STEPS + 1..=u64::from(epoch) * STEPS {
            let loss = loss(step as f64 / STEPS as f64, step);
            record.step(step, loss, rate(step))?;
        }
        let mut confusion = Confusion::new(SCENE_CLASSES.len(), Some(255))?;
        let mut examples = Vec::new();
        for (i, scene) in scenes.iter().enumerate() {
            let prediction = blurred(&scene.labels, reach(epoch, i as u64));
            confusion.add(scene.labels.ids(), prediction.ids())?;
            examples.push(Example {
                name: format!("scene {i}"),
                picture: scene.picture.clone(),
                truth: scene.labels.clone(),
                prediction,
            });
        }
        let step = u64::from(epoch) * STEPS;
        let noise = |seed| random(u64::from(epoch) * 7 + seed);
        record.epoch(
            Epoch {
                epoch,
                step,
                learning_rate: Some(rate(step)),
                train_loss: (epoch > 0).then(|| loss(f64::from(epoch), 1)),
                validation_loss: Some(loss(f64::from(epoch) * 0.8, 2) + 0.04 + 0.03 * noise(3)),
                scores: vec![confusion.mean_iou().value, confusion.pixel_accuracy().value],
                train_score: (epoch > 0).then(|| confusion.mean_iou().value).flatten(),
                pictures_per_second: (epoch > 0).then(|| 41.0 + 3.0 * noise(5)),
                waiting: (epoch > 0).then(|| 0.004 + 0.01 * noise(6)),
            },
            Some(&confusion),
        )?;
        record.preview(&examples)?;
    }
    Ok(())
}

/// What the report says besides.
pub(crate) fn summary(headlines: Vec<(String, Score)>) -> Summary {
    Summary {
        ended: "Finished: 20 of 20 epochs in 4 min 12 s".into(),
        headlines,
        facts: vec![
            Facts::new(
                "Data",
                [
                    ("training", "200 pictures"),
                    ("validation", "6 pictures"),
                    ("size", "320 × 240"),
                    ("pixels without a class", "0.0 %"),
                ],
            ),
            Facts::environment("CPU", 2),
        ],
    }
}

/// A loss after so many epochs, as they fall.
fn loss(epochs: f64, seed: u64) -> f64 {
    0.21 + 1.9 * (-0.33 * epochs).exp() + 0.05 * random(seed * 13 + epochs as u64)
}

/// How far a pixel of a prediction may be off, in pixels.
fn reach(epoch: u32, seed: u64) -> f64 {
    2.0 + 90.0 * (-0.25 * f64::from(epoch)).exp() * (0.6 + random(u64::from(epoch) * 31 + seed))
}

/// Each block of the map taken from somewhere near.
fn blurred(map: &LabelMap, reach: f64) -> LabelMap {
    let (width, height) = map.size();
    let off = |at: usize, of: usize, seed: u64| {
        let moved = at as f64 + (random(seed) - 0.5) * reach;
        moved.clamp(0.0, of as f64 - 1.0) as usize
    };
    let id = |i: usize| {
        let (x, y) = (i % width, i / width);
        let block = (y / 6 * width + x / 6) as u64;
        map.ids()[off(y, height, block * 2) * width + off(x, width, block * 2 + 1)]
    };
    LabelMap::new(width, height, (0..width * height).map(id).collect())
        .expect("as many ids as before")
}

/// A number from 0 to 1 that looks random (Steele's SplitMix64).
fn random(seed: u64) -> f64 {
    let mut z = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}
