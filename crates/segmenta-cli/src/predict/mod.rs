//! `segmenta predict`: pictures to masks, overlays and a report. The work is the library's ([`segmenta::Job`]); here
//! are its arguments, its progress and what is said of it.

mod fetch;
mod habit;
pub(crate) mod recipe;
mod settings;
mod summary;

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use segmenta::{
    Cancel, Ended, Event, Failure, Inputs, Job, SheetsWritten, WeightMemory, prepare_folder,
};

use super::args::Predict;
use super::message::{self, Reported, count, explain_failure, failure, note, shown, warning};
use super::model;
use super::progress::Progress;
use super::random::Random;
use settings::Settings;

/// What segments where no model is named: torchvision's smallest, 13 MB of weights.
const DEFAULT_MODEL: &str = "lraspp_mobilenet_v3_large";

pub(crate) fn run(args: &Predict, quiet: bool) -> anyhow::Result<()> {
    if let Some(usage) = habit::answer(&args.inputs) {
        return Err(usage.into());
    }
    let settings = Settings::of(args)?;
    let mut options = model::options(&args.model)?;
    if options.architecture.is_none() && options.weights.is_none() {
        options.architecture = Some(DEFAULT_MODEL.into());
        if !quiet {
            note(&format!(
                "no model was named: {DEFAULT_MODEL}, small and quick, of Pascal VOC's 21 classes · others: segmenta models"
            ));
        }
    }
    options.threshold = args.threshold;
    prepare_folder(&args.out)?;
    let inputs = Inputs::collect(fetch::inputs(&args.inputs, quiet)?);
    say_results(&inputs);
    let inputs = match args.sample {
        Some(count) => {
            let all: Vec<usize> = (0..inputs.len()).collect();
            inputs.select(&Random::new(args.seed).sample(all, count))
        }
        None => inputs,
    };
    if inputs.is_empty() {
        return finish(inputs.problems());
    }

    // Weights in a second form are of no use after the only run.
    if args.model.memory.is_none() && inputs.len() == 1 && settings.runs_once() {
        options.memory = WeightMemory::Brief;
    }
    model::say_precision(&args.model, &options, quiet);
    let model = model::with_classes(model::open(&options, quiet)?, &args.classes)?;
    let recipe = settings.preprocess(&model.description().preprocess);
    let model = model.with_preprocess(recipe)?;
    let cancel = Cancel::new();
    let on_interrupt = cancel.clone();
    ctrlc::set_handler(move || on_interrupt.cancel())?;
    let job = settings
        .of_job(Job::new(&model))
        .out(&args.out)
        .cancel(&cancel);

    let start = Instant::now();
    let mut progress = Progress::new(inputs.len(), "pictures", quiet);
    let mut unsaid = Ok(());
    let outcome = job.run(inputs, |event| {
        // Once nothing can be said any more, that it stops is no news.
        if unsaid.is_ok() {
            unsaid = tell(&event, args.json, quiet, &mut progress);
        }
        match unsaid {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    progress.clear();
    unsaid?;
    let report = outcome.report;
    if outcome.ended == Ended::Stopped {
        return Err(Reported.into());
    }
    if !quiet && !args.json && !report.pictures.is_empty() {
        let seconds = start.elapsed().as_secs_f64();
        message::result(&summary::summary(&report, &args.out, seconds))?;
    }
    finish(&report.failed)
}

/// Says what happens while the pictures are segmented.
fn tell(event: &Event<'_>, json: bool, quiet: bool, progress: &mut Progress) -> anyhow::Result<()> {
    match event {
        // Quiet leaves out what is worth knowing, not what is wrong: a warning stays.
        Event::Notice { input, notice } => {
            let text = notice.at(Path::new(&shown(input.path()).to_string()));
            progress.around(|| warning(&text));
        }
        Event::Done(record) => {
            progress.advance();
            if json {
                message::result(&serde_json::to_string(record)?)?;
            }
        }
        Event::Failed(failure) => {
            progress.advance();
            if json {
                message::result(&serde_json::to_string(failure)?)?;
            }
        }
        Event::Sheets(sheets) if !quiet => say_sheets(*sheets),
        Event::Stopped { done, of } => {
            progress.clear();
            note(&format!(
                "interrupted · {done} of {} done",
                count(*of, "picture")
            ));
            // All that is done is on disk, and the network computes what nobody waits for.
            std::process::exit(130);
        }
        // What there will be more of is news for those who ask for it.
        _ => {}
    }
    Ok(())
}

fn say_sheets(sheets: SheetsWritten) {
    let SheetsWritten {
        pictures,
        resized,
        size: (width, height),
        ..
    } = sheets;
    if resized > 0 {
        note(&format!(
            "{resized} of {} resized to {width}×{height} for the grid; \
             --resize {width}x{height} makes all alike",
            count(pictures, "picture")
        ));
    }
}

/// Says which results of earlier runs were met among the inputs.
fn say_results(inputs: &Inputs) {
    let first = |files: &[std::path::PathBuf]| {
        let more = if files.len() > 1 { ", …" } else { "" };
        format!("{}{more}", shown(&files[0]))
    };
    let left_out = inputs.left_out();
    if !left_out.is_empty() {
        warning(&format!(
            "{} of Segmenta left out · {} · name a file itself to have it segmented all the same",
            count(left_out.len(), "result"),
            first(left_out),
        ));
    }
    let named = inputs.own_results();
    if !named.is_empty() {
        warning(&format!(
            "{} of Segmenta taken as pictures · {} · named one by one; give the folder or a pattern in quotes to leave \
             results out",
            count(named.len(), "result"),
            first(named),
        ));
    }
}

/// Lists what failed.
fn finish(failed: &[Failure]) -> anyhow::Result<()> {
    if failed.is_empty() {
        return Ok(());
    }
    for failed in failed {
        failure(&explain_failure(failed));
    }
    Err(Reported.into())
}
