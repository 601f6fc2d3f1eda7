//! What each epoch measured: `metrics.csv`.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use segmenta_files::count;

use crate::ReportError;

/// One epoch, as a line of `metrics.csv`. What was not measured is `None`, an empty cell there.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Epoch {
    /// Which, from 1; 0 is what was measured before any training.
    pub epoch: u32,
    /// Steps of the optimiser since the run began, at the epoch's end.
    pub step: u64,
    /// The learning rate of its last step.
    pub learning_rate: Option<f64>,
    /// The mean loss of its training batches.
    pub train_loss: Option<f64>,
    /// The loss on the validation data.
    pub validation_loss: Option<f64>,
    /// One for each name of [`History::scores`]; `None` where there was nothing to measure.
    pub scores: Vec<Option<f64>>,
    /// The score that tells the best epoch, of the training batches as they were learned from; `None` where they were
    /// not counted: before training, on a GPU, by earlier versions.
    pub train_score: Option<f64>,
    /// Training pictures each second.
    pub pictures_per_second: Option<f64>,
    /// The share of the training's time in which the network waited for data, 0 to 1.
    pub waiting: Option<f64>,
}

/// All epochs so far.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    scores: Vec<String>,
    epochs: Vec<Epoch>,
}

const BEFORE_SCORES: [&str; 5] = [
    "epoch",
    "step",
    "learning_rate",
    "train_loss",
    "validation_loss",
];
const AFTER_SCORES: [&str; 3] = ["train_score", "pictures_per_second", "waiting"];
/// The last columns as earlier versions wrote them.
const FORMER_AFTER: &[&str] = AFTER_SCORES.split_at(1).1;

impl History {
    /// Of a run that measures these scores. Names that are twice there or other columns' are numbered, so that each
    /// column has its own.
    pub fn new(scores: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut taken: HashSet<String> = BEFORE_SCORES
            .iter()
            .chain(&AFTER_SCORES)
            .map(|&name| name.to_owned())
            .collect();
        let own = |name: String| {
            let numbered = (2..).map(|n| format!("{name} {n}"));
            let mut names = std::iter::once(name.clone()).chain(numbered);
            let name = names.find(|name| !taken.contains(name)).unwrap_or_default();
            taken.insert(name.clone());
            name
        };
        Self {
            scores: scores.into_iter().map(Into::into).map(own).collect(),
            epochs: Vec::new(),
        }
    }

    /// The scores' names.
    pub fn scores(&self) -> &[String] {
        &self.scores
    }

    /// The epochs in their order.
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    /// The epoch with the greatest value of a score: the first of equals. Epoch 0 is a baseline, never the best: its
    /// network has learned nothing.
    pub fn best(&self, score: usize) -> Option<&Epoch> {
        let value = |epoch: &Epoch| epoch.scores.get(score).copied().flatten();
        let better = |best: Option<&Epoch>, epoch: &Epoch| match best.and_then(value) {
            None => value(epoch).is_some(),
            Some(best) => value(epoch).is_some_and(|value| value > best),
        };
        let mut best = None;
        for epoch in self.epochs.iter().filter(|epoch| epoch.epoch > 0) {
            if better(best, epoch) {
                best = Some(epoch);
            }
        }
        best
    }

    /// Takes an epoch; says what does not fit otherwise.
    pub(crate) fn push(&mut self, epoch: Epoch) -> Result<(), String> {
        if epoch.scores.len() != self.scores.len() {
            let (given, wanted) = (epoch.scores.len(), self.scores.len());
            return Err(format!(
                "{} where {wanted} are recorded",
                count(given, "score")
            ));
        }
        if let Some(last) = self.epochs.last()
            && (epoch.epoch <= last.epoch || epoch.step < last.step)
        {
            return Err(format!(
                "epoch {} (step {}) after epoch {} (step {})",
                epoch.epoch, epoch.step, last.epoch, last.step
            ));
        }
        self.epochs.push(epoch);
        Ok(())
    }

    /// Forgets the epochs after a step.
    pub(crate) fn truncate_after(&mut self, step: u64) {
        self.epochs.retain(|epoch| epoch.step <= step);
    }

    /// The file's text. Numbers are written so that reading gives the same bits.
    pub(crate) fn to_csv(&self) -> Vec<u8> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        let names = BEFORE_SCORES.iter().copied();
        let names = names
            .chain(self.scores.iter().map(String::as_str))
            .chain(AFTER_SCORES);
        let mut row = |cells: Vec<String>| {
            csv.write_record(cells)
                .expect("rows of one length, into memory");
        };
        row(names.map(Into::into).collect());
        let number =
            |value: &Option<f64>| value.map_or_else(String::new, |value| value.to_string());
        for epoch in &self.epochs {
            let mut cells = vec![epoch.epoch.to_string(), epoch.step.to_string()];
            let before = [
                &epoch.learning_rate,
                &epoch.train_loss,
                &epoch.validation_loss,
            ];
            let after = [
                &epoch.train_score,
                &epoch.pictures_per_second,
                &epoch.waiting,
            ];
            cells.extend(
                before
                    .into_iter()
                    .chain(&epoch.scores)
                    .chain(after)
                    .map(number),
            );
            row(cells);
        }
        csv.into_inner().expect("memory takes every byte")
    }

    /// Reads `metrics.csv`.
    ///
    /// # Errors
    /// The file cannot be read or is none of a run; the line is named.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let bytes = fs::read(path).map_err(ReportError::read(path))?;
        Self::parse(&bytes).map_err(|problem| ReportError::damaged(path, problem))
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut csv = csv::Reader::from_reader(bytes);
        let names = csv.headers().map_err(|error| error.to_string())?.clone();
        let names: Vec<&str> = names.iter().collect();
        let last: &[&str] = if names.ends_with(&AFTER_SCORES) {
            &AFTER_SCORES
        } else {
            FORMER_AFTER
        };
        let (before, after) = (BEFORE_SCORES.len(), last.len());
        let frame_fits = names.len() >= before + after
            && names.starts_with(&BEFORE_SCORES)
            && names.ends_with(last);
        if !frame_fits {
            return Err(format!(
                "line 1 has the columns “{}”, which are no run's",
                names.join(", ")
            ));
        }
        let mut history = Self {
            scores: names[before..names.len() - after]
                .iter()
                .map(|&name| name.into())
                .collect(),
            epochs: Vec::new(),
        };
        for record in csv.records() {
            let record = record.map_err(|error| error.to_string())?;
            let line = record.position().map_or(0, csv::Position::line);
            let epoch = parse_epoch(&record, names.len() - after)
                .map_err(|problem| format!("line {line}: {problem}"))?;
            history
                .push(epoch)
                .map_err(|problem| format!("line {line}: {problem}"))?;
        }
        Ok(history)
    }
}

/// `last` is the column after the scores.
fn parse_epoch(record: &csv::StringRecord, last: usize) -> Result<Epoch, String> {
    let wrong = |cell: &str| format!("“{cell}” is no number");
    let count = |cell: &str| cell.parse::<u64>().map_err(|_| wrong(cell));
    let number = |cell: &str| match cell {
        "" => Ok(None),
        cell => cell.parse().map(Some).map_err(|_| wrong(cell)),
    };
    let numbers: Vec<Option<f64>> = record
        .iter()
        .skip(2)
        .map(number)
        .collect::<Result<_, _>>()?;
    let (before, after) = (BEFORE_SCORES.len() - 2, last - 2);
    let is_former = numbers.len() - after == FORMER_AFTER.len();
    let (train_score, after_it) = if is_former {
        (None, after)
    } else {
        (numbers[after], after + 1)
    };
    Ok(Epoch {
        epoch: u32::try_from(count(&record[0])?).map_err(|_| wrong(&record[0]))?,
        step: count(&record[1])?,
        learning_rate: numbers[0],
        train_loss: numbers[1],
        validation_loss: numbers[2],
        scores: numbers[before..after].to_vec(),
        train_score,
        pictures_per_second: numbers[after_it],
        waiting: numbers[after_it + 1],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> History {
        let mut history = History::new(["mIoU", "Dice, \"hard\""]);
        for epoch in 0..4 {
            let value = f64::from(epoch) / 3.0;
            let scores = vec![Some(value), (epoch == 2).then_some(f64::NAN)];
            let loss = (epoch > 0).then_some(0.1 + value);
            history
                .push(Epoch {
                    epoch,
                    step: u64::from(epoch) * 7,
                    train_loss: loss,
                    scores,
                    ..Epoch::default()
                })
                .unwrap();
        }
        history
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let history = some();
        let again = History::parse(&history.to_csv()).unwrap();
        // NaN is not equal to itself; its text is.
        assert_eq!(format!("{again:?}"), format!("{history:?}"));
        assert_eq!(again.to_csv(), history.to_csv());
    }

    #[test]
    fn files_without_scores_of_training_batches_are_read() {
        let mut history = some();
        history.epochs[2].train_score = Some(0.25);
        let text = String::from_utf8(history.to_csv()).unwrap();
        let without = |line: &str| {
            let mut cells: Vec<&str> = line.split(',').collect();
            cells.remove(cells.len() - 3);
            cells.join(",")
        };
        // The second score's name has a comma of its own, but stands before the column.
        let former: Vec<String> = text.lines().map(without).collect();
        let again = History::parse(former.join("\n").as_bytes()).unwrap();
        history.epochs[2].train_score = None;
        assert_eq!(format!("{again:?}"), format!("{history:?}"));
    }

    #[test]
    fn the_network_before_training_is_never_the_best() {
        let mut history = History::new(["mIoU"]);
        for (epoch, value) in [(0, 0.9), (1, 0.1), (2, 0.2)] {
            let scores = vec![Some(value)];
            let step = u64::from(epoch);
            let epoch = Epoch {
                epoch,
                step,
                scores,
                ..Epoch::default()
            };
            history.push(epoch).unwrap();
            let best = history.best(0).map(|best| best.epoch);
            assert_eq!(best, (step > 0).then_some(step as u32));
        }
    }

    #[test]
    fn damage_is_found_with_its_line() {
        let text = String::from_utf8(some().to_csv()).unwrap();
        for (from, to, said) in [
            ("epoch,", "epoche,", "line 1"),
            ("\n2,", "\ntwo,", "line 4: “two”"),
            ("\n3,21", "\n2,21", "line 5: epoch 2"),
        ] {
            let problem = History::parse(text.replace(from, to).as_bytes()).unwrap_err();
            assert!(problem.contains(said), "{problem}");
        }
        assert!(
            History::parse(&text.as_bytes()[..text.len() - 5]).is_err(),
            "a torn line"
        );
    }

    #[test]
    fn the_best_is_the_first_of_equals() {
        let mut history = some();
        assert_eq!(history.best(0).unwrap().epoch, 3);
        history
            .push(Epoch {
                epoch: 4,
                step: 30,
                scores: vec![Some(1.0), None],
                ..Epoch::default()
            })
            .unwrap();
        assert_eq!(history.best(0).unwrap().epoch, 3);
        assert_eq!(History::new(["x"]).best(0), None);
        history.truncate_after(15);
        assert_eq!(history.epochs().last().unwrap().epoch, 2);
    }

    #[test]
    fn each_column_has_its_own_name() {
        assert_eq!(
            History::new(["step", "IoU", "IoU"]).scores(),
            ["step 2", "IoU", "IoU 2"]
        );
    }
}
