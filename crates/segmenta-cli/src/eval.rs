//! `segmenta eval`: a model measured on pictures whose truth is known.

use std::fmt::Write;
use std::path::PathBuf;

use clap::{Args, ValueHint};
use segmenta_data::{Dataset, Kind, Open, Split};
use segmenta_image::{LabelMap, VOID};
use segmenta_metrics::{Confusion, Metric, Score};
use serde_json::{Value, json};

use super::args::ModelArgs;
use super::message::{STRONG, Usage, result, shown};
use super::model;
use super::progress::Progress;
use super::table::Table;
use super::values::probability;

#[derive(Debug, Args)]
pub(crate) struct Eval {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Of a network of one class: the probability above which a pixel is of it [default: the model file's, or 0.5]
    #[arg(long, value_name = "P", value_parser = probability)]
    pub(crate) threshold: Option<f32>,
    /// The folder of the data set
    #[arg(long, value_name = "DIR", required_unless_present = "images", conflicts_with_all = ["images", "masks"], value_hint = ValueHint::DirPath)]
    pub(crate) data: Option<PathBuf>,
    /// The layout of the data set [default: recognised]
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<Kind>,
    /// The part of it that is measured on [default: test, or val, or all of it]
    #[arg(long, value_name = "SPLIT")]
    pub(crate) split: Option<Split>,
    /// A folder of pictures, with --masks
    #[arg(long, value_name = "DIR", requires = "masks", value_hint = ValueHint::DirPath)]
    pub(crate) images: Option<PathBuf>,
    /// The folder of their masks: files of the same names
    #[arg(long, value_name = "DIR", requires = "images", value_hint = ValueHint::DirPath)]
    pub(crate) masks: Option<PathBuf>,
    /// A mask value that counts as no class, beside 255
    #[arg(long, value_name = "ID")]
    pub(crate) ignore: Vec<u8>,
    /// One object of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn run(args: &Eval, quiet: bool) -> anyhow::Result<()> {
    let dataset = dataset(args)?;
    let mut options = model::options(&args.model)?;
    options.threshold = args.threshold;
    let model = model::open(&options, quiet)?;
    // One class of the network tells the last of the data's classes from the rest.
    let binary = model.description().classes.len() == 1;
    let classes: Vec<String> = model
        .description()
        .class_names()
        .into_iter()
        .map(Into::into)
        .collect();
    let mut confusion = Confusion::new(classes.len(), Some(u32::from(VOID)))?;
    let mut progress = Progress::new(dataset.len(), "pictures", quiet);
    let last = dataset.classes().len().saturating_sub(1) as u8;
    for index in 0..dataset.len() {
        let (picture, truth) = dataset.sample(index)?.into_parts();
        let found = model.segment(&picture)?;
        let truth = if binary {
            one_class(truth, last)
        } else {
            truth
        };
        confusion
            .add(truth.ids(), found.labels().ids())
            .map_err(|error| {
                let name = dataset.items()[index].name();
                Usage(format!(
                    "{error} · {name} · is this data of the model's classes?"
                ))
            })?;
        progress.advance();
    }
    progress.clear();
    let dice = if binary {
        confusion.of_class(1, Metric::Dice)
    } else {
        confusion.mean(Metric::Dice)
    };
    let scores: [(&str, Score); 5] = [
        ("mIoU", confusion.mean_iou()),
        ("Dice", dice),
        ("pixel accuracy", confusion.pixel_accuracy()),
        ("class accuracy", confusion.class_accuracy()),
        ("fwIoU", confusion.frequency_weighted_iou()),
    ];
    if args.json {
        return result(&as_json(&classes, &confusion, &scores, dataset.len()).to_string());
    }
    let number = |value: Option<f64>| value.map_or("n/a".into(), |v| format!("{v:.4}"));
    let mut table = Table::new(&["class", ">IoU", ">Dice", ">precision", ">recall", ">share"]);
    let columns = [Metric::Iou, Metric::Dice, Metric::Precision, Metric::Recall]
        .map(|metric| confusion.of_classes(metric));
    for (class, name) in classes.iter().enumerate() {
        let pixels: u64 = confusion.rows().nth(class).into_iter().flatten().sum();
        let share = pixels as f64 / confusion.pixels().max(1) as f64;
        let mut row = vec![name.clone()];
        row.extend(columns.iter().map(|of_classes| number(of_classes[class])));
        row.push(format!("{:.2} %", share * 100.0));
        table.row(row);
    }
    let mut text = table.render();
    text.push('\n');
    for (name, score) in &scores {
        let _ = writeln!(
            text,
            "{STRONG}{name} {}{STRONG:#}  {}",
            number(score.value),
            score.protocol
        );
    }
    let _ = write!(text, "{} pictures, each at its own size", dataset.len());
    result(&text)
}

fn dataset(args: &Eval) -> anyhow::Result<Dataset> {
    let mut open = Open {
        kind: args.kind,
        ignore: args.ignore.clone(),
        ..Open::default()
    };
    let root = match (&args.data, &args.images, &args.masks) {
        (Some(data), ..) => data.clone(),
        (None, Some(images), Some(masks)) => {
            open.kind = Some(Kind::Folder);
            let (root, below) = common_root(images, masks)?;
            [open.images, open.masks] = below.map(|folder| Some(format!("{folder}/{{}}")));
            root
        }
        _ => return Err(Usage("no data · give --data DIR, or --images and --masks".into()).into()),
    };
    let dataset = open.open(&root)?;
    let wanted = match args.split {
        Some(split) if !dataset.has(split) => {
            let folder = shown(&root);
            let problem = format!(
                "no picture in the split {split} · {folder} · make splits: segmenta data split"
            );
            return Err(Usage(problem).into());
        }
        Some(split) => Some(split),
        None => [Split::Test, Split::Val]
            .into_iter()
            .find(|&split| dataset.has(split)),
    };
    Ok(wanted.map_or_else(|| dataset.clone(), |split| dataset.only(split)))
}

/// The folder that both are in, and the way from there to each.
fn common_root(
    images: &std::path::Path,
    masks: &std::path::Path,
) -> anyhow::Result<(PathBuf, [String; 2])> {
    let whole = |path: &std::path::Path| {
        let problem = |e: std::io::Error| {
            Usage(format!(
                "{} · {} · give a folder",
                super::message::reason(&e),
                shown(path)
            ))
        };
        std::fs::canonicalize(path).map_err(problem)
    };
    let (images, masks) = (whole(images)?, whole(masks)?);
    let root: PathBuf = images
        .components()
        .zip(masks.components())
        .take_while(|(a, b)| a == b)
        .map(|(a, _)| a)
        .collect();
    let below = |path: &std::path::Path| {
        let rest = path.strip_prefix(&root).unwrap_or(path);
        rest.to_string_lossy().replace('\\', "/")
    };
    let ways = [below(&images), below(&masks)];
    if ways.iter().any(String::is_empty) {
        let problem = "pictures and masks in one folder · --images, --masks · give a folder for each, or --data with patterns in a recipe";
        return Err(Usage(problem.into()).into());
    }
    Ok((root, ways))
}

/// Where the last of the data's classes is.
fn one_class(truth: LabelMap, last: u8) -> LabelMap {
    let mut truth = truth;
    for id in truth.ids_mut() {
        if *id != VOID {
            *id = u8::from(*id == last);
        }
    }
    truth
}

fn as_json(
    classes: &[String],
    confusion: &Confusion,
    scores: &[(&str, Score)],
    pictures: usize,
) -> Value {
    let of_class = |(class, name): (usize, &String)| {
        let of = |metric| confusion.of_classes(metric)[class];
        json!({
            "name": name, "iou": of(Metric::Iou), "dice": of(Metric::Dice),
            "precision": of(Metric::Precision), "recall": of(Metric::Recall),
        })
    };
    let of_score = |(name, score): &(&str, Score)| {
        let value = json!({ "value": score.value, "protocol": score.protocol.to_string() });
        ((*name).to_string(), value)
    };
    let scores: serde_json::Map<String, Value> = scores.iter().map(of_score).collect();
    json!({
        "pictures": pictures,
        "scores": scores,
        "classes": classes.iter().enumerate().map(of_class).collect::<Vec<_>>(),
        "confusion": confusion.rows().collect::<Vec<_>>(),
    })
}
