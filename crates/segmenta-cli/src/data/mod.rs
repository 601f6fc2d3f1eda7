//! `segmenta data`: a data set looked at, counted, split, previewed, converted.

mod args;
mod check;
mod classes;
mod convert;
mod preview;
mod pull;
mod split;

use std::sync::{Mutex, PoisonError};

use segmenta_data::{DataError, Dataset, Split};

use super::message::Usage;
use super::progress::Progress;
use args::Data;
pub(super) use args::DataArgs;
pub(super) use args::Source;
pub(super) use pull::folder;

pub(super) fn run(args: &DataArgs, quiet: bool) -> anyhow::Result<()> {
    match &args.command {
        Data::Pull(args) => pull::run(args, quiet),
        Data::Check(args) => check::run(args, quiet),
        Data::Classes(args) => classes::run(args, quiet),
        Data::Split(args) => split::run(args, quiet),
        Data::Preview(args) => preview::run(args, quiet),
        Data::Convert(args) => convert::run(&args.from, quiet),
    }
}

/// The data set, or one split of it.
pub(super) fn open(source: &Source, split: Option<Split>) -> anyhow::Result<Dataset> {
    let dataset = source.open()?.open(&folder(&source.folder)?)?;
    let Some(split) = split else {
        return Ok(dataset);
    };
    if !dataset.has(split) {
        let folder = super::message::shown(&source.folder);
        let what = format!(
            "no picture in the split {split} · {folder} · make splits: segmenta data split"
        );
        return Err(Usage(what).into());
    }
    Ok(dataset.only(split))
}

/// Does what calls back after each thing, from whatever thread, and shows how far it is.
pub(super) fn with_progress<T>(
    total: usize,
    things: &'static str,
    quiet: bool,
    work: impl FnOnce(&(dyn Fn() + Sync)) -> T,
) -> T {
    let progress = Mutex::new(Progress::new(total, things, quiet));
    let done = work(&|| {
        progress
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .advance();
    });
    progress
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .clear();
    done
}

/// Whether an error of data is a mistake in the command.
pub(super) fn is_usage(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(DataError::Setting { .. }))
}
