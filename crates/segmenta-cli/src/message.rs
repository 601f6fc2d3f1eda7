//! What is said to people: results on stdout, everything else on stderr.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use clap::builder::styling::{AnsiColor, Style};
use segmenta::data::annotation::Remark;
use segmenta::{DataError, Failure};
use segmenta_files::{check_file, write_remedy};
pub(crate) use segmenta_files::{count, reason};
use segmenta_runtime::RuntimeError;
use segmenta_weights::{Cause, Taken};

/// Long work is not to end in a file that cannot be written: refuses with what the writing would say.
pub(crate) fn check_writable(file: &Path) -> anyhow::Result<()> {
    check_file(file).map_err(|cause| {
        anyhow::anyhow!(
            "cannot write the file: {} · {} · {}",
            reason(&cause),
            shown(file),
            write_remedy(&cause)
        )
    })
}

/// A command that was called in a way that cannot be: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Something failed, and the user has been told: exit code 1 without another word.
#[derive(Debug, thiserror::Error)]
#[error("some of it failed")]
pub(crate) struct Reported;

/// Whether an error is a mistake in the command rather than in the world.
pub(crate) fn is_usage(error: &anyhow::Error) -> bool {
    use segmenta::Error;
    #[cfg(feature = "train")]
    if super::train::is_usage(error) {
        return true;
    }
    error.is::<Usage>()
        || super::data::is_usage(error)
        || error.is::<segmenta_zoo::ZooError>()
        || matches!(
            error.downcast_ref(),
            Some(
                Error::Zoo(_)
                    | Error::Model(_)
                    | Error::Name(_)
                    | Error::Unspecified(_)
                    | Error::Setting(_)
                    | Error::Threshold(_)
                    | Error::Names { .. }
                    | Error::Ambiguous { .. }
                    | Error::Key(_)
            )
        )
}

/// Writes a result to stdout.
pub(crate) fn result(text: &str) -> anyhow::Result<()> {
    let mut stdout = anstream::stdout().lock();
    let write = |stdout: &mut dyn Write| -> io::Result<()> {
        stdout.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            stdout.write_all(b"\n")?;
        }
        stdout.flush()
    };
    write(&mut stdout).map_err(|error| {
        let text = format!(
            "cannot write the result: {} · standard output",
            reason(&error)
        );
        anyhow::Error::new(error).context(text)
    })
}

/// Bold, for the heads of tables.
pub(crate) const STRONG: Style = Style::new().bold();
/// For what may be passed over.
pub(crate) const FAINT: Style = Style::new().dimmed();

pub(crate) fn error(error: &anyhow::Error) {
    let text = match error.downcast_ref::<segmenta::Error>() {
        Some(error) => explain(error),
        None if matches!(error.downcast_ref(), Some(DataError::Unrecognised(_))) => error
            .to_string()
            .replace("or say its kind", "or say --kind"),
        // Causes are told in the message; they are kept below it for the exit code.
        None => error.to_string(),
    };
    labelled("error", AnsiColor::Red, &text);
}

pub(crate) fn failure(text: &str) {
    labelled("error", AnsiColor::Red, text);
}

pub(crate) fn warning(text: &str) {
    labelled("warning", AnsiColor::Yellow, text);
}

/// What a document of annotations has that gives no pixels, or says in two ways.
pub(crate) fn warn_of(remark: &Remark, document: &Path) {
    warning(&format!(
        "{} {} · {} · first: {}",
        count(remark.count, &remark.thing),
        remark.what,
        shown(document),
        remark.first
    ));
}

/// Something worth knowing that is no result.
pub(crate) fn note(text: &str) {
    // Nobody is left to be told when stderr is closed; so below.
    let _ = writeln!(anstream::stderr(), "{text}");
}

fn labelled(label: &str, color: AnsiColor, text: &str) {
    let style = Style::new().bold().fg_color(Some(color.into()));
    let _ = writeln!(anstream::stderr(), "{style}{label}:{style:#} {text}");
}

/// A library error with what the command line can do about it.
pub(crate) fn explain(error: &segmenta::Error) -> String {
    use segmenta::{Error, InputError, ModelError, OutputError};

    let text = error.to_string();
    match error {
        Error::Runtime(RuntimeError::Memory { .. }) => {
            format!("{error} · try --tile 512, a smaller --resize or a smaller --batch")
        }
        Error::Mismatch(mismatch) => {
            format!("{} · {}", mismatch.problem(), mend(&mismatch.cause()))
        }
        Error::Unrecognised {
            nearest: Some(nearest),
            ..
        } => {
            let how = format!("--model {}", nearest.architecture);
            let encoder = nearest.encoder.map(|e| format!(" --encoder {e}"));
            let cause = mend(&nearest.mismatch.cause());
            let problem = nearest.mismatch.problem();
            let problem = problem
                .split_once(": ")
                .map_or(&*problem, |(_, differs)| differs);
            format!(
                "no network has these names; the nearest is {nearest} ({how}{}): {problem} · {cause}",
                encoder.unwrap_or_default()
            )
        }
        Error::Unrecognised { encoder: None, .. } => {
            format!("{error} (--model NAME --match by-order)")
        }
        Error::Unrecognised { .. } => {
            format!("{error} (segmenta train … --set model.encoder_weights=FILE)")
        }
        Error::Ambiguous { .. } => format!("{error} with --model"),
        Error::AnotherNetwork { architecture, .. } => {
            format!("{error} (--model {architecture}, or without --model, --encoder and --set)")
        }
        Error::Key(_) => format!("{error}: give one of them with --weights-key"),
        Error::Order(_) => format!("{error} (--model, --encoder, --classes)"),
        Error::Model(ModelError::Unnamed) => remedied(
            &text,
            "give an architecture with --model, a model file with --weights, or both",
        ),
        Error::Model(ModelError::Unpublished(_)) => remedied(&text, "give a file with --weights"),
        Error::Model(ModelError::OtherArchitecture { .. }) => remedied(&text, "leave --model out"),
        Error::Model(ModelError::Setting { name, value, .. }) => {
            remedied(&text, &format!("--set {name}={value}"))
        }
        Error::Model(ModelError::NotQuantised(_)) => remedied(
            &text,
            "quantise it first: segmenta quantize --weights FILE --data DIR -o model.int8.safetensors",
        ),
        Error::Input(InputError::NoMatch(_)) => remedied(&text, "check it, and put it in quotes"),
        Error::Output(OutputError::Replaces(_)) => {
            remedied(&text, "name another folder with -o, or leave --grid out")
        }
        Error::Output(_) => remedied(&text, "name another with -o"),
        _ => text,
    }
}

/// What to type where weights do not fit.
pub(crate) fn mend(cause: &Cause) -> String {
    match cause {
        Cause::Classes { found, .. } => {
            format!(
                "the file is for {}: leave --classes out, or give --classes {found}",
                count(*found, "class")
            )
        }
        Cause::Relative => {
            "the network is a near relative of the file's: try another --encoder, or the options with which it \
             was built (--set)"
                .into()
        }
        Cause::Stranger => {
            "the file is of another network: leave --model out, or, if the names are its author's own, add \
             --match by-order"
                .into()
        }
        other => other.to_string(),
    }
}

/// What was taken from a file of weights, in one line; `None` where it holds the network and nothing else.
pub(crate) fn taken(taken: &Taken, file: &str) -> Option<String> {
    let how = taken.others.first().map(|other| {
        let key = other.trim_end_matches('.');
        format!(" · --weights-key {key} takes the other")
    });
    let summary = taken.summary()?;
    Some(format!("{summary} · {file}{}", how.unwrap_or_default()))
}

/// Why a file failed, in one line that names it, with what the command line can do about it.
pub(crate) fn explain_failure(failure: &Failure) -> String {
    failure.name_in(&explain(failure.error()))
}

/// `what · where · remedy` with another remedy: what to type, in place of what to do.
fn remedied(text: &str, remedy: &str) -> String {
    match text.rsplit_once(" · ") {
        Some((what, _)) => format!("{what} · {remedy}"),
        None => format!("{text} · {remedy}"),
    }
}

/// A path as text that stays on its line: control characters are escaped.
pub(crate) fn shown(path: &Path) -> impl fmt::Display {
    let text = path.to_string_lossy();
    let escape = |c: char| -> String {
        if c.is_control() {
            c.escape_default().collect()
        } else {
            c.into()
        }
    };
    text.chars().map(escape).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use segmenta_graph::Shape;

    #[test]
    fn an_error_of_the_network_names_the_picture_and_what_to_try() {
        let shape = Shape::new(1, 3, 9000, 7000);
        let short = RuntimeError::Memory {
            shape,
            bytes: 1 << 34,
        };
        let failure = Failure::new("a\nb.jpg".into(), short.into());
        let text = explain_failure(&failure);
        assert!(text.contains(" · a\\nb.jpg · try --tile 512"), "{text}");
        assert!(!text.contains('\n'), "{text}");
    }
}
