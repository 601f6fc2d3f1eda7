//! `segmenta compare`: two models on the same pictures.

use std::fmt::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use segmenta::{Comparison, Difference, EvaluateOptions, Learned, MatchBy, Model};

use super::args::{MemoryUse, ModelArgs, PrecisionUse};
use super::eval::{MeasuredOn, dataset, part, told, warn_of_learned};
use super::message::{FAINT, STRONG, count, note, result, shown};
use super::model;
use super::progress::Progress;
use super::segment::{Recipe, SegmentArgs};
use super::table::Table;
use super::values::number;
use super::worst::Worst;

/// Compares two models on pictures whose truth is known.
///
/// Both see every picture. For each score: A, B, their difference, where 95 of 100 draws of the pictures have that difference (a
/// paired bootstrap of 10,000 draws with a fixed seed), and how likely one as large is by the draw of pictures alone (p).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  segmenta compare runs/a runs/b --data pets --split test
  segmenta compare fcn_resnet50 deeplabv3_resnet50 --data VOCdevkit/VOC2012 --split val --out differ
  segmenta compare model.safetensors model.int8.safetensors --data nuclei
  segmenta compare runs/a runs/a --precision-b bf16 --data pets")]
pub(crate) struct Compare {
    /// The first model: a file, a run's folder, a network's name, a repository of the Hugging Face hub
    #[arg(value_name = "A", value_hint = ValueHint::AnyPath)]
    a: String,
    /// The second
    #[arg(value_name = "B", value_hint = ValueHint::AnyPath)]
    b: String,
    /// In what the first computes: auto, f32, bf16, int8 [default: auto, what its model file says]
    #[arg(long, value_name = "PRECISION")]
    precision_a: Option<PrecisionUse>,
    /// In what the second computes
    #[arg(long, value_name = "PRECISION")]
    precision_b: Option<PrecisionUse>,
    /// Threads to compute with [default: one a core]
    #[arg(long, value_name = "N", value_parser = number(1..=1024))]
    threads: Option<usize>,
    #[command(flatten)]
    segment: SegmentArgs,
    #[command(flatten)]
    on: MeasuredOn,
    /// Also rows of classes that are neither in the truth nor in what was found
    #[arg(long)]
    all_classes: bool,
    /// A folder for the pictures on which the models differ most: photograph, truth, A and B side by side
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: Option<PathBuf>,
    /// How many of them
    #[arg(long, value_name = "N", default_value_t = 10, requires = "out", value_parser = number(1..=1000))]
    pictures: usize,
    /// One object of JSON, with every picture
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Compare, quiet: bool) -> anyhow::Result<()> {
    let segment = args.segment.options()?;
    let whole = dataset(&args.on)?;
    let first = open(args, &args.a, args.precision_a, quiet)?;
    let second = open(args, &args.b, args.precision_b, quiet)?;
    // What both may be measured on is what the first's run kept for that; what either learned from is said.
    let files = [&args.a, &args.b].map(|text| model_file(text));
    let part = part(&args.on, files[0].as_deref(), &whole)?;
    let dataset = &part.dataset;
    if let Some(out) = &args.out {
        segmenta::prepare_folder(out)?;
    }
    let by = if args.on.by_place {
        MatchBy::Place
    } else {
        MatchBy::Name
    };
    let options = EvaluateOptions::new()
        .match_by(by)
        .segment(segment)
        .on(&*part.name);
    let mut progress = Progress::new(dataset.len(), "pictures", quiet);
    let mut drawn = Worst::new(args.out.as_ref().map_or(0, |_| args.pictures));
    let compared = first.compare(&second, dataset, &options, &mut |compared| {
        drawn.see_both(compared);
        progress.advance();
        ControlFlow::Continue(())
    });
    progress.clear();
    let compared = compared.map_err(|error| told(error, dataset))?;
    warn_of_learned(&part.learned_from, dataset.len());
    if let Some(file) = files[1].as_deref().filter(|_| files[0] != files[1]) {
        let wanted = args.on.split.unwrap_or_default();
        let other = segmenta::Part::of(&whole, wanted, &Learned::of(file)?);
        let measured: Vec<&str> = dataset
            .items()
            .iter()
            .map(segmenta_data::Item::name)
            .collect();
        let learned = other.map(|other| other.learned_from).unwrap_or_default();
        let learned: Vec<String> = learned
            .into_iter()
            .filter(|name| measured.contains(&&**name))
            .collect();
        warn_of_learned(&learned, dataset.len());
    }
    if let Some(out) = &args.out {
        let written = drawn.save(out)?;
        if !quiet {
            note(&format!("{} → {}", count(written, "picture"), shown(out)));
        }
    }
    if args.json {
        return result(&serde_json::to_string(&compared)?);
    }
    result(&text(&compared, args))
}

/// The file that has a run's lists beside it, where it is one.
fn model_file(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    let in_run = path.join("model.safetensors");
    if path.is_file() {
        Some(path.into())
    } else {
        in_run.is_file().then_some(in_run)
    }
}

fn open(
    args: &Compare,
    text: &str,
    precision: Option<PrecisionUse>,
    quiet: bool,
) -> anyhow::Result<Model> {
    let like = ModelArgs {
        model: None,
        encoder: None,
        set: Vec::new(),
        weights: None,
        weights_key: None,
        matching: None,
        classes: None,
        threads: args.threads,
        memory: Some(MemoryUse::Ample),
        precision,
    };
    let model = model::open(&model::options(&like)?.named(text), quiet)?;
    let recipe = Recipe::default().in_tiles_of(&args.segment);
    let recipe = recipe.of(&model.description().preprocess);
    Ok(model.with_preprocess(recipe)?)
}

fn text(compared: &Comparison, args: &Compare) -> String {
    let number = |value: Option<f64>| value.map_or("n/a".into(), |value| format!("{value:.4}"));
    let signed = |value: Option<f64>| value.map_or("n/a".into(), |value| format!("{value:+.4}"));
    let row = |name: &str, of: &Difference| {
        let interval = of.interval.map_or("n/a".into(), |[low, high]| {
            format!("{low:+.4} to {high:+.4}")
        });
        let p = of.p.map_or("n/a".into(), |p| format!("{p:.4}"));
        let mark = if of.is_more_than_chance() { " *" } else { "" };
        vec![
            name.to_owned(),
            number(of.a),
            number(of.b),
            signed(of.difference),
            interval,
            format!("{p}{mark}"),
        ]
    };
    let mut table = Table::new(&["", ">A", ">B", ">B − A", ">95 of 100 draws", "p"]);
    table.row(row("mIoU", &compared.miou));
    table.row(row("pixel accuracy", &compared.pixel_accuracy));
    let is_there = |of: &Difference| of.a.is_some() || of.b.is_some();
    for class in compared
        .classes
        .iter()
        .filter(|class| args.all_classes || is_there(&class.iou))
    {
        table.row(row(&class.name, &class.iou));
    }
    let mut text = table.render();
    let absent = compared
        .classes
        .iter()
        .filter(|class| !is_there(&class.iou))
        .count();
    if absent > 0 && !args.all_classes {
        let classes = count(absent, "class");
        let _ = writeln!(
            text,
            "{FAINT}{classes} neither there nor found: --all-classes{FAINT:#}"
        );
    }
    let verdict = match compared.miou.difference {
        Some(difference) if compared.miou.is_more_than_chance() => {
            let better = if difference > 0.0 { "B" } else { "A" };
            format!("{better} is better, by more than the draw of pictures explains (*)")
        }
        Some(_) => "no difference in mIoU beyond what the draw of pictures explains".into(),
        None => "no pixel counts".into(),
    };
    let _ = writeln!(text, "\n{STRONG}{verdict}{STRONG:#}");
    let on = compared
        .measured_on
        .iter()
        .fold(String::new(), |_, part| format!(" ({part})"));
    let _ = writeln!(
        text,
        "{}{on}, each at its own size; IoU of classes over all pixels; {} draws",
        count(compared.pictures, "picture"),
        compared.draws,
    );
    let _ = writeln!(
        text,
        "{:.2} % of pixels labelled alike",
        100.0 * compared.alike
    );
    let [a, b] = compared.milliseconds;
    let _ = writeln!(text, "{a:.0} ms a picture by A, {b:.0} by B");
    if let Some(most) = compared.differ.first().filter(|most| most.alike < 1.0) {
        let _ = writeln!(
            text,
            "most different: {} ({:.2} % alike)",
            most.name,
            100.0 * most.alike
        );
    }
    let _ = write!(text, "A {}\nB {}", args.a, args.b);
    text
}
