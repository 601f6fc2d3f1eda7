//! `segmenta view`: a data set, or what `predict` wrote, in a browser.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;
use segmenta_data::{Classes, Dataset};
use segmenta_image::Palette;
use segmenta_serve::{ServeOptions, Server, Viewed};
use serde::Deserialize;
use tracing_subscriber::filter::LevelFilter;

use super::data::{Source, folder, open};
use super::message::{Usage, note, reason, result, shown};

/// What `predict` leaves in its folder.
const PREDICTIONS: &str = "predictions.json";

/// A data set in a browser: pictures with their masks, problems marked
///
/// Every layout that `data check` takes, and the folder of a `predict`. The check runs beside it; what it finds is marked, and
/// pictures can be chosen by problem, class, split and name. Only this machine can ask, and only for pictures of the data
/// set; nothing is changed. Ctrl-C ends it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  segmenta view VOCdevkit
  segmenta view nuclei --classes nucleus
  segmenta view oxford-pets --no-open --port 9000
  segmenta predict photos -o out && segmenta view out")]
pub(crate) struct View {
    #[command(flatten)]
    source: Source,
    /// Only say the address; otherwise the system's browser opens it
    #[arg(long)]
    no_open: bool,
    /// The port; 0 for any that is free
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    port: u16,
}

pub(crate) fn run(args: &View, quiet: bool) -> anyhow::Result<()> {
    // A program that has a log already (the command is a library, too) keeps its own.
    let _ = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::WARN)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .try_init();
    let place = &args.source.folder;
    let predictions = place.join(PREDICTIONS);
    let dataset = if args.source.kind.is_none() && predictions.is_file() {
        predicted(place, &predictions)?
    } else {
        open(&args.source, None)?
    };
    let named = folder(place)?;
    let named = named.canonicalize().unwrap_or(named);
    let title = named.file_name().map_or_else(
        || named.to_string_lossy().into_owned(),
        |name| name.to_string_lossy().into_owned(),
    );
    let options = ServeOptions {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, args.port)),
        workers: 1,
        ..ServeOptions::default()
    };
    let cannot = |error: &std::io::Error| {
        let address = options.address;
        anyhow::anyhow!(
            "cannot listen: {} · {address} · choose another --port, or 0 for any",
            reason(error)
        )
    };
    let viewed = Viewed::new(dataset, title)?;
    let server = Server::bind_view(&options, viewed).map_err(|error| cannot(&error))?;
    let address = format!("http://{}", server.address()?);
    // Said even where little is: with port 0 nobody could know it.
    result(&address)?;
    if !args.no_open
        && let Err(error) = open::that_detached(&address)
        && !quiet
    {
        note(&format!(
            "no browser was opened: {} · {address} · open it yourself",
            reason(&error)
        ));
    }
    server.run(true)?;
    Ok(())
}

/// What of `predictions.json` is looked at.
#[derive(Deserialize)]
struct Predictions {
    model: Model,
    pictures: Vec<Predicted>,
}

#[derive(Deserialize)]
struct Model {
    classes: Vec<Class>,
}

#[derive(Deserialize)]
struct Class {
    name: String,
    color: [u8; 3],
}

#[derive(Deserialize)]
struct Predicted {
    file: PathBuf,
    /// Within the folder.
    written: Vec<PathBuf>,
}

/// The pictures of a `predict` with the masks that it wrote.
fn predicted(folder: &Path, file: &Path) -> anyhow::Result<Dataset> {
    let text = segmenta_data::text::read(file)?;
    let told: Predictions = serde_json::from_str(&text).map_err(|error| {
        Usage(format!(
            "these are no predictions: {error} · {} · name the folder of a `segmenta predict`, or say --kind",
            shown(file)
        ))
    })?;
    // Pictures are named as they were typed: from elsewhere a relative name leads to nothing.
    if let Some(missing) = told.pictures.iter().find(|picture| !picture.file.exists()) {
        return Err(Usage(format!(
            "a picture is not where it was segmented · {} · run `segmenta view` where `segmenta predict` was run, or segment anew",
            shown(&missing.file)
        ))
        .into());
    }
    let is_mask = |path: &&PathBuf| path.to_string_lossy().ends_with(".mask.png");
    let pairs: Vec<_> = told
        .pictures
        .into_iter()
        .map(|picture| {
            let mask = picture.written.iter().find(is_mask);
            let mask = mask.map(|mask| folder.join(mask));
            (picture.file, mask)
        })
        .collect();
    if pairs.is_empty() {
        let remedy = "segment pictures: segmenta predict PICTURES -o DIR";
        return Err(Usage(format!("no picture in it · {} · {remedy}", shown(file))).into());
    }
    let colours: Vec<[u8; 3]> = told.model.classes.iter().map(|class| class.color).collect();
    let names = told.model.classes.into_iter().map(|class| class.name);
    let classes = Classes::with_palette(names, Palette::from_colors(&colours));
    Ok(Dataset::from_files(folder, pairs, classes))
}
