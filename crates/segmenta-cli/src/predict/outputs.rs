//! The files about one picture.

use std::fs;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::anyhow;
use segmenta::{Error, Picture, Segmentation};
use segmenta_image::{LegendEntry, cutout, legend, save_probability, write_atomic};

use super::report::readable;
use super::settings::Settings;
use crate::args::What;
use crate::inputs::Input;
use crate::message::{reason, shown};

/// A class with less of a picture than this is not worth a line of its legend.
const LEAST_IN_LEGEND: f64 = 0.0005;

/// Makes the output folder, and finds out now rather than after minutes of work whether it can be
/// written to.
pub(crate) fn prepare_folder(out: &Path) -> anyhow::Result<()> {
    let place = shown(out).to_string();
    if out.exists() && !out.is_dir() {
        anyhow::bail!("the output folder is a file · {place} · name another with -o");
    }
    let probe = out.join(format!(".segmenta-{}.tmp", std::process::id()));
    let try_it = || {
        fs::create_dir_all(out)?;
        fs::write(&probe, "")?;
        fs::remove_file(&probe)
    };
    try_it().map_err(|error| {
        let why = reason(&error);
        anyhow!("cannot write to the output folder: {why} · {place} · name another with -o")
    })
}

/// Writes what the settings ask for; gives the files, relative to `out`.
pub(crate) fn write(
    out: &Path,
    input: &Input,
    picture: &Picture,
    segmentation: &Segmentation,
    settings: &Settings,
) -> Result<Vec<PathBuf>, Error> {
    let mut written = Vec::new();
    let mut place = |suffix: &str| {
        let name = input.output(suffix);
        let path = out.join(&name);
        written.push(name);
        path
    };
    // A sub-folder that cannot be made shows itself in the first file that cannot be written.
    if let Some(folder) = input.name.parent() {
        let _ = fs::create_dir_all(out.join(folder));
    }
    let mask = settings.writes(What::Mask).then(|| place("mask.png"));
    let overlay = settings.writes(What::Overlay).then(|| place("overlay.png"));
    // Most of a small file's time is the wait for the disk, in which the overlay is drawn.
    thread::scope(|scope| {
        let mask = scope.spawn(|| mask.map_or(Ok(()), |path| segmentation.save(path)));
        let overlay = overlay.map_or(Ok(()), |path| {
            save_overlay(&path, picture, segmentation, settings)
        });
        let mask = mask.join().unwrap_or_else(|panic| resume_unwind(panic));
        mask.and(overlay)
    })?;
    if let Some(scores) = segmentation.probability() {
        save_probability(
            place("probability.png"),
            picture.width(),
            picture.height(),
            scores,
        )?;
    }
    if settings.writes(What::Cutout) {
        let bytes = cutout(picture, segmentation.labels(), &|_| true)?;
        write_atomic(place("cutout.png"), &bytes)?;
    }
    Ok(written)
}

fn save_overlay(
    path: &Path,
    picture: &Picture,
    segmentation: &Segmentation,
    settings: &Settings,
) -> Result<(), Error> {
    let overlay = segmentation.overlay_with(picture, settings.alpha)?;
    let overlay = if settings.legend {
        legend(&overlay, &entries(segmentation))
    } else {
        overlay
    };
    Ok(overlay.save(path)?)
}

fn entries(segmentation: &Segmentation) -> Vec<LegendEntry> {
    let shares = segmentation.shares().into_iter();
    let seen = shares.filter(|class| class.share >= LEAST_IN_LEGEND);
    seen.map(|class| LegendEntry {
        name: readable(&class.name).into(),
        color: class.color,
        share: class.share,
    })
    .collect()
}
