//! How far a training run is: bars on a terminal, plain lines elsewhere, nothing if quiet.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use segmenta::train::EpochDone;

use super::rows::Rows;

/// Between two lines within an epoch where there is no terminal: a log should tell, not fill.
const PAUSE: Duration = Duration::from_secs(30);

/// The progress of a run over its epochs and their steps. Everything goes to stderr.
pub(super) struct Progress {
    pace: Pace,
    out: Out,
    rows: Rows,
    /// The score that was measured last.
    score: Option<String>,
    said: Instant,
}

/// Where progress is shown.
enum Out {
    Bars {
        all: MultiProgress,
        epochs: ProgressBar,
        steps: ProgressBar,
    },
    Lines(Box<dyn Write + Send>),
    Quiet,
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress")
            .field("pace", &self.pace)
            .finish_non_exhaustive()
    }
}

impl Progress {
    /// Of `epochs` epochs of `steps` steps each, of which `done` steps were taken by the run that is resumed (0 for
    /// a new one): they count for how far it is, not for how fast.
    pub(super) fn new(epochs: u32, steps: u64, done: u64, quiet: bool) -> Self {
        let out = if quiet {
            Out::Quiet
        } else if std::io::stderr().is_terminal() {
            bars(epochs, steps)
        } else {
            Out::Lines(Box::new(std::io::stderr()))
        };
        let progress = Self {
            pace: Pace::new(epochs, steps, done),
            out,
            rows: Rows::new(epochs),
            score: None,
            said: Instant::now(),
        };
        progress.draw("");
        progress
    }

    /// A step is done: its loss, and how many pictures it learned from.
    pub(super) fn step(&mut self, loss: f64, pictures: usize) {
        self.pace.step(pictures);
        let text = format!("loss {loss:.4}");
        self.draw(&text);
        if self.said.elapsed() >= PAUSE {
            self.said = Instant::now();
            let line = self.line(&text);
            self.write(&line);
        }
    }

    /// The network is being measured; `what` stands in the place of the loss: `validating`.
    pub(super) fn stage(&mut self, what: &str) {
        self.draw(what);
    }

    /// An epoch is over: a row that stays.
    pub(super) fn epoch(&mut self, done: &EpochDone) {
        self.score = Some(done.headline());
        self.said = Instant::now();
        let row = self.rows.epoch(done, self.pace.seconds_left());
        self.note(&row);
        self.draw("");
    }

    /// Says something without tearing the bars.
    pub(super) fn note(&mut self, text: &str) {
        if let Out::Bars { all, .. } = &self.out {
            // Nobody is left to be told when stderr is closed.
            let _ = all.println(text);
        }
        self.write(text);
    }

    /// Writes lines while the bars stand aside.
    pub(super) fn around(&self, write: impl FnOnce()) {
        match &self.out {
            Out::Bars { all, .. } => all.suspend(write),
            _ => write(),
        }
    }

    /// Takes the bars away.
    pub(super) fn finish(&mut self) {
        if let Out::Bars { all, .. } = &self.out {
            let _ = all.clear();
        }
    }

    fn write(&mut self, line: &str) {
        if let Out::Lines(out) = &mut self.out {
            let _ = writeln!(out, "{line}");
        }
    }

    fn line(&self, text: &str) -> String {
        let mut parts = vec![self.pace.place(), text.to_owned()];
        parts.extend(self.score.clone());
        parts.extend(self.pace.speed());
        parts.retain(|part| !part.is_empty());
        parts.join(" · ")
    }

    fn draw(&self, text: &str) {
        let Out::Bars { epochs, steps, .. } = &self.out else {
            return;
        };
        let (epoch, step) = self.pace.whole_and_part();
        epochs.set_position(epoch);
        epochs.set_message(
            [self.score.clone(), self.pace.left()]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" · "),
        );
        steps.set_position(step);
        let rate = self.pace.rate().map(|rate| format!("{rate:.1} pictures/s"));
        let said = (!text.is_empty()).then(|| text.to_owned());
        steps.set_message(
            [said, rate]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" · "),
        );
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

fn bars(epochs: u32, steps: u64) -> Out {
    let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
    let bar = |name: &'static str, length: u64| {
        let style = ProgressStyle::with_template("{prefix:6} {bar:30.cyan/dim} {pos}/{len} {msg}");
        let style = style
            .expect("a template of this file")
            .progress_chars("━━─");
        all.add(ProgressBar::new(length).with_style(style).with_prefix(name))
    };
    let (epochs, steps) = (bar("epochs", u64::from(epochs)), bar("steps", steps));
    Out::Bars { all, epochs, steps }
}

/// Counts steps and time.
#[derive(Debug)]
struct Pace {
    epochs: u32,
    steps: u64,
    /// Steps taken, those of the run before included.
    done: u64,
    /// Steps of the run before.
    before: u64,
    pictures: u64,
    started: Instant,
    /// Time since `started`; a test sets it.
    elapsed: Duration,
}

impl Pace {
    fn new(epochs: u32, steps: u64, done: u64) -> Self {
        let steps = steps.max(1);
        Self {
            epochs,
            steps,
            done,
            before: done,
            pictures: 0,
            started: Instant::now(),
            elapsed: Duration::ZERO,
        }
    }

    fn step(&mut self, pictures: usize) {
        self.done += 1;
        self.pictures += pictures as u64;
        self.elapsed = self.started.elapsed();
    }

    /// Whole epochs done and steps of the one that is going on: a finished epoch is whole until the next one starts.
    fn whole_and_part(&self) -> (u64, u64) {
        match (self.done / self.steps, self.done % self.steps) {
            (0, 0) => (0, 0),
            (whole, 0) => (whole, self.steps),
            (whole, part) => (whole, part),
        }
    }

    fn place(&self) -> String {
        let epoch = self.done.div_ceil(self.steps);
        let (_, step) = self.whole_and_part();
        let epochs = self.epochs;
        if step == self.steps || step == 0 {
            format!("epoch {epoch}/{epochs}")
        } else {
            format!("epoch {epoch}/{epochs}, step {step}/{}", self.steps)
        }
    }

    /// Pictures each second of this session, pauses for validation included.
    fn rate(&self) -> Option<f64> {
        (self.pictures > 0 && !self.elapsed.is_zero())
            .then(|| self.pictures as f64 / self.elapsed.as_secs_f64())
    }

    /// Seconds that the steps that are left take at the pace of those that were taken.
    fn seconds_left(&self) -> Option<f64> {
        let (taken, all) = (self.done - self.before, u64::from(self.epochs) * self.steps);
        let left = all.saturating_sub(self.done);
        (taken > 0 && left > 0).then(|| self.elapsed.as_secs_f64() / taken as f64 * left as f64)
    }

    fn left(&self) -> Option<String> {
        self.seconds_left()
            .map(|seconds| format!("{} left", duration(seconds)))
    }

    fn speed(&self) -> Option<String> {
        let rate = format!("{:.1} pictures/s", self.rate()?);
        Some(
            self.left()
                .map_or(rate.clone(), |left| format!("{rate} · {left}")),
        )
    }
}

/// A time with its two greatest units: `2 h 5 min`, `40 s`.
fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use segmenta::train::Epoch;

    use super::*;

    #[derive(Clone, Default)]
    struct Said(Arc<Mutex<Vec<u8>>>);

    impl Write for Said {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_say_where_it_is_and_how_long_it_takes() {
        let said = Said::default();
        let mut progress = Progress::new(20, 10, 0, true);
        progress.out = Out::Lines(Box::new(said.clone()));
        for _ in 0..10 {
            progress.step(0.5, 8);
        }
        progress.pace.elapsed = Duration::from_secs(4);
        let record = Epoch {
            epoch: 1,
            train_loss: Some(0.4812),
            validation_loss: Some(0.5017),
            scores: vec![Some(0.713)],
            pictures_per_second: Some(20.0),
            ..Epoch::default()
        };
        progress.epoch(&EpochDone::new(record, vec!["mIoU"], 0, true));
        progress.step(0.4, 8);
        progress.pace.elapsed = Duration::from_secs(5);
        let line = progress.line("loss 0.4000");
        assert_eq!(
            line,
            "epoch 2/20, step 1/10 · loss 0.4000 · mIoU 0.7130 · 17.6 pictures/s · 1 min 26 s left"
        );
        progress.note("stopping after this step");
        let text = String::from_utf8(said.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[1].ends_with("20.0      1:16  best"), "{text}");
        assert_eq!(lines[2], "stopping after this step");
    }

    #[test]
    fn steps_before_a_resume_count_for_the_place_but_not_for_the_speed() {
        let mut pace = Pace::new(4, 100, 250);
        assert_eq!((pace.whole_and_part(), pace.left()), ((2, 50), None));
        (0..50).for_each(|_| pace.step(2));
        pace.elapsed = Duration::from_secs(100);
        assert_eq!(
            (pace.place().as_str(), pace.rate()),
            ("epoch 3/4", Some(1.0))
        );
        assert_eq!(pace.left().unwrap(), "3 min 20 s left");
        (0..100).for_each(|_| pace.step(2));
        assert_eq!((pace.whole_and_part(), pace.left()), ((4, 100), None));
    }

    #[test]
    fn times_have_two_units() {
        assert_eq!(
            [0.4, 59.6, 3599.0, 7500.0, 90_000.0].map(duration),
            ["0 s", "1 min 0 s", "59 min 59 s", "2 h 5 min", "1 d 1 h"]
        );
    }
}
