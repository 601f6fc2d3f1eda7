//! `segmenta eval`: a model measured on pictures whose truth is known.

use std::fmt::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use segmenta::{
    ClassScores, Dataset, EvaluateError, EvaluateEvent, EvaluateOptions, Evaluation, Kind, Learned,
    MaskRule, MatchBy, Open, Part, Split, WantedPart,
};

use super::args::{ClassArgs, ModelArgs};
use super::message::{FAINT, STRONG, Usage, count, explain, note, result, shown, warn_of, warning};
use super::model;
use super::progress::Progress;
use super::segment::{Recipe, SegmentArgs};
use super::table::{Table, grouped};
use super::values::{number, probability};
use super::worst::Worst;

#[derive(Debug, Args)]
pub(crate) struct Eval {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) classes: ClassArgs,
    /// Of a network of one class: the probability above which a pixel is of it [default: the model file's, or 0.5]
    #[arg(long, value_name = "P", value_parser = probability)]
    pub(crate) threshold: Option<f32>,
    #[command(flatten)]
    pub(crate) segment: SegmentArgs,
    #[command(flatten)]
    pub(crate) on: MeasuredOn,
    /// Also rows of classes that are neither in the truth nor in what was found
    #[arg(long)]
    pub(crate) all_classes: bool,
    /// Write the so many pictures with the lowest mIoU: photograph, truth and what was found side by side
    #[arg(long, value_name = "N", value_parser = number(1..=1000))]
    pub(crate) worst: Option<usize>,
    /// The folder for them
    #[arg(short, long, value_name = "DIR", default_value = "worst", requires = "worst", value_hint = ValueHint::DirPath)]
    pub(crate) out: PathBuf,
    /// One object of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Pictures whose truth is known.
#[derive(Debug, Args)]
pub(crate) struct MeasuredOn {
    /// The folder of the data set
    #[arg(long, value_name = "DIR", required_unless_present = "images", conflicts_with = "images", value_hint = ValueHint::DirPath)]
    pub(crate) data: Option<PathBuf>,
    /// The layout of the data set [default: recognised]
    #[arg(long, value_name = "KIND", conflicts_with = "images")]
    pub(crate) kind: Option<Kind>,
    /// The part that is measured on: train, val, test or all [default: what the model's run kept to be measured on, where
    /// the data are the run's; otherwise test, or val, or all]
    #[arg(long, value_name = "SPLIT", value_parser = wanted_part)]
    pub(crate) split: Option<WantedPart>,
    /// A folder of pictures, with --masks
    #[arg(long, value_name = "DIR", requires = "masks", value_hint = ValueHint::DirPath)]
    pub(crate) images: Option<PathBuf>,
    /// With --images the folder of their masks: files of the same names. Also, or again, what their values mean: ids,
    /// 0/255, from-one, 1/2/3 [default: found, and said by `data check`]
    #[arg(long, value_name = "DIR|RULE", value_hint = ValueHint::AnyPath)]
    pub(crate) masks: Vec<String>,
    /// A mask value that counts as no class, beside 255
    #[arg(long, value_name = "ID")]
    pub(crate) ignore: Vec<u8>,
    /// Match the data's classes with the model's by their places, whatever they are called [default: by name]
    #[arg(long)]
    pub(crate) by_place: bool,
}

pub(crate) fn run(args: &Eval, quiet: bool) -> anyhow::Result<()> {
    let segment = args.segment.options()?;
    let whole = dataset(&args.on)?;
    let part = part(&args.on, args.model.weights.as_deref(), &whole)?;
    let dataset = &part.dataset;
    let mut options = model::options(&args.model)?;
    options.threshold = args.threshold;
    model::say_precision(&args.model, &options, quiet);
    let model = model::with_classes(model::open(&options, quiet)?, &args.classes)?;
    let recipe = Recipe::default().in_tiles_of(&args.segment);
    let recipe = recipe.of(&model.description().preprocess);
    let model = model.with_preprocess(recipe)?;
    let by = if args.on.by_place {
        MatchBy::Place
    } else {
        MatchBy::Name
    };
    let options = EvaluateOptions::new().match_by(by).segment(segment);
    let options = options.on(&*part.name);
    let mut progress = Progress::new(dataset.len(), "pictures", quiet);
    let mut worst = Worst::new(args.worst.unwrap_or(0));
    let measured = model.evaluate(dataset, &options, &mut |event| {
        match event {
            EvaluateEvent::Picture { .. } => progress.advance(),
            event => worst.see(event),
        }
        ControlFlow::Continue(())
    });
    progress.clear();
    let measured = measured.map_err(|error| told(error, dataset))?;
    warn_of_learned(&part.learned_from, dataset.len());
    warn(&measured, dataset, args, quiet);
    if args.worst.is_some() {
        let written = worst.save(&args.out)?;
        if !quiet {
            note(&format!(
                "{} → {}",
                count(written, "picture"),
                shown(&args.out)
            ));
        }
    }
    if args.json {
        return result(&serde_json::to_string(&measured)?);
    }
    result(&text(&measured, args.all_classes))
}

/// What went wrong, with what to type about it.
pub(crate) fn told(error: EvaluateError, dataset: &Dataset) -> anyhow::Error {
    let place = shown(dataset.root());
    match error {
        EvaluateError::Classes(differ) => Usage(format!(
            "{differ} · {place} · name the classes alike (classes.txt), or insist with --by-place"
        ))
        .into(),
        EvaluateError::Ambiguous { classes, .. } => Usage(format!(
            "masks of 0 and 255 alone, where the model has {classes} classes · {place} · say --masks ids if 255 is no \
             class, or name both classes in classes.txt"
        ))
        .into(),
        EvaluateError::Data(error) => error.into(),
        EvaluateError::Model { picture, error } => {
            anyhow::anyhow!("{} · {}", explain(&error), shown(Path::new(&picture)))
        }
        other => other.into(),
    }
}

/// What a score does not say.
fn warn(measured: &Evaluation, dataset: &Dataset, args: &Eval, quiet: bool) {
    if let (n @ 1.., Some(first)) = dataset.left_out() {
        let what = "picture or name of a list without its files";
        let what = if n == 1 {
            format!("1 {what}")
        } else {
            format!("{n} pictures or names of lists without their files")
        };
        let first = shown(Path::new(&first));
        let more = if n > 1 { ", …" } else { "" };
        warning(&format!(
            "{what}: left out ({first}{more}) · all of them: segmenta data check"
        ));
    }
    for remark in dataset.remarks() {
        warn_of(&remark, dataset.root());
    }
    if measured.confusion.pixels() == 0 {
        warning(&format!(
            "no pixel counts: masks are {} · {} · if 255 is a class, say --masks 0/255",
            measured.masks,
            shown(dataset.root())
        ));
    }
    if measured.matched_by == MatchBy::Place && !args.on.by_place && !quiet {
        let sides = if dataset.classes().are_named() {
            "the model's classes have no names"
        } else {
            "the data's classes have no names"
        };
        note(&format!("classes are matched by place: {sides}"));
    }
}

fn text(measured: &Evaluation, all: bool) -> String {
    let number = |value: Option<f64>| value.map_or("n/a".into(), |v| format!("{v:.4}"));
    let mut table = Table::new(&["class", ">IoU", ">Dice", ">precision", ">recall", ">share"]);
    // Neither there nor found: every score is n/a.
    let is_absent = |class: &&ClassScores| class.pixels == 0 && class.iou.is_none();
    let absent = measured.classes.iter().filter(is_absent).count();
    for class in measured
        .classes
        .iter()
        .filter(|class| all || !is_absent(class))
    {
        let scores = [class.iou, class.dice, class.precision, class.recall];
        let mut row = vec![class.name.clone()];
        row.extend(scores.map(number));
        row.push(format!("{:.2} %", class.share * 100.0));
        table.row(row);
    }
    let mut text = table.render();
    if absent > 0 && !all {
        let classes = count(absent, "class");
        let _ = writeln!(
            text,
            "{FAINT}{classes} neither there nor found: --all-classes{FAINT:#}"
        );
    }
    text.push('\n');
    for named in &measured.scores {
        let _ = writeln!(
            text,
            "{STRONG}{} {}{STRONG:#}  {}",
            named.name,
            number(named.score.value),
            named.score.protocol
        );
    }
    let matched = match measured.matched_by {
        MatchBy::Name => "name",
        _ => "place",
    };
    let _ = writeln!(
        text,
        "{}{}, each at its own size; classes matched by {matched}",
        count(measured.pictures, "picture"),
        measured
            .measured_on
            .iter()
            .fold(String::new(), |_, part| format!(" ({part})")),
    );
    let _ = writeln!(
        text,
        "{} of {} pixels right",
        grouped(measured.confusion.right()),
        grouped(measured.confusion.pixels()),
    );
    let _ = write!(text, "masks are {}", measured.masks);
    text
}

pub(crate) fn dataset(args: &MeasuredOn) -> anyhow::Result<Dataset> {
    let mut open = Open {
        kind: args.kind,
        ignore: args.ignore.clone(),
        ..Open::default()
    };
    // With --images the first --masks is their folder, even one that is called `ids`.
    let (folder, rules) = match args.masks.split_first() {
        Some((folder, rest)) if args.images.is_some() => (Some(Path::new(folder)), rest),
        _ => (None, &args.masks[..]),
    };
    open.rule = match rules {
        [] => None,
        [rule] => Some(rule.parse::<MaskRule>()?),
        _ => {
            let problem = "more than one rule for the values of masks · --masks · give one";
            return Err(Usage(problem.into()).into());
        }
    };
    let root = match (&args.data, &args.images, folder) {
        (Some(data), ..) => super::data::folder(data)?,
        (None, Some(images), Some(masks)) => {
            open.kind = Some(Kind::Folder);
            let (root, folders) = common_root(images, masks)?;
            open.folders = Some(folders);
            root
        }
        _ => return Err(Usage("no data · give --data DIR, or --images and --masks".into()).into()),
    };
    Ok(open.open(&root)?)
}

/// What is measured on: by default what the run of the model file kept for that.
pub(crate) fn part(
    args: &MeasuredOn,
    weights: Option<&Path>,
    whole: &Dataset,
) -> anyhow::Result<Part> {
    let learned = weights.filter(|path| path.is_file()).map(Learned::of);
    let learned = learned.transpose()?.unwrap_or(Learned::Unknown);
    let wanted = args.split.unwrap_or_default();
    if learned == Learned::Elsewhere {
        warning(
            "which pictures the model learned from is not known: the lists of its run (lists/) are not beside the file · \
             scores of pictures that were learned from say little of new ones",
        );
    }
    Part::of(whole, wanted, &learned).ok_or_else(|| {
        let split = match wanted {
            WantedPart::Split(split) => split.to_string(),
            _ => "all".into(),
        };
        Usage(format!(
            "no picture in the split {split} · {} · make splits: segmenta data split",
            shown(whole.root())
        ))
        .into()
    })
}

fn wanted_part(text: &str) -> Result<WantedPart, String> {
    match text {
        "all" => Ok(WantedPart::All),
        text => text
            .parse::<Split>()
            .map(WantedPart::Split)
            .map_err(|_| "give train, val, test or all".into()),
    }
}

pub(crate) fn warn_of_learned(names: &[String], of: usize) {
    let Some(first) = names.first() else { return };
    let more = if names.len() > 1 { ", …" } else { "" };
    warning(&format!(
        "{} of {} have the names of pictures that the model learned from ({first}{more}): the scores say little of new \
         pictures · --split val measures on what its run kept for that",
        names.len(),
        count(of, "picture")
    ));
}

/// The folder that both are in, and both.
fn common_root(images: &Path, masks: &Path) -> anyhow::Result<(PathBuf, [PathBuf; 2])> {
    let whole = |path: &Path| {
        let problem = |what: &str| Usage(format!("{what} · {} · give a folder", shown(path)));
        let whole = std::fs::canonicalize(path)
            .map_err(|error| problem(&super::message::reason(&error)))?;
        if whole.is_dir() {
            Ok(whole)
        } else {
            Err(problem("no folder"))
        }
    };
    let folders = [whole(images)?, whole(masks)?];
    let [images, masks] = &folders;
    if images.starts_with(masks) || masks.starts_with(images) {
        let problem = "pictures and masks in one folder · --images, --masks · give a folder for each, or --data with patterns in a recipe";
        return Err(Usage(problem.into()).into());
    }
    let root: PathBuf = images
        .components()
        .zip(masks.components())
        .take_while(|(a, b)| a == b)
        .map(|(a, _)| a)
        .collect();
    Ok((root, folders))
}
