//! The network of the demo, trained on the spot.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rayon::prelude::*;
use segmenta_data::{Classes, Dataset, SCENE_CLASSES, Sample, Scene};
use segmenta_report::{Existing, RunFolder};
use segmenta_train::run::{Config, Draw, Ended, Outcome, Session, Settings};

use super::{MEASURED, SIZE};
use crate::args::Demo;
use crate::message::note;
use crate::train::on_interrupt;

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
    let mut config = Config::parse(segmenta::recipes::DEMO, &args.set, "the demo's recipe")?;
    let samples = paint(LEARNED.chain(MEASURED).collect())?;
    config.data.draw = Draw::First;
    config.data.train_share = LEARNED.count() as f64 / samples.len() as f64;
    let (pictures, epochs) = (LEARNED.count(), config.train.epochs);
    if !quiet {
        note(&format!(
            "{pictures} road scenes painted to learn from, {} others to be measured on; {epochs} epochs",
            MEASURED.count()
        ));
    }
    let classes = Classes::with_palette(SCENE_CLASSES, Scene::palette());
    let dataset = Dataset::from_samples(samples, classes, None);
    let folder = RunFolder::create(run_folder(&args.out), &config.to_toml()?, Existing::Replace)?;
    let stop = Arc::new(AtomicBool::new(false));
    on_interrupt(stop.clone())?;
    let settings = Settings {
        quiet,
        stop,
        ..Settings::default()
    };
    let session = Session::new(config, &dataset, folder.clone(), settings)?;
    let Outcome { ended, report, .. } = session.run()?;
    Ok(Learned {
        model: folder.model(),
        report,
        stopped: ended == Ended::Stopped,
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
