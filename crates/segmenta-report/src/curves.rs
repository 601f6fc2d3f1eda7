//! The curves of a run: what each epoch measured, over the epochs.

use crate::chart::{LineChart, Series, Span};
use crate::{Chart, Epoch, History};

/// The charts that there is something for, each with the name of its file. `best` is the epoch to point out, `best_by` the
/// score that tells it.
pub(crate) fn curves(
    history: &History,
    best_by: usize,
    best: Option<u32>,
) -> Vec<(&'static str, Chart)> {
    let epochs = history.epochs();
    let numbers: Vec<u32> = epochs.iter().map(|epoch| epoch.epoch).collect();
    let mark = best.map(|epoch| (epoch, "best"));
    let line = |name: &str, value: &dyn Fn(&Epoch) -> Option<f64>| Series {
        name: name.into(),
        values: epochs.iter().map(value).collect(),
    };
    let chart = |name, values, mut series: Vec<Series>, span, mark| {
        series.retain(|series| series.values.iter().any(Option::is_some));
        LineChart {
            name,
            values,
            epochs: &numbers,
            series,
            span,
            mark,
        }
        .draw()
    };
    let losses = vec![
        line("train", &|e| e.train_loss),
        line("validation", &|e| e.validation_loss),
    ];
    let scores = history.scores().iter().enumerate();
    let trained = history.scores().get(best_by).map(|name| {
        let name = format!("{name}, training batches");
        line(&name, &|e| e.train_score)
    });
    let scores = scores
        .map(|(i, name)| line(name, &move |e| e.scores[i]))
        .chain(trained)
        .collect();
    let rate = vec![line("learning rate", &|e| e.learning_rate)];
    let speed = vec![line("pictures per second", &|e| e.pictures_per_second)];
    let charts = [
        ("loss", chart("Loss", "loss", losses, Span::Data, mark)),
        (
            "scores",
            chart("Scores", "score, 0 to 1", scores, Span::Data, mark),
        ),
        (
            "learning-rate",
            chart("Learning rate", "learning rate", rate, Span::Zero, None),
        ),
        (
            "speed",
            chart(
                "Speed of training",
                "pictures per second",
                speed,
                Span::Zero,
                None,
            ),
        ),
    ];
    charts
        .into_iter()
        .filter_map(|(file, chart)| Some((file, chart?)))
        .collect()
}
