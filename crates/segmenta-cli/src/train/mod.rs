//! `segmenta train`: a recipe and a folder of data become a model.

mod args;
mod progress;
mod recipes;
mod rows;
mod shell;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::Context;
use segmenta::Cancel;
use segmenta::train::{
    DeviceSpec, Ended, Event, Note, Outcome, ReportError, Run, RunError, explained,
};

pub(super) use args::Train;

use self::progress::Progress;
use self::recipes::Found;
use self::shell::quoted_path;
use super::message::{STRONG, Usage, count, failure, note, result, shown, warning};
use super::progress::{Download, Progress as Counted};

pub(super) fn run(args: &Train, quiet: bool) -> anyhow::Result<()> {
    if args.explain {
        return result(&explained());
    }
    let recipe = recipes::find(args)?;
    let data = args
        .data
        .clone()
        .or_else(|| recipe.as_ref().and_then(|recipe| recipe.data.clone()));
    let data = data.as_deref().map(super::data::folder).transpose()?;
    let out = folder(args, recipe.as_ref())?;
    let run = match (&recipe, &data) {
        _ if args.resume => Run::resume(&out),
        (Some(recipe), Some(data)) => Run::new(recipe.recipe.clone(), data, &out),
        (_, None) => {
            let problem = "no data · give the folder of the data set: --data DIR";
            return Err(Usage(problem.into()).into());
        }
        (None, _) => return Err(Usage("no recipe · name one, or --resume a run".into()).into()),
    };
    let run = match &recipe {
        Some(recipe) if args.resume => run.recipe(recipe.recipe.clone()),
        _ => run,
    };
    // Not where a recipe's data usually is: the run knows where its data was.
    let run = match &args.data {
        Some(data) if args.resume => run.data(data),
        _ => run,
    };
    let cancel = Cancel::new();
    on_interrupt(cancel.clone())?;
    let run = run
        .settings(args.set.clone())
        .replace(args.overwrite)
        .device(device(args, quiet))
        .threads(args.threads.unwrap_or(0))
        .debug_numerics(args.debug_numerics)
        .most_steps(args.max_steps.map(|steps| steps as u64))
        .cancel(&cancel);
    let mut told = Told::new(quiet);
    let outcome = run.run(|event| told.hear(event));
    drop(told);
    let outcome = outcome.map_err(with_flags)?;
    let again = resume_command(args, &out);
    match outcome.ended {
        Ended::Stopped => {
            failure("stopped after the step that was being taken · to go on:");
            // A line of its own, to be copied whole.
            note(&again);
            std::process::exit(130);
        }
        Ended::Steps => {
            let steps = args.max_steps.unwrap_or_default();
            result(&format!(
                "{} taken · to go on:\n{again}",
                count(steps, "step")
            ))
        }
        _ => result(&summary(&outcome)),
    }
}

/// The run's folder.
fn folder(args: &Train, recipe: Option<&Found>) -> anyhow::Result<PathBuf> {
    let default = || recipe.map(|found| PathBuf::from("runs").join(found.recipe.name()));
    args.out.clone().or_else(default).ok_or_else(|| {
        Usage("no run to go on with · name its folder (-o DIR), or its recipe".into()).into()
    })
}

fn summary(outcome: &Outcome) -> String {
    let best = outcome
        .best
        .map_or_else(String::new, |(name, value, epoch)| {
            format!("{STRONG}{name} {value:.4}{STRONG:#} in epoch {epoch} · ")
        });
    format!(
        "{best}{} · {}\nsegmenta predict PHOTO --weights {}",
        shown(&outcome.model),
        shown(&outcome.report),
        quoted_path(&outcome.model),
    )
}

/// What to type to go on: the folder is enough, for the run knows its recipe, its settings and where its data is.
fn resume_command(args: &Train, out: &Path) -> String {
    let mut words = vec![format!("segmenta train --resume -o {}", quoted_path(out))];
    let mut flag = |name: &str, value: Option<String>| {
        words.extend(value.map(|value| format!("{name} {value}")));
    };
    let device = (args.device != DeviceSpec::Cpu).then(|| args.device.to_string());
    flag("--device", device);
    flag("-g", args.gpu.map(|gpu| gpu.to_string()));
    flag("--threads", args.threads.map(|threads| threads.to_string()));
    words.join(" ")
}

/// What people are told of a run.
pub(super) struct Told {
    quiet: bool,
    checked: Option<Counted>,
    download: Option<Download>,
    shown: Option<Progress>,
}

impl Told {
    pub(super) fn new(quiet: bool) -> Self {
        Self {
            quiet,
            checked: None,
            download: None,
            shown: None,
        }
    }

    /// Shows an event. Ctrl-C sets a flag of its own, so the run always goes on from here.
    pub(super) fn hear(&mut self, event: Event<'_>) -> ControlFlow<()> {
        if !matches!(event, Event::Download(_)) {
            // Its bar goes.
            self.download = None;
        }
        match event {
            Event::Checked { pictures, of } => {
                let new = || Counted::new(of, "pictures checked", self.quiet);
                let checked = self.checked.get_or_insert_with(new);
                checked.advance();
                if pictures == of {
                    checked.clear();
                    self.checked = None;
                }
            }
            Event::Download(step) => {
                let new = || Download::new(self.quiet);
                self.download.get_or_insert_with(new).step(step);
            }
            // Quiet leaves out what is worth knowing, not what may be wrong.
            Event::Note(Note::Data(finding)) => warning(&finding.told()),
            Event::Note(what @ Note::Loss { .. }) => {
                let warn = || warning(&what.to_string());
                match &self.shown {
                    Some(shown) => shown.around(warn),
                    None => warn(),
                }
            }
            Event::Note(what) if !self.quiet => note(&what.to_string()),
            Event::Started {
                epochs,
                batches,
                done,
                ..
            } => self.shown = Some(Progress::new(epochs, batches, done, self.quiet)),
            _ => {}
        }
        let Some(shown) = &mut self.shown else {
            return ControlFlow::Continue(());
        };
        match event {
            Event::Batch { loss, pictures } => shown.step(loss, pictures),
            Event::Stage(stage) => shown.stage(&stage.to_string()),
            Event::Epoch(epoch) => shown.epoch(epoch),
            Event::Finished(_) => shown.finish(),
            // Steps, files: what they are about is shown already.
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if let Some(checked) = &self.checked {
            checked.clear();
        }
    }
}

/// The device asked for; `-g N` is a wish that the processor fulfils where there is no GPU.
fn device(args: &Train, quiet: bool) -> DeviceSpec {
    let Some(gpu) = args.gpu else {
        return args.device;
    };
    let wanted = DeviceSpec::Cuda(gpu);
    match wanted.check() {
        Ok(()) => wanted,
        Err(error) => {
            if !quiet {
                note(&format!("on the processor instead: {error}"));
            }
            DeviceSpec::Cpu
        }
    }
}

/// An error of a run with what to type about it.
pub(super) fn with_flags(error: RunError) -> anyhow::Error {
    let flags = match &error {
        RunError::Report(ReportError::Exists(_)) => "-o DIR, --resume, --overwrite",
        RunError::Report(ReportError::Busy(_)) => "Ctrl-C saves; -o DIR",
        RunError::Report(ReportError::Occupied(_)) => "-o DIR",
        RunError::Report(ReportError::NoRun(_)) => "-o DIR; without --resume a run begins",
        RunError::Checkpoint { .. } => "--overwrite",
        RunError::Differs { .. } => "-o DIR; --overwrite",
        RunError::OtherData { .. } => "--data DIR, -o DIR",
        RunError::Unavailable(_) => "--set model.encoder_weights=none",
        RunError::NotFinite { .. } => "--overwrite --set train.clip.norm=1",
        _ => return error.into(),
    };
    let text = format!("{error} ({flags})");
    anyhow::Error::new(error).context(text)
}

/// Whether an error is a mistake in the command or in the recipe.
pub(super) fn is_usage(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref();
    matches!(
        error,
        Some(RunError::Config { .. } | RunError::Zoo(_) | RunError::Differs { .. })
    )
}

/// Ctrl-C asks the run to stop after its step; a second one ends it at once, from whose checkpoint it goes on.
pub(super) fn on_interrupt(cancel: Cancel) -> anyhow::Result<()> {
    ctrlc::set_handler(move || {
        if cancel.is_cancelled() {
            std::process::exit(130);
        }
        cancel.cancel();
        note("stopping after this step (again: at once)");
    })
    .context("cannot watch for Ctrl-C")
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches, Parser};

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        train: Train,
    }

    fn typed(words: &[&str]) -> Train {
        let words = [&["train"], words].concat();
        let matches = Typed::command().try_get_matches_from(words).unwrap();
        Typed::from_arg_matches(&matches).unwrap().train
    }

    #[test]
    fn the_command_that_goes_on_can_be_typed_as_it_is_printed() {
        let again = |words: &[&str], out: &str| resume_command(&typed(words), Path::new(out));
        assert_eq!(
            again(&["voc", "-m", "unet"], "runs/voc-unet"),
            "segmenta train --resume -o runs/voc-unet"
        );
        let words = [
            "my recipe.toml",
            "--data",
            "it's",
            "-g",
            "1",
            "--set",
            "a=b",
        ];
        assert_eq!(
            again(&words, "my runs/it's a"),
            r"segmenta train --resume -o 'my runs/it'\''s a' -g 1"
        );
        assert_eq!(
            again(&["--resume", "--threads", "2"], "-runs"),
            "segmenta train --resume -o ./-runs --threads 2"
        );
    }
}
