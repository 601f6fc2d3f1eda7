//! `segmenta predict`: pictures to masks, overlays and a report.

mod grids;
mod outputs;
mod pipeline;
pub(crate) mod recipe;
mod report;
mod settings;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use segmenta::{Error, Model, WeightMemory};

use super::args::Predict;
use super::inputs::{Failure, collect};
use super::message::{self, Reported, explain, failure, note, shown};
use super::model;
use super::progress::Progress;
use super::random::Random;
use grids::Grids;
pub(crate) use outputs::prepare_folder;
use pipeline::{Done, milliseconds};
use report::{Milliseconds, PictureRecord, Report};
use settings::Settings;

/// Everything that is known by now. One lock guards it and the output folder: whoever holds it finds
/// no file half there.
struct Session {
    report: Report,
    out: PathBuf,
    progress: Progress,
    total: usize,
}

pub(crate) fn run(args: &Predict, quiet: bool) -> anyhow::Result<()> {
    let settings = Settings::of(args)?;
    let mut options = model::options(&args.model)?;
    options.threshold = args.threshold;
    prepare_folder(&args.out)?;
    let (inputs, mut failed) = collect(&args.inputs, &args.out);
    let inputs = match args.sample {
        Some(count) => Random::new(args.seed).sample(inputs, count),
        None => inputs,
    };
    if inputs.is_empty() {
        return finish(&failed);
    }

    // Weights in a second form are of no use after the only run.
    if args.model.memory.is_none() && inputs.len() == 1 && settings.runs_once() {
        options.memory = WeightMemory::Brief;
    }
    let model = model::open(&options, quiet)?;
    let recipe = settings.preprocess(&model.description().preprocess);
    let model = model.with_preprocess(recipe.clone());
    let mut grids = settings.grid.then(|| Grids::new(&recipe, settings.alpha));
    let session = Arc::new(Mutex::new(Session {
        report: Report::new(&model, &settings, &recipe),
        out: args.out.clone(),
        progress: Progress::new(inputs.len(), "pictures", quiet),
        total: inputs.len(),
    }));
    on_interrupt(&session)?;

    let start = Instant::now();
    pipeline::run(&model, &inputs, settings.batch, &settings.segment, |done| {
        let session = &mut *lock(&session);
        // Quiet leaves out what is worth knowing, not what is wrong: a warning stays.
        for notice in &done.notices {
            let text = notice.at(Path::new(&shown(&done.input.path).to_string()));
            session.progress.around(|| message::warning(&text));
        }
        let line = match write(session, done, &settings, &model, grids.as_mut()) {
            Ok(record) => {
                let line = serde_json::to_string(&record)?;
                session.report.pictures.push(record);
                line
            }
            Err(failure) => {
                let line = serde_json::to_string(&failure)?;
                session.report.failed.push(failure);
                line
            }
        };
        session.progress.advance();
        if args.json {
            message::result(&line)
        } else {
            Ok(())
        }
    })?;

    let mut session = lock(&session);
    session.progress.clear();
    // What was no picture at all comes before what failed on the way.
    failed.append(&mut session.report.failed);
    session.report.failed = failed;
    if let Some(grids) = grids {
        grids.save(&args.out, quiet)?;
    }
    session.report.save(&args.out)?;
    if !quiet && !args.json && !session.report.pictures.is_empty() {
        let seconds = start.elapsed().as_secs_f64();
        message::result(&session.report.summary(&args.out, seconds))?;
    }
    finish(&session.report.failed)
}

/// Writes the files about a picture.
fn write(
    session: &mut Session,
    done: Done<'_>,
    settings: &Settings,
    model: &Model,
    grids: Option<&mut Grids>,
) -> Result<PictureRecord, Failure> {
    let Done {
        input,
        result,
        decode_ms,
        ..
    } = done;
    let file = input.path.to_string_lossy().into_owned();
    let fail = |message: String| Failure {
        file: file.clone(),
        message,
    };
    let (picture, segmentation) = result.map_err(fail)?;
    let start = Instant::now();
    let files = || -> Result<_, Error> {
        let files = outputs::write(&session.out, input, &picture, &segmentation, settings)?;
        if let Some(grids) = grids {
            grids.add(&picture, &segmentation)?;
        }
        Ok(files)
    };
    let files = files().map_err(|error| fail(explain(&error)))?;
    let stages = segmentation.stages();
    Ok(PictureRecord {
        name: shown(&input.name).to_string(),
        width: picture.width(),
        height: picture.height(),
        model: model.description().architecture,
        classes: segmentation.shares().into_iter().map(Into::into).collect(),
        written: files
            .iter()
            .map(|file| file.to_string_lossy().into_owned())
            .collect(),
        milliseconds: Milliseconds {
            decode: decode_ms,
            prepare: stages.prepare_ms,
            network: stages.network_ms,
            labels: stages.labels_ms,
            write: milliseconds(start),
        },
        file,
    })
}

/// Lists what failed.
fn finish(failed: &[Failure]) -> anyhow::Result<()> {
    if failed.is_empty() {
        return Ok(());
    }
    failed.iter().for_each(|f| failure(&f.message));
    Err(Reported.into())
}

/// On Ctrl-C waits for the picture that is being written, keeps the report of those that are done, and ends.
fn on_interrupt(session: &Arc<Mutex<Session>>) -> anyhow::Result<()> {
    let session = Arc::clone(session);
    ctrlc::set_handler(move || {
        let session = lock(&session);
        session.progress.clear();
        if let Err(error) = session.report.save(&session.out) {
            message::error(&error);
        }
        let done = session.report.pictures.len();
        note(&format!(
            "interrupted · {done} of {} pictures are done",
            session.total
        ));
        std::process::exit(130);
    })?;
    Ok(())
}

fn lock(session: &Mutex<Session>) -> MutexGuard<'_, Session> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}
