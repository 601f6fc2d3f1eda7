//! The epochs of a run as rows that line up in 80 columns; where there are fewer, as lines that fold between words.

use segmenta::train::EpochDone;

/// Where nothing says how wide it is.
const USUAL: usize = 80;

/// What is said of a score that is not there.
const NONE: &str = "–";

/// The rows of a run.
#[derive(Debug)]
pub(super) struct Rows {
    /// Columns to write in.
    width: usize,
    epochs: u32,
    /// Whether the heading was written.
    headed: bool,
}

impl Rows {
    /// For a run of so many epochs, where it is shown: `COLUMNS`, the terminal, or 80 columns.
    pub(super) fn new(epochs: u32) -> Self {
        let given = std::env::var("COLUMNS").ok();
        let given = given.and_then(|columns| columns.parse().ok());
        let terminal = || console::Term::stderr().size_checked();
        let width = given.or_else(|| terminal().map(|(_, columns)| usize::from(columns)));
        Self::of_width(epochs, width.unwrap_or(USUAL))
    }

    fn of_width(epochs: u32, width: usize) -> Self {
        Self {
            width,
            epochs,
            headed: false,
        }
    }

    /// The next epoch, below the heading if it is the first; `left` are the seconds that the run still takes.
    pub(super) fn epoch(&mut self, done: &EpochDone, left: Option<f64>) -> String {
        let cells = self.cells(done, left);
        let widths = self.widths(done);
        let needed = widths.iter().sum::<usize>() + 2 * (widths.len() - 1);
        if needed > self.width {
            return self.folded(done, &cells);
        }
        let line = |cells: &[String]| {
            let padded = cells.iter().zip(&widths);
            let padded: Vec<String> = padded.map(|(c, &width)| format!("{c:>width$}")).collect();
            padded.join("  ").trim_end().to_owned()
        };
        let row = line(&cells);
        if std::mem::replace(&mut self.headed, true) {
            return row;
        }
        let heading = Self::heading(done);
        format!("{}\n{row}", line(&heading))
    }

    fn heading(done: &EpochDone) -> Vec<String> {
        let (score, _) = done.score();
        let words = [
            "epoch",
            "loss",
            "validation",
            short(score),
            "training",
            "pictures/s",
            "left",
            "",
        ];
        words.map(Into::into).into()
    }

    fn widths(&self, done: &EpochDone) -> Vec<usize> {
        let (score, _) = done.score();
        let epoch = 2 * self.epochs.to_string().len() + 1;
        vec![epoch.max(5), 7, 10, short(score).len().max(6), 8, 10, 8, 4]
    }

    fn cells(&self, done: &EpochDone, left: Option<f64>) -> Vec<String> {
        let record = &done.record;
        let number = |value: Option<f64>| value.map_or_else(|| NONE.into(), |v| format!("{v:.4}"));
        let (_, score) = done.score();
        let speed = record
            .pictures_per_second
            .map(|speed| format!("{speed:.1}"));
        vec![
            format!("{}/{}", record.epoch, self.epochs),
            number(record.train_loss),
            number(record.validation_loss),
            number(score),
            number(record.train_score),
            speed.unwrap_or_else(|| NONE.into()),
            left.map_or_else(|| NONE.into(), clock),
            if done.is_best { "best" } else { "" }.into(),
        ]
    }

    /// The same in words, broken between them where the width ends.
    fn folded(&self, done: &EpochDone, cells: &[String]) -> String {
        let heading = Self::heading(done);
        let named = heading.iter().zip(cells);
        let parts = named.filter(|(_, cell)| *cell != NONE && !cell.is_empty());
        let parts = parts.map(|(name, cell)| match name.as_str() {
            "pictures/s" | "left" => format!("{cell} {name}"),
            name => format!("{name} {cell}").trim().to_owned(),
        });
        let mut lines = vec![String::new()];
        for part in parts {
            let line = lines.last_mut().expect("one line at least");
            let together = line.chars().count() + 3 + part.chars().count();
            if line.is_empty() {
                line.push_str(&part);
            } else if together <= self.width {
                line.push_str(" · ");
                line.push_str(&part);
            } else {
                lines.push(format!("  {part}"));
            }
        }
        lines.join("\n")
    }
}

/// A score's name as a heading.
fn short(score: &str) -> &str {
    match score {
        "pixel accuracy" => "accuracy",
        "class accuracy" => "class acc.",
        other => other,
    }
}

/// A time as a clock has it: `1:05:00`, `0:40`; days where there are any.
fn clock(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}:{:02}", seconds % 60),
        (0, hours) => format!("{hours}:{minutes:02}:{:02}", seconds % 60),
        (days, hours) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use segmenta::train::{Epoch, EpochDone};

    use super::*;

    fn done(epoch: u32, is_best: bool) -> EpochDone {
        let trained = epoch > 0;
        let record = Epoch {
            epoch,
            train_loss: trained.then_some(0.481_25),
            validation_loss: Some(12.501_7),
            scores: vec![Some(0.713), Some(0.9)],
            train_score: trained.then_some(0.7),
            pictures_per_second: trained.then_some(1234.56),
            ..Epoch::default()
        };
        EpochDone::new(record, vec!["mIoU", "class accuracy"], 1, is_best)
    }

    #[test]
    fn rows_line_up_in_eighty_columns() {
        let mut rows = Rows::of_width(100, 80);
        let mut text = rows.epoch(&done(0, false), None);
        for (epoch, best, left) in [(1, true, 86399.0), (100, false, 40.0)] {
            text += "\n";
            text += &rows.epoch(&done(epoch, best), Some(left));
        }
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "  epoch     loss  validation  class acc.  training  pictures/s      left",
                "  0/100        –     12.5017      0.9000         –           –         –",
                "  1/100   0.4813     12.5017      0.9000    0.7000      1234.6  23:59:59  best",
                "100/100   0.4813     12.5017      0.9000    0.7000      1234.6      0:40",
            ]
        );
        assert!(lines.iter().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn fewer_columns_fold_between_words() {
        for width in [60, 40] {
            let text = Rows::of_width(100, width).epoch(&done(100, true), Some(3700.0));
            assert!(
                text.lines().all(|line| line.chars().count() <= width),
                "{text}"
            );
            let words = text.split_whitespace().filter(|word| *word != "·");
            let words: Vec<&str> = words.collect();
            assert_eq!(
                words.join(" "),
                "epoch 100/100 loss 0.4813 validation 12.5017 class acc. 0.9000 training 0.7000 1234.6 pictures/s \
                 1:01:40 left best"
            );
        }
    }

    #[test]
    fn times_are_a_clocks() {
        let times = [0.4, 59.6, 3599.0, 7500.0, 90_000.0].map(clock);
        assert_eq!(times, ["0:00", "1:00", "59:59", "2:05:00", "1 d 1 h"]);
    }
}
