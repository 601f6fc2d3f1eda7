//! `segmenta export`: a model as an ONNX file.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};
use segmenta::{Dynamic, OnnxOptions, export_onnx};

use super::args::ModelArgs;
use super::message::{Usage, check_writable, note, result, shown};
use super::model;
use super::progress::Download;
use super::quantize::is_same;

/// An extent of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Extent {
    /// How many pictures
    Batch,
    /// Rows of pixels
    Height,
    /// Columns of pixels
    Width,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The model: a model file or a state dict, in place of --weights
    #[arg(value_name = "MODEL", conflicts_with = "weights", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// The file to write
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: PathBuf,
    /// Version of ONNX's operations
    #[arg(long, value_name = "N", default_value_t = 18, value_parser = clap::value_parser!(i64).range(17..=21))]
    pub(crate) opset: i64,
    /// What of the input's shape is left open [default: all; with --size, the batch]
    #[arg(long, value_name = "EXTENTS", value_delimiter = ',', num_args = 1..)]
    pub(crate) dynamic: Option<Vec<Extent>>,
    /// Height and width of the input, where they are not left open
    #[arg(long, value_name = "HxW", value_parser = size)]
    pub(crate) size: Option<[usize; 2]>,
    /// Take pictures of bytes, N x H x W x 3 (red, green, blue), and normalise them in the file
    #[arg(long)]
    pub(crate) with_preprocessing: bool,
    /// Give labels of bytes, N x H x W at the input's size, in place of what the network says
    #[arg(long)]
    pub(crate) labels: bool,
    /// Results to write, by name [default: the main one]
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        conflicts_with = "labels"
    )]
    pub(crate) results: Vec<String>,
    /// Write the weights to a file beside, FILE.data, as is always done above 2 GB
    #[arg(long)]
    pub(crate) external_data: bool,
}

pub(crate) fn run(args: &Export, quiet: bool) -> anyhow::Result<()> {
    check_writable(&args.output)?;
    let mut options = model::options(&args.model)?;
    if let Some(file) = &args.file {
        options.weights = Some(file.clone());
    }
    options.outputs.clone_from(&args.results);
    if let Some(file) = options
        .weights
        .as_ref()
        .filter(|file| is_same(file, &args.output))
    {
        let file = shown(file);
        let problem =
            format!("the model itself would be written over · {file} · name another file with -o");
        return Err(Usage(problem).into());
    }
    let is_open = |extent| match &args.dynamic {
        Some(open) => open.contains(&extent),
        None => extent == Extent::Batch || args.size.is_none(),
    };
    let dynamic = Dynamic {
        batch: is_open(Extent::Batch),
        height: is_open(Extent::Height),
        width: is_open(Extent::Width),
    };
    let defaults = OnnxOptions::default();
    if args.size.is_none() && !(dynamic.height && dynamic.width) {
        let problem = "height or width is fixed, but not to what · --dynamic · give --size HxW";
        return Err(Usage(problem.into()).into());
    }
    let onnx = OnnxOptions {
        opset: args.opset,
        dynamic,
        size: args.size.unwrap_or(defaults.size),
        preprocessing: args.with_preprocessing,
        labels: args.labels,
        external_data: args.external_data,
    };
    let mut download = Download::new(quiet);
    let written = export_onnx(&options, &onnx, &args.output, &mut |step| {
        download.step(step);
    })?;
    if !quiet {
        written.notes.iter().for_each(|said| note(said));
        if let Some(data) = &written.data {
            note(&format!("weights → {}", shown(data)));
        }
    }
    result(&shown(&written.path).to_string())
}

fn size(text: &str) -> Result<[usize; 2], String> {
    let sides = text.split_once('x').map(|(height, width)| [height, width]);
    let sides = sides.map(|sides| sides.map(|side| side.trim().parse().ok().filter(|&n| n > 0)));
    match sides {
        Some([Some(height), Some(width)]) => Ok([height, width]),
        _ => Err("HxW, as 512x512".into()),
    }
}
