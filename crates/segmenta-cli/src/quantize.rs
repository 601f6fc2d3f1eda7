//! `segmenta quantize`: a model in 8 bits, calibrated and measured.

use std::fmt::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use segmenta::{
    CalibrationData, Cancel, Dataset, EvaluateOptions, Inputs, Kind, MaskRule, MatchBy, Open,
    QuantizeError, QuantizeEvent, QuantizeOptions, QuantizeReport, Quantized, RangeBy, Split,
};

use super::args::{ModelArgs, WRITTEN};
use super::eval;
use super::message::{FAINT, STRONG, Usage, check_writable, count, note, result, shown};
use super::model;
use super::progress::{Download, Progress};
use super::table::Table;
use super::values::{number, points};

const CALIBRATION: &str = "Calibration";

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Quantize {
    /// The model: a model file or a state dict, in place of --weights
    #[arg(value_name = "MODEL", conflicts_with = "weights", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// The folder of a data set with masks: ranges are found on its training split, the score on the test or validation
    /// split, where there are any
    #[arg(long, value_name = "DIR", required_unless_present = "images", conflicts_with = "images", value_hint = ValueHint::DirPath, help_heading = CALIBRATION)]
    pub(crate) data: Option<PathBuf>,
    /// The layout of the data set [default: recognised]
    #[arg(long, value_name = "KIND", requires = "data", help_heading = CALIBRATION)]
    pub(crate) kind: Option<Kind>,
    /// What the values of masks mean: ids, 0/255, from-one [default: found, and said by `data check`]
    #[arg(long, value_name = "RULE", requires = "data", help_heading = CALIBRATION)]
    pub(crate) masks: Option<MaskRule>,
    /// Match the data's classes with the model's by their places, whatever they are called [default: by name]
    #[arg(long, requires = "data", help_heading = CALIBRATION)]
    pub(crate) by_place: bool,
    /// Pictures without masks (files, folders, globs), in place of --data: the score is then how far labels are those
    /// that f32 gives
    #[arg(long, value_name = "INPUT", num_args = 1.., value_hint = ValueHint::AnyPath, help_heading = CALIBRATION)]
    pub(crate) images: Vec<PathBuf>,
    /// The most pictures that ranges are found on, spread over all of them
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = number(1..=usize::MAX), help_heading = CALIBRATION)]
    pub(crate) pictures: usize,
    /// By how many points of mIoU the score may drop. Layers are kept out of 8 bits, those first that hurt most, until it
    /// drops by no more
    #[arg(long, value_name = "POINTS", default_value_t = 0.5, value_parser = points, help_heading = CALIBRATION)]
    pub(crate) max_drop: f64,
    /// How the range of a value is chosen: extremes, percentile (99.99), percentile=99.9, least-error [default: all are
    /// tried, and the best is taken]
    #[arg(long, value_name = "HOW", value_parser = range, help_heading = CALIBRATION)]
    pub(crate) range: Option<RangeBy>,
    /// Leave channels as they are: by default they are evened out between layers of which one is depthwise
    #[arg(long, help_heading = CALIBRATION)]
    pub(crate) no_equalise: bool,
    /// The model file that is written
    #[arg(short, long, value_name = "FILE", default_value = "model.int8.safetensors", help_heading = WRITTEN, value_hint = ValueHint::FilePath)]
    pub(crate) out: PathBuf,
    /// Every layer, not only the worst ten
    #[arg(long, help_heading = WRITTEN)]
    pub(crate) layers: bool,
    /// One object of JSON: what was tried, and each layer
    #[arg(long, help_heading = WRITTEN)]
    pub(crate) json: bool,
}

fn range(text: &str) -> Result<RangeBy, String> {
    let percent = |text: &str| {
        let percent = text.parse().ok();
        percent.filter(|&p: &f32| p > 50.0 && p < 100.0)
    };
    match text.split_once('=') {
        None if text == "extremes" => Ok(RangeBy::Extremes),
        None if text == "least-error" => Ok(RangeBy::LeastError),
        None if text == "percentile" => Ok(RangeBy::Percentile(99.99)),
        Some(("percentile", value)) => match percent(value) {
            Some(percent) => Ok(RangeBy::Percentile(percent)),
            None => Err(format!(
                "“{value}” is no percentile above 50 and below 100, such as 99.9"
            )),
        },
        _ => Err("extremes, percentile, percentile=99.9 or least-error".into()),
    }
}

pub(crate) fn run(args: &Quantize, quiet: bool) -> anyhow::Result<()> {
    let mut options = model::options(&args.model)?;
    if options.precision.is_some() {
        let problem = "a precision for what becomes int8 · --precision · leave it out";
        return Err(Usage(problem.into()).into());
    }
    if let Some(file) = &args.file {
        options.weights = Some(file.clone());
    }
    if options
        .weights
        .as_ref()
        .is_some_and(|file| is_same(file, &args.out))
    {
        let problem = format!(
            "the model itself would be written over · {} · name another file with -o",
            shown(&args.out)
        );
        return Err(Usage(problem).into());
    }
    writable(&args.out)?;
    let by = if args.by_place {
        MatchBy::Place
    } else {
        MatchBy::Name
    };
    let mut how = QuantizeOptions::new()
        .pictures(args.pictures)
        .max_drop(args.max_drop)
        .equalise(!args.no_equalise)
        .evaluate(EvaluateOptions::new().match_by(by));
    if let Some(by) = args.range {
        how = how.range(by);
    }
    let cancel = Cancel::new();
    let on_interrupt = cancel.clone();
    ctrlc::set_handler(move || on_interrupt.cancel())?;
    let made = match &args.data {
        Some(root) => {
            let dataset = Open {
                kind: args.kind,
                rule: args.masks.clone(),
                ..Open::default()
            };
            let dataset = dataset.open(root)?;
            let part = |splits: &[Split]| {
                let there = splits.iter().find(|&&split| dataset.has(split));
                there.map_or_else(|| dataset.clone(), |&split| dataset.only(split))
            };
            let (calibrate, measure) = (part(&[Split::Train]), part(&[Split::Test, Split::Val]));
            let data = CalibrationData::Masks {
                calibrate: &calibrate,
                measure: &measure,
            };
            make(&options, data, &how, &cancel, quiet).map_err(|error| told(error, &measure))
        }
        None => {
            let inputs = Inputs::collect(&args.images);
            for problem in inputs.problems() {
                super::message::warning(&super::message::explain_failure(problem));
            }
            let data = CalibrationData::Pictures(&inputs);
            make(&options, data, &how, &cancel, quiet).map_err(plain)
        }
    };
    let made = match made {
        Err(error) if error.downcast_ref().is_some_and(is_stopped) => {
            note("interrupted · nothing was written");
            std::process::exit(130);
        }
        made => made?,
    };
    made.save(&args.out)?;
    let report = made.report();
    if report.drop > report.max_drop {
        super::message::warning(&format!(
            "{} points are lost, more than --max-drop {} · the pictures that the score is measured on are few, or unlike \
             those that ranges were found on · give more of them",
            lost(report.drop),
            report.max_drop
        ));
    }
    if args.json {
        return result(&serde_json::to_string(made.report())?);
    }
    result(&text(made.report(), args))
}

/// Long measuring is not to end in a folder that is not there.
fn writable(out: &Path) -> anyhow::Result<()> {
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty());
    let problem = if out.is_dir() {
        "a folder, where a file is to be written"
    } else if folder.is_some_and(|folder| !folder.is_dir()) {
        "no such folder to write to"
    } else {
        return check_writable(out);
    };
    Err(Usage(format!(
        "{problem} · {} · name another file with -o",
        shown(out)
    ))
    .into())
}

fn is_stopped(error: &QuantizeError) -> bool {
    matches!(error, QuantizeError::Stopped)
}

pub(crate) fn is_same(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

fn make(
    options: &segmenta::ModelOptions,
    data: CalibrationData<'_>,
    how: &QuantizeOptions,
    cancel: &Cancel,
    quiet: bool,
) -> Result<Quantized, QuantizeError> {
    let mut download = Download::new(quiet);
    let mut bar: Option<(String, Progress)> = None;
    let made = Quantized::make(options, data, how, &mut |event| {
        match event {
            QuantizeEvent::Download(step) => download.step(step),
            QuantizeEvent::Picture { what, done, total } => {
                let is_new = bar.as_ref().is_none_or(|(of, _)| of != what) || done == 1;
                if is_new {
                    if let Some((_, bar)) = bar.take() {
                        bar.clear();
                    }
                    bar = Some((what.to_owned(), Progress::new(total, "pictures", quiet)));
                }
                if let Some((_, bar)) = &mut bar {
                    bar.advance();
                }
            }
            QuantizeEvent::Tried(trial) => {
                if let Some((_, bar)) = bar.take() {
                    bar.clear();
                }
                if !quiet {
                    note(&format!(
                        "{}: {} points lost · {:.2} % of pixels as f32",
                        trial.what,
                        lost(trial.drop),
                        trial.agreement * 100.0
                    ));
                }
            }
            _ => {}
        }
        if cancel.is_cancelled() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    if let Some((_, bar)) = bar {
        bar.clear();
    }
    made
}

/// What went wrong, with what to type about it.
fn told(error: QuantizeError, dataset: &Dataset) -> anyhow::Error {
    match error {
        QuantizeError::Evaluate(error) => eval::told(error, dataset),
        other => plain(other),
    }
}

/// The library's own errors are explained where they are shown.
fn plain(error: QuantizeError) -> anyhow::Error {
    match error {
        QuantizeError::Model(error) => error.into(),
        other => other.into(),
    }
}

fn lost(drop: f64) -> String {
    format!("{:.2}", drop.max(0.0))
}

fn text(report: &QuantizeReport, args: &Quantize) -> String {
    /// So many layers are shown unless all are asked for.
    const WORST: usize = 10;
    let mut layers: Vec<_> = report.layers.iter().collect();
    let noise = |layer: &segmenta::LayerRecord| layer.signal_to_noise.unwrap_or(f64::INFINITY);
    if !args.layers {
        layers.sort_by(|a, b| noise(a).total_cmp(&noise(b)));
        layers.truncate(WORST);
    }
    let mut table = Table::new(&[
        "layer",
        "in",
        ">dB",
        ">from",
        ">to",
        ">seen from",
        ">to",
        ">mean",
        ">variance",
    ]);
    for layer in layers {
        let decibels = layer
            .signal_to_noise
            .map_or("–".into(), |db| format!("{db:.1}"));
        let mut row = vec![layer.name.clone(), layer.computed.into(), decibels];
        let numbers = [layer.range, layer.seen].concat();
        row.extend(numbers.iter().map(|value| format!("{value:.3}")));
        row.extend([layer.mean, layer.variance].map(|value| format!("{value:.3}")));
        table.row(row);
    }
    let mut text = table.render();
    text.push('\n');
    let full = report
        .layers
        .iter()
        .filter(|layer| layer.computed == "full")
        .count();
    let _ = writeln!(
        text,
        "{STRONG}{} {:.4} → {:.4}{STRONG:#}  {} points lost (bound {}) · {:.2} % of pixels as f32",
        report.score,
        report.f32,
        report.int8,
        lost(report.drop),
        report.max_drop,
        report.agreement * 100.0
    );
    let kept = match full {
        0 => "all in int8".into(),
        n => format!("{n} kept out"),
    };
    let _ = writeln!(
        text,
        "{}: {kept} · ranges by {} on {} · {} evened out{}",
        count(report.layers.len(), "layer"),
        report.ranges,
        count(report.pictures, "picture"),
        count(report.equalised, "pair"),
        match report.not_equalised {
            0 => String::new(),
            n => format!(", {n} not, for the non-linearity between them"),
        }
    );
    let _ = write!(
        text,
        "{} · use it as any model file: --weights {}{FAINT}{}{FAINT:#}",
        shown(&args.out),
        shown(&args.out),
        if args.layers {
            ""
        } else {
            " · every layer: --layers"
        },
    );
    text
}
