//! `segmenta data check`: what is wrong, before training.

use std::fmt::Write;

use clap::builder::styling::{AnsiColor, Style};
use segmenta_data::check::{Report, Severity};

use super::super::message::{Reported, result};
use super::args::Check;
use super::{open, with_progress};

pub(super) fn run(args: &Check, quiet: bool) -> anyhow::Result<()> {
    let dataset = open(&args.source, None)?;
    let report = with_progress(dataset.len(), "pictures", quiet, |advance| {
        dataset.check(advance)
    });
    if args.json {
        result(&serde_json::to_string_pretty(&report)?)?;
    } else if !quiet || report.errors() > 0 {
        result(&coloured(&report))?;
    }
    if report.errors() > 0 {
        Err(Reported.into())
    } else {
        Ok(())
    }
}

/// The report, each finding's first word in the colour of how bad it is.
fn coloured(report: &Report) -> String {
    let mut text = String::new();
    for line in report.to_string().lines() {
        let severity = [Severity::Error, Severity::Warning, Severity::Note]
            .into_iter()
            .find(|severity| line.starts_with(&format!("{severity}: ")));
        // Writing to a string cannot fail.
        let _ = match severity {
            Some(severity) => {
                let word = severity.to_string();
                let color = match severity {
                    Severity::Error => AnsiColor::Red,
                    Severity::Warning => AnsiColor::Yellow,
                    Severity::Note => AnsiColor::Cyan,
                };
                let style = Style::new().bold().fg_color(Some(color.into()));
                writeln!(text, "{style}{word}{style:#}{}", &line[word.len()..])
            }
            None => writeln!(text, "{line}"),
        };
    }
    text
}
