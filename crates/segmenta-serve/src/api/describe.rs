//! What is served, and how the server does, as JSON.

use std::sync::atomic::Ordering;

use segmenta::Preprocess;
use serde_json::{Value, json};

use crate::models::Entry;
use crate::server::State;

/// What there is to know of a network.
pub(crate) fn model(entry: &Entry) -> Value {
    let Some(loaded) = entry.loaded() else {
        return json!({"name": entry.name(), "ready": false});
    };
    let description = loaded.model.description();
    let names = description.class_names();
    let classes: Vec<Value> = names
        .iter()
        .enumerate()
        .map(|(id, name)| json!({"id": id, "name": name, "color": description.palette.color(id as u8)}))
        .collect();
    let Preprocess { mean, std, .. } = description.preprocess;
    json!({
        "name": entry.name(),
        "ready": true,
        "architecture": description.architecture,
        "encoder": description.options.encoder.map(|encoder| encoder.name),
        "classes": classes,
        "threshold": description.threshold(),
        "channels": description.options.in_channels,
        "mean": mean,
        "std": std,
        "precision": loaded.model.engine().precision().to_string(),
        "source": description.source,
        "licence": description.licence,
        "batch": {
            "most": loaded.batches.most,
            "delay_ms": loaded.batches.delay.as_secs_f64() * 1e3,
        },
    })
}

/// How the server does.
pub(crate) fn status(state: &State) -> Value {
    let (waiting, busy) = state.pool.load();
    let (queue, workers) = state.pool.limits();
    let models: Vec<Value> = state
        .models
        .iter()
        .map(|entry| {
            let statistics = &entry.statistics;
            let count = |value: &std::sync::atomic::AtomicU64| value.load(Ordering::Relaxed);
            let pictures = count(&statistics.pictures);
            let mean = |sum: &std::sync::atomic::AtomicU64| {
                (pictures > 0).then(|| count(sum) as f64 / pictures as f64 / 1e3)
            };
            json!({
                "name": entry.name(),
                "ready": entry.loaded().is_some(),
                "succeeded": count(&statistics.succeeded),
                "failed": count(&statistics.failed),
                "pictures": pictures,
                "runs": count(&statistics.runs),
                "mean_ms": {
                    "queue": mean(&statistics.queue),
                    "read": mean(&statistics.input),
                    "network": mean(&statistics.network),
                    "answer": mean(&statistics.output),
                },
            })
        })
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_s": state.started.elapsed().as_secs_f64(),
        "draining": state.is_draining(),
        "queue": {"waiting": waiting, "most": queue},
        "workers": {"busy": busy, "all": workers},
        "requests": state.metrics.requests(),
        "models": models,
    })
}
