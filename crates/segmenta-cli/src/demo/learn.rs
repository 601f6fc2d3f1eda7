//! The network of the demo, trained on the spot.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use segmenta::Cancel;
use segmenta::train::{Ended, Event, Recipe, Run};
use segmenta_data::{Classes, Dataset, SCENE_CLASSES, Sample, Scene};

use super::{MEASURED, SIZE};
use crate::args::Demo;
use crate::message::{count, note};
use crate::train::{Told, on_interrupt, with_flags};

/// Seeds of the scenes that are learned from; those shown and measured on are others.
const LEARNED: std::ops::Range<u64> = 100_000..100_300;

/// What came of it.
pub(super) struct Learned {
    pub(super) model: PathBuf,
    pub(super) report: PathBuf,
    /// Whether it was stopped before its end.
    pub(super) stopped: bool,
}

/// Paints scenes and trains a network on them in a folder of its own.
pub(super) fn learn(args: &Demo, quiet: bool) -> anyhow::Result<Learned> {
    let samples = paint(LEARNED.chain(MEASURED).collect())?;
    let share = LEARNED.count() as f64 / samples.len() as f64;
    let classes = Classes::with_palette(SCENE_CLASSES, Scene::palette());
    let dataset = Dataset::from_samples(samples, classes, None);
    let cancel = Cancel::new();
    on_interrupt(cancel.clone())?;
    let recipe = Recipe::from_text(segmenta::recipes::DEMO, "the demo's recipe");
    let run = Run::new(recipe, dataset, run_folder(&args.out))
        .replace(true)
        .settings(args.set.clone())
        .set("data.draw", "first")
        .set("data.train_share", share)
        .cancel(&cancel);
    let mut told = Told::new(quiet);
    let outcome = run.run(|event| {
        if let Event::Started { epochs, pictures, .. } = event
            && !quiet
        {
            let [learned, measured] = pictures;
            note(&format!(
                "{learned} road scenes painted to learn from, {measured} others to be measured on; {}",
                count(epochs, "epoch")
            ));
        }
        told.hear(event)
    });
    drop(told);
    let outcome = outcome.map_err(with_flags)?;
    Ok(Learned {
        model: outcome.model,
        report: outcome.report,
        stopped: outcome.ended == Ended::Stopped,
    })
}

fn run_folder(out: &Path) -> PathBuf {
    out.join("run")
}

fn paint(seeds: Vec<u64>) -> anyhow::Result<Vec<(String, Sample)>> {
    let sample = |seed: u64| {
        let Scene { picture, labels } = Scene::generate(seed, SIZE.0, SIZE.1)?;
        Ok((format!("scene {seed}"), Sample::new(picture, labels)?))
    };
    seeds.into_par_iter().map(sample).collect()
}
