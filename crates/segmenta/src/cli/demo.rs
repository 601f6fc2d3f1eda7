//! `segmenta demo`: the whole job without data and without network.

use std::fmt::Write;
use std::path::Path;
use std::time::Instant;

use segmenta::{Model, ModelOptions, Picture, Segmentation};
use segmenta_data::Scene;
use segmenta_image::{LabelMap, LegendEntry, legend, make_grid};

use super::args::Demo;
use super::message::{FAINT, STRONG, note, result, shown};
use super::model;
use super::predict::prepare_folder;
use super::progress::Progress;
use super::table::Table;

/// A small network that was trained on other scenes of the same kind.
const WEIGHTS: &[u8] = include_bytes!("../../../../assets/demo.safetensors");
/// The scenes shown. Those that the network learned from have seeds from 100000 on.
const SEEDS: std::ops::Range<u64> = 0..8;
/// The size of the pictures that the network learned from.
const SIZE: (usize, usize) = (320, 240);
const ALPHA: f64 = 0.6;

pub(crate) fn run(args: &Demo, quiet: bool) -> anyhow::Result<()> {
    prepare_folder(&args.out)?;
    let options = ModelOptions {
        isa: model::isa()?,
        ..ModelOptions::default()
    };
    let model = Model::from_bytes(WEIGHTS, "the demonstration network", &options)?;
    let names = model.description().class_names();
    let mut counts = Confusion::new(names.len());
    let mut sheet = Vec::new();
    let mut progress = Progress::new(SEEDS.count(), "pictures", quiet);
    let mut network_ms = 0.0;
    let start = Instant::now();
    for seed in SEEDS {
        let scene = Scene::generate(seed, SIZE.0, SIZE.1)?;
        let segmentation = model.segment(&scene.picture)?;
        let stages = segmentation.stages();
        network_ms += stages.prepare_ms + stages.network_ms + stages.labels_ms;
        counts.add(&scene.labels, segmentation.labels());
        let [truth, overlay] = write(&args.out, seed, &scene, &segmentation)?;
        sheet.extend([scene.picture, truth, overlay]);
        progress.advance();
    }
    progress.clear();
    make_grid(&sheet, 3, 4)?.save(args.out.join("comparison.png"))?;
    if quiet {
        return Ok(());
    }
    let n = SEEDS.count();
    note(&format!(
        "{n} pictures painted, segmented and written in {:.1} s",
        start.elapsed().as_secs_f64()
    ));
    result(&summary(&counts, &names, network_ms / n as f64, &args.out))
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
    legend(&overlay, &entries.collect::<Vec<_>>()).save(place("overlay"))?;
    Ok([truth, overlay])
}

fn summary(counts: &Confusion, names: &[&str], ms: f64, out: &Path) -> String {
    let mut table = Table::new(&["class", ">IoU"]);
    let ious: Vec<Option<f64>> = (0..names.len()).map(|class| counts.iou(class)).collect();
    for (name, iou) in names.iter().zip(&ious) {
        let iou = iou.map_or_else(|| "–".into(), |iou| format!("{:.1} %", iou * 100.0));
        table.row([(*name).into(), iou]);
    }
    let seen: Vec<f64> = ious.into_iter().flatten().collect();
    let miou = seen.iter().sum::<f64>() / seen.len() as f64;
    let mut text = String::new();
    let _ = write!(
        text,
        "{}\n{STRONG}mIoU {:.1} %{STRONG:#}, {:.1} % of pixels right · {ms:.1} ms a picture\n\n\
         Look at  {}  (picture, truth, prediction)\n\n\
         {FAINT}The scenes are painted by a program, and the network ({} KiB, part of this binary) has not \
         seen these.{FAINT:#}\n\
         Now a photograph of yours:\n  \
         segmenta models\n  \
         segmenta predict PHOTO --model deeplabv3_mobilenet_v3_large --legend\n",
        table.render(),
        miou * 100.0,
        counts.accuracy() * 100.0,
        shown(&out.join("comparison.png")),
        WEIGHTS.len() / 1024,
    );
    text
}

/// How many pixels of each class were taken for which: `[truth][prediction]`.
struct Confusion {
    classes: usize,
    pixels: Vec<u64>,
}

impl Confusion {
    fn new(classes: usize) -> Self {
        let pixels = vec![0; classes * classes];
        Self { classes, pixels }
    }

    fn add(&mut self, truth: &LabelMap, prediction: &LabelMap) {
        for (&truth, &prediction) in truth.ids().iter().zip(prediction.ids()) {
            let at = usize::from(truth) * self.classes + usize::from(prediction);
            if let Some(count) = self.pixels.get_mut(at) {
                *count += 1;
            }
        }
    }

    /// Intersection over union, where the class is or was thought to be.
    fn iou(&self, class: usize) -> Option<f64> {
        let right = self.pixels[class * self.classes + class];
        let truth: u64 = self.pixels[class * self.classes..][..self.classes]
            .iter()
            .sum();
        let said: u64 = self.pixels.iter().skip(class).step_by(self.classes).sum();
        let union = truth + said - right;
        (union > 0).then(|| right as f64 / union as f64)
    }

    fn accuracy(&self) -> f64 {
        let right: u64 = self.pixels.iter().step_by(self.classes + 1).sum();
        right as f64 / self.pixels.iter().sum::<u64>() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intersection_over_union_of_a_small_map() {
        let map = |ids: [u8; 6]| LabelMap::new(3, 2, ids.to_vec()).unwrap();
        let mut counts = Confusion::new(3);
        counts.add(&map([0, 0, 0, 1, 1, 1]), &map([0, 0, 1, 1, 1, 0]));
        assert_eq!(counts.iou(0), Some(0.5));
        assert_eq!(counts.iou(2), None);
        assert_eq!(counts.accuracy(), 4.0 / 6.0);
    }
}
