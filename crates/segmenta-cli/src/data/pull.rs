//! `segmenta data pull`: published data sets by name.

use std::path::{Path, PathBuf};

use segmenta::PublishedData;

use super::super::message::{Usage, note, result};
use super::super::progress::Download;
use super::super::table::Table;
use super::args::PullData;

/// Sets that cannot be had without an account, by words that people know them by, and where they are.
const KAGGLE: [(&str, &str); 3] = [
    (
        "person",
        "kaggle.com/datasets/tapakah68/supervisely-filtered-segmentation-person-dataset",
    ),
    ("dogs", "kaggle.com/datasets/chetankv/dogs-cats-images"),
    ("nuclei", "kaggle.com/c/data-science-bowl-2018"),
];

pub(super) fn run(args: &PullData, quiet: bool) -> anyhow::Result<()> {
    let Some(name) = &args.name else {
        let mut table = Table::new(&["name", ">MiB", "what", "licence"]);
        for data in PublishedData::all() {
            let about = [data.name.into(), data.mebibytes().to_string()];
            table.row(
                about
                    .into_iter()
                    .chain([data.about.into(), data.licence.into()]),
            );
        }
        return result(&table.render());
    };
    let data = find(name)?;
    if data.cached()?.is_none() && !quiet {
        let licence = data.licence;
        note(&format!(
            "{} · {} MiB · licence: {licence}",
            data.about,
            data.mebibytes()
        ));
    }
    let mut download = Download::new(quiet);
    let folder = data.pull(&mut |step| download.step(step))?;
    drop(download);
    result(&folder.to_string_lossy())
}

fn find(name: &str) -> Result<&'static PublishedData, Usage> {
    PublishedData::find(name).ok_or_else(|| {
        let word = name.to_lowercase();
        if let Some((_, place)) = KAGGLE.iter().find(|(known, _)| word.contains(known)) {
            return Usage(format!(
                "that set needs an account of Kaggle · {place} · `kaggle datasets download` brings it; then name its \
                 folder: --data DIR"
            ));
        }
        let known: Vec<&str> = PublishedData::all().iter().map(|data| data.name).collect();
        Usage(format!("no data set is called `{name}` · there are {}", known.join(", ")))
    })
}

/// The folder that a word stands for: itself, or where a published data set of that name lies.
///
/// # Errors
/// The name of one that is not there yet.
pub(crate) fn folder(word: &Path) -> anyhow::Result<PathBuf> {
    if word.exists() {
        return Ok(word.into());
    }
    let data = word.to_str().and_then(PublishedData::find);
    let Some(data) = data else {
        return Ok(word.into());
    };
    data.cached()?.ok_or_else(|| {
        Usage(format!(
            "{} is not here yet · {} MiB · segmenta data pull {} brings it",
            data.name,
            data.mebibytes(),
            data.name
        ))
        .into()
    })
}
