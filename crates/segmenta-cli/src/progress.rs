//! How far it is: a bar on a terminal, a line now and then elsewhere, nothing if quiet.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use segmenta_weights::Progress as Step;

use super::message::note;

/// Between two lines where there is no terminal: a log should tell, not fill.
const PAUSE: Duration = Duration::from_secs(5);

/// A bar over `total` things that come one by one.
pub(crate) struct Progress {
    bar: ProgressBar,
    /// What they are called, in lines; `None` where the bar draws itself or nothing is said.
    lines: Option<&'static str>,
    started: Instant,
    said: Instant,
}

impl Progress {
    /// Counts `things`.
    pub(crate) fn new(total: usize, things: &'static str, quiet: bool) -> Self {
        let template = "{bar:30.cyan/dim} {pos}/{len} {msg} · {eta} left";
        let bar = bar(template, total as u64, quiet);
        bar.set_message(things);
        // With one thing there is nothing to estimate.
        if total < 2 {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        bar.tick();
        Self {
            bar,
            lines: (!quiet && !is_terminal()).then_some(things),
            started: Instant::now(),
            said: Instant::now(),
        }
    }

    /// One more is done.
    pub(crate) fn advance(&mut self) {
        self.bar.inc(1);
        let Some(things) = self.lines else { return };
        let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
        // What follows the last one says more.
        if done < total && self.said.elapsed() >= PAUSE {
            self.said = Instant::now();
            let rate = done as f64 / self.started.elapsed().as_secs_f64();
            note(&format!("{done} of {total} {things} · {rate:.1} a second"));
        }
    }

    /// Writes lines while the bar stands aside.
    pub(crate) fn around(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// The progress of a download.
pub(crate) struct Download {
    quiet: bool,
    bar: Option<ProgressBar>,
    said: Option<Instant>,
}

impl Download {
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            quiet,
            bar: None,
            said: None,
        }
    }

    /// Hears of a step; `Hub::pull` calls it.
    pub(crate) fn step(&mut self, step: Step) {
        if self.quiet {
            return;
        }
        match step {
            Step::Waiting => note("another process is downloading the same file; waiting for it"),
            Step::Resuming { from } => note(&format!("going on after {:.1} MiB", mebibytes(from))),
            Step::Downloading { done, total } if is_terminal() => self.draw(done, total),
            Step::Downloading { done, total } => self.say(done, total),
            // `Verifying` takes a moment; `Step` may grow.
            _ => self.clear(),
        }
    }

    fn draw(&mut self, done: u64, total: Option<u64>) {
        let template = "{bar:30.cyan/dim} {binary_bytes}/{binary_total_bytes} · \
                        {binary_bytes_per_sec} · {eta} left";
        let bar = self.bar.get_or_insert_with(|| {
            let bar = bar(template, total.unwrap_or(0), false);
            bar.set_position(done);
            // What was there before does not count for the speed.
            bar.reset_eta();
            bar
        });
        bar.set_position(done);
    }

    fn say(&mut self, done: u64, total: Option<u64>) {
        if self.said.is_none_or(|said| said.elapsed() >= PAUSE) {
            self.said = Some(Instant::now());
            let of = total.map_or_else(String::new, |total| format!(" of {:.1}", mebibytes(total)));
            note(&format!("downloading: {:.1}{of} MiB", mebibytes(done)));
        }
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A bar on stderr, hidden if that is no terminal.
fn bar(template: &str, total: u64, quiet: bool) -> ProgressBar {
    let target = if quiet {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    let style = ProgressStyle::with_template(template).expect("a template of this file");
    ProgressBar::with_draw_target(Some(total), target).with_style(style.progress_chars("━━─"))
}

fn is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
