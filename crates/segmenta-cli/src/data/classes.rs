//! `segmenta data classes`: how much of each class there is.

use segmenta_data::check::{Counts, count_classes};
use segmenta_files::noun;
use serde_json::json;

use super::super::message::{FAINT, Reported, Usage, count, failure, result, shown};
use super::super::table::{Table, grouped};
use super::args::ClassesArgs;
use super::{open, with_progress};

pub(super) fn run(args: &ClassesArgs, quiet: bool) -> anyhow::Result<()> {
    let dataset = open(&args.source, args.split)?;
    let counts = with_progress(dataset.len(), "masks", quiet, |advance| {
        count_classes(&dataset, advance)
    });
    for wrong in &counts.wrong {
        failure(&format!("not counted: {wrong}"));
    }
    if counts.masks == 0 {
        let folder = shown(&args.source.folder);
        let what = format!("no mask can be read · {folder} · see why: segmenta data check");
        return Err(Usage(what).into());
    }
    if args.json {
        let value = json!({
            "kind": dataset.kind(), "masks": counts.masks, "ignored_pixels": counts.ignored,
            "rule": dataset.meaning(), "not_counted": counts.wrong,
            "weight_formula": "median frequency / frequency (arXiv:1411.4734)",
            "classes": rows(&counts).map(|(class, share, weight)| json!({
                "id": class.id, "name": class.name, "pixels": class.pixels, "share": share,
                "pictures": class.pictures, "weight": weight,
            })).collect::<Vec<_>>(),
        });
        result(&serde_json::to_string_pretty(&value)?)?;
        return ended(&counts);
    }
    let mut table = Table::new(&[">id", "class", ">pixels", ">share", ">pictures", ">weight"]);
    for (class, share, weight) in rows(&counts) {
        table.row([
            class.id.to_string(),
            class.name.clone(),
            grouped(class.pixels),
            format!("{:.2} %", share * 100.0),
            grouped(class.pictures as u64),
            weight.map_or_else(|| "–".into(), |weight| format!("{weight:.3}")),
        ]);
    }
    let all = counts.pixels() + counts.ignored;
    let ignored = counts.ignored as f64 / all.max(1) as f64 * 100.0;
    result(&format!(
        "{}\n{FAINT}{}, {} {} that count, {} ({ignored:.2} %) that no class counts.\n\
         masks are {}\n\
         weight: by median frequency balancing, the median of all classes' frequencies by its own.{FAINT:#}\n",
        table.render(),
        count(counts.masks, "mask"),
        grouped(counts.pixels()),
        noun(counts.pixels(), "pixel"),
        grouped(counts.ignored),
        dataset.meaning(),
    ))?;
    ended(&counts)
}

/// Counts of some of the masks are no counts of the data set.
fn ended(counts: &Counts) -> anyhow::Result<()> {
    if counts.wrong.is_empty() {
        Ok(())
    } else {
        Err(Reported.into())
    }
}

/// Each class with its share of all pixels that count, and its weight.
fn rows(
    counts: &Counts,
) -> impl Iterator<Item = (&segmenta_data::check::ClassCount, f64, Option<f64>)> {
    let all = counts.pixels().max(1) as f64;
    let classes = counts.classes.iter().zip(counts.weights());
    classes.map(move |(class, weight)| (class, class.pixels as f64 / all, weight))
}
