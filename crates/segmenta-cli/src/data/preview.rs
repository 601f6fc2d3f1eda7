//! `segmenta data preview`: what the network will see.

use std::path::Path;

use segmenta::recipes;
use segmenta_data::augment::{Augmentation, Draw, Transform};
use segmenta_data::{Classes, Dataset, Sample};
use segmenta_image::{Filter, Picture, VOID, make_grid};
use serde::Deserialize;

use super::super::message::{Usage, count, result, shown};
use super::super::random::Random;
use super::args::Preview;
use super::{open, with_progress};

/// The longer side of a cell, in pixels.
const CELL: usize = 240;
const GAP: usize = 4;
const ALPHA: f64 = 0.55;
/// What a cell shows where its picture does not reach.
const GROUND: [u8; 3] = [24, 24, 28];

pub(super) fn run(args: &Preview, quiet: bool) -> anyhow::Result<()> {
    let augmentation = args
        .recipe
        .as_deref()
        .map(read)
        .transpose()?
        .unwrap_or_default();
    Picture::check_save(&args.out)?;
    let dataset = open(&args.source, args.split)?;
    let all: Vec<usize> = (0..dataset.len()).collect();
    let mut chosen = Random::new(args.seed).sample(all, args.count);
    chosen.sort_unstable();
    let rows = with_progress(chosen.len(), "pictures", quiet, |advance| {
        let row = |&item: &usize| {
            let cells = row(args, &dataset, &augmentation, item);
            advance();
            cells
        };
        chosen.iter().map(row).collect::<anyhow::Result<Vec<_>>>()
    })?;
    let shown_pictures = count(rows.len(), "picture");
    let cells: Vec<Picture> = rows.into_iter().flatten().collect();
    let size = cells.iter().fold((1, 1), |(w, h), cell| {
        (w.max(cell.width()), h.max(cell.height()))
    });
    let cells: Vec<Picture> = cells.iter().map(|cell| centred(cell, size)).collect();
    make_grid(&cells, 1 + 2 * args.draws, GAP)?.save(&args.out)?;
    if quiet {
        return Ok(());
    }
    let draws = count(args.draws, "draw");
    result(&format!(
        "{}  ({shown_pictures}, {draws} each)",
        shown(&args.out)
    ))
}

/// A picture with its mask as they are, then each draw without and with its mask.
fn row(
    args: &Preview,
    dataset: &Dataset,
    augmentation: &Augmentation,
    item: usize,
) -> anyhow::Result<Vec<Picture>> {
    let sample = dataset.sample(item)?;
    let mut cells = vec![fitted(&overlay(&sample, dataset.classes())?)];
    for draw in 0..args.draws {
        let draw = Draw {
            seed: args.seed,
            epoch: args.epoch + draw as u64,
            item,
        };
        let drawn = augmentation.apply(sample.clone(), draw);
        cells.push(fitted(drawn.picture()));
        cells.push(fitted(&overlay(&drawn, dataset.classes())?));
    }
    Ok(cells)
}

fn overlay(sample: &Sample, classes: &Classes) -> anyhow::Result<Picture> {
    let mut labels = sample.labels().clone();
    // The background is what is not drawn.
    if classes
        .names()
        .first()
        .is_some_and(|name| name == "background")
    {
        labels
            .ids_mut()
            .iter_mut()
            .filter(|id| **id == 0)
            .for_each(|id| *id = VOID);
    }
    Ok(labels.overlay(sample.picture(), classes.palette(), ALPHA)?)
}

/// The picture at the size of a cell, proportions kept.
fn fitted(picture: &Picture) -> Picture {
    let (width, height) = picture.size();
    let side = |side: usize| (side * CELL).div_ceil(width.max(height)).max(1);
    picture.resize(side(width), side(height), Filter::Bilinear)
}

fn centred(picture: &Picture, (width, height): (usize, usize)) -> Picture {
    if picture.size() == (width, height) {
        return picture.clone();
    }
    let mut cell = Picture::filled(width, height, GROUND);
    let (left, top) = (
        (width - picture.width()) / 2,
        (height - picture.height()) / 2,
    );
    let rows = cell.pixels_mut().chunks_exact_mut(width * 3).skip(top);
    for (to, from) in rows.zip(picture.rows()) {
        to[left * 3..][..from.len()].copy_from_slice(from);
    }
    cell
}

/// What of a recipe is looked at here.
#[derive(Deserialize)]
struct Recipe {
    augment: Option<Augmentation>,
    data: Option<Part>,
    train: Option<Part>,
    #[serde(default)]
    input: Input,
}

/// The size that pictures are given before all else.
#[derive(Default, Deserialize)]
struct Input {
    size: Option<[usize; 2]>,
}

#[derive(Deserialize)]
struct Part {
    augment: Option<Augmentation>,
}

fn read(path: &Path) -> anyhow::Result<Augmentation> {
    let wrong = |what: String, remedy: &str| Usage(format!("{what} · {} · {remedy}", shown(path)));
    let built_in = recipes::TRAIN
        .iter()
        .find(|(name, _)| path == Path::new(name));
    let text = match built_in {
        Some((_, text)) if !path.exists() => (*text).to_owned(),
        _ => segmenta_data::text::read(path).map_err(|error| Usage(error.to_string()))?,
    };
    let recipe: Recipe = toml::from_str(&text).map_err(|error| {
        let line = error
            .span()
            .map_or(1, |span| text[..span.start].lines().count().max(1));
        let what = segmenta_files::of_type(&error.message().replace('\n', " "));
        wrong(
            format!("line {line}: {what}"),
            "see: segmenta data preview --help",
        )
    })?;
    let below = [recipe.data, recipe.train].into_iter().flatten();
    let list = recipe
        .augment
        .or(below.into_iter().find_map(|part| part.augment));
    let resize = recipe.input.size.map(|[width, height]| {
        let table = format!("name = \"resize\"\nsize = \"{width}x{height}\"");
        toml::from_str::<Transform>(&table)
    });
    let resize = resize.transpose();
    let resize = resize.map_err(|error| wrong(error.message().into(), "see input.size"))?;
    if list.is_none() && resize.is_none() {
        let remedy = "write augment = [ … ], see --help";
        return Err(wrong("no `augment` list".into(), remedy).into());
    }
    let list = list.unwrap_or_default();
    let all = resize.into_iter().chain(list.transforms().iter().cloned());
    Ok(Augmentation::new(all.collect())?)
}
