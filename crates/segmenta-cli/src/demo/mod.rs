//! `segmenta demo`: the whole job without data and without network: a network is trained on painted scenes, then
//! says what is in others.

#[cfg(feature = "train")]
mod learn;

use std::fmt::Write;
use std::path::Path;
use std::time::Instant;

use segmenta::{Model, ModelOptions, Picture, Segmentation, prepare_folder};
use segmenta_data::Scene;
use segmenta_image::{LegendEntry, legend, make_grid, mark_result, write_atomic};
use segmenta_metrics::{Confusion, Metric};

use super::args::Demo;
#[cfg(feature = "train")]
use super::message::failure;
use super::message::{FAINT, STRONG, note, result, shown};
use super::model;
use super::progress::Progress;
use super::table::Table;

/// A small network that was trained on other scenes of the same kind.
const WEIGHTS: &[u8] = include_bytes!("../../assets/demo.safetensors");
/// The scenes shown. Those that the network learned from have seeds from 100000 on.
const SHOWN: std::ops::Range<u64> = 0..8;
/// More of them, that a network trained on the spot is measured on.
const MEASURED: std::ops::Range<u64> = 1000..1032;
/// The size of the pictures that the network learned from.
const SIZE: (usize, usize) = (320, 240);
const ALPHA: f64 = 0.6;

pub(crate) fn run(args: &Demo, quiet: bool) -> anyhow::Result<()> {
    prepare_folder(&args.out)?;
    let mut options = ModelOptions::new();
    options.isa = model::isa()?;
    let start = Instant::now();
    let learned = learned(args, quiet)?;
    // A network trained on the spot is measured on scenes enough to tell how good it became.
    let measured = if learned.is_some() { MEASURED } else { 0..0 };
    let model = match learned {
        Some(weights) => Model::open(&options.weights(weights), &mut |_| {})?,
        None => Model::from_bytes(WEIGHTS, "the demonstration network", &options)?,
    };
    let names = model.description().class_names();
    let mut counts = Confusion::new(names.len(), None)?;
    let mut sheet = Vec::new();
    let seeds = SHOWN.chain(measured);
    let scenes = seeds.clone().count();
    let mut progress = Progress::new(scenes, "pictures", quiet);
    let mut network_ms = 0.0;
    for seed in seeds {
        let scene = Scene::generate(seed, SIZE.0, SIZE.1)?;
        let segmentation = model.segment(&scene.picture)?;
        let stages = segmentation.stages();
        network_ms += stages.prepare_ms + stages.network_ms + stages.labels_ms;
        counts.add(scene.labels.ids(), segmentation.labels().ids())?;
        if SHOWN.contains(&seed) {
            let [truth, overlay] = write(&args.out, seed, &scene, &segmentation)?;
            sheet.extend([scene.picture, truth, overlay]);
        }
        progress.advance();
    }
    progress.clear();
    save_result(&make_grid(&sheet, 3, 4)?, &args.out.join("comparison.png"))?;
    if quiet {
        return Ok(());
    }
    note(&format!(
        "{scenes} scenes that it had not seen segmented, after {:.0} s in all",
        start.elapsed().as_secs_f64()
    ));
    let ms = network_ms / scenes as f64;
    result(&summary(&counts, &names, ms, &args.out))
}

/// The weights of a network trained on the spot; none if the one in the binary is wanted.
#[cfg(feature = "train")]
fn learned(args: &Demo, quiet: bool) -> anyhow::Result<Option<std::path::PathBuf>> {
    if args.quick {
        return Ok(None);
    }
    let learned = learn::learn(args, quiet)?;
    if learned.stopped {
        failure("stopped before its end");
        std::process::exit(130);
    }
    note(&format!("the run's report: {}", shown(&learned.report)));
    Ok(Some(learned.model))
}

#[cfg(not(feature = "train"))]
#[expect(clippy::unnecessary_wraps, reason = "as the one that learns")]
fn learned(_: &Demo, _: bool) -> anyhow::Result<Option<std::path::PathBuf>> {
    Ok(None)
}

/// Writes a picture, what is in it, and what the network says; gives the two overlays.
fn write(
    out: &Path,
    seed: u64,
    scene: &Scene,
    found: &Segmentation,
) -> anyhow::Result<[Picture; 2]> {
    let place = |what: &str| out.join(format!("scene-{}.{what}.png", seed + 1));
    let palette = found.palette();
    let truth = scene.labels.overlay(&scene.picture, palette, ALPHA)?;
    let overlay = found.overlay_with(&scene.picture, ALPHA)?;
    let entries = found.shares().into_iter().map(|class| LegendEntry {
        name: class.name,
        color: class.color,
        share: class.share,
    });
    scene.picture.save(place("picture"))?;
    scene.labels.save(place("truth"), palette)?;
    found.save(place("mask"))?;
    let named = legend(&overlay, &entries.collect::<Vec<_>>());
    save_result(&named, &place("overlay"))?;
    Ok([truth, overlay])
}

/// Writes a drawing that says that it is one: the demo's pictures can be segmented, its drawings are no pictures.
fn save_result(drawing: &Picture, path: &Path) -> anyhow::Result<()> {
    Ok(write_atomic(
        path,
        &mark_result(&drawing.to_png(), "overlay"),
    )?)
}

fn summary(counts: &Confusion, names: &[&str], ms: f64, out: &Path) -> String {
    let mut table = Table::new(&["class", ">IoU"]);
    for (name, iou) in names.iter().zip(counts.of_classes(Metric::Iou)) {
        table.row([(*name).into(), percent(iou)]);
    }
    let mut text = String::new();
    let _ = write!(
        text,
        "{}\n{STRONG}mIoU {}{STRONG:#}, {} of pixels right · {ms:.1} ms a picture\n\n\
         Look at  {}  (picture, truth, prediction)\n\n\
         {FAINT}The scenes are painted by a program, and the network has not seen these.{FAINT:#}\n\
         Now a photograph of yours:\n  \
         segmenta models\n  \
         segmenta predict PHOTO --model deeplabv3_mobilenet_v3_large --legend\n",
        table.render(),
        percent(counts.mean_iou().value),
        percent(counts.pixel_accuracy().value),
        shown(&out.join("comparison.png")),
    );
    text
}

fn percent(score: Option<f64>) -> String {
    score.map_or_else(|| "–".into(), |score| format!("{:.1} %", score * 100.0))
}
