//! `segmenta train`: a recipe and a folder of data become a model.

mod args;
mod recipes;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use segmenta_report::{Existing, RunFolder};
use segmenta_train::engine::DeviceSpec;
use segmenta_train::run::{Config, EXPLAINED, Ended, RunError, Session, Settings, verify};

pub(super) use args::Train;

use super::message::{STRONG, Usage, failure, note, result, shown};

pub(super) fn run(args: &Train, quiet: bool) -> anyhow::Result<()> {
    if args.explain {
        return result(EXPLAINED);
    }
    let recipe = recipes::find(args)?;
    let data = args
        .data
        .clone()
        .or(recipe.data.clone())
        .ok_or_else(|| Usage("no data · give the folder of the data set: --data DIR".into()))?;
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from("runs").join(&recipe.name));
    let (config, folder) = if args.resume {
        let folder = RunFolder::open(&out)?;
        let path = folder.config();
        let text = segmenta_data::text::read(&path)?;
        (
            Config::parse(&text, &args.set, &shown(&path).to_string())?,
            folder,
        )
    } else {
        let mut config = Config::parse(&recipe.text, &args.set, &recipe.origin)?;
        // What is wrong with the data is said before a folder is made.
        let existing = if args.overwrite {
            Existing::Replace
        } else {
            Existing::Refuse
        };
        check(&mut config, &data, quiet)?;
        let folder = RunFolder::create(&out, &config.to_toml()?, existing)?;
        (config, folder)
    };
    let device = device(args, quiet);
    let dataset = config.data.open().open(&data)?;
    let stop = Arc::new(AtomicBool::new(false));
    on_interrupt(stop.clone())?;
    let settings = Settings {
        device,
        threads: args.threads.unwrap_or(0),
        resume: args.resume,
        quiet,
        debug_numerics: args.debug_numerics,
        most_steps: args.max_steps,
        stop,
    };
    let session = Session::new(config, &dataset, folder.clone(), settings)?;
    if !quiet {
        for (file, taken) in session.taken() {
            note(&taken.summary(file));
        }
        if session.epochs_done() > 0 {
            note(&format!("going on after epoch {}", session.epochs_done()));
        }
    }
    let outcome = session.run()?;
    if outcome.ended == Ended::Stopped {
        let again = format!(
            "segmenta train {} --data {} -o {} --resume",
            recipe.argument,
            shown(&data),
            shown(&out)
        );
        failure(&format!(
            "stopped after the step that was being taken · {again} goes on"
        ));
        std::process::exit(130);
    }
    let best = outcome
        .best
        .map_or_else(String::new, |(name, value, epoch)| {
            format!("{STRONG}{name} {value:.4}{STRONG:#} in epoch {epoch} · ")
        });
    result(&format!(
        "{best}{} · {}\nsegmenta predict PHOTO --weights {}",
        shown(&folder.model()),
        shown(&outcome.report),
        shown(&folder.model()),
    ))
}

/// The device asked for; `-g N` is a wish that the processor fulfils where there is no GPU.
fn device(args: &Train, quiet: bool) -> DeviceSpec {
    let Some(gpu) = args.gpu else {
        return args.device;
    };
    let wanted = DeviceSpec::Cuda(gpu);
    match wanted.device() {
        Ok(_) => wanted,
        Err(error) => {
            if !quiet {
                note(&format!("on the processor instead: {error}"));
            }
            DeviceSpec::Cpu
        }
    }
}

/// Every problem of the data, before anything is learned from it; what its masks mean is put down.
fn check(config: &mut Config, data: &std::path::Path, quiet: bool) -> anyhow::Result<()> {
    let dataset = config.data.open().open(data)?;
    let report = super::data::with_progress(dataset.len(), "pictures checked", quiet, |advance| {
        dataset.check(advance)
    });
    if report.errors() > 0 {
        return Err(RunError::Checked(format!(
            "the data cannot be learned from as it is · {} · see below\n{report}",
            shown(data)
        ))
        .into());
    }
    config.data.settle(&dataset);
    verify(config, &dataset)?;
    Ok(())
}

/// Whether an error is a mistake in the command or in the recipe.
pub(super) fn is_usage(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref();
    matches!(error, Some(RunError::Config { .. } | RunError::Zoo(_)))
}

/// Ctrl-C asks the run to stop after its step; a second one ends it at once, from whose checkpoint it goes on.
pub(super) fn on_interrupt(stop: Arc<AtomicBool>) -> anyhow::Result<()> {
    ctrlc::set_handler(move || {
        if stop.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        note("stopping after this step (again: at once)");
    })
    .context("cannot watch for Ctrl-C")
}
