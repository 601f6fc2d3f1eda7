//! What happened, for Prometheus (text format 0.0.4): under names of our own, and under Triton's, for dashboards that exist.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::server::State;

/// Upper bounds of the histogram of answers' times, in seconds.
const BOUNDS: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Requests counted by their route and status, and their times.
#[derive(Debug, Default)]
pub(crate) struct Metrics(Mutex<BTreeMap<String, Route>>);

#[derive(Debug, Default)]
struct Route {
    /// By status; 499 where the client went away, as nginx counts it.
    statuses: BTreeMap<u16, u64>,
    /// How many took at most each of the bounds, and longer.
    times: [u64; BOUNDS.len() + 1],
    seconds: f64,
}

impl Metrics {
    pub(crate) fn count(&self, route: &str, status: u16, time: Duration) {
        let mut routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Routes are those of the table and one for all else: this does not grow.
        if !routes.contains_key(route) {
            routes.insert(route.to_owned(), Route::default());
        }
        let Some(of_route) = routes.get_mut(route) else {
            return;
        };
        *of_route.statuses.entry(status).or_default() += 1;
        let seconds = time.as_secs_f64();
        let at = BOUNDS.partition_point(|&bound| bound < seconds);
        of_route.times[at] += 1;
        of_route.seconds += seconds;
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> u64 {
        let routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        routes
            .values()
            .flat_map(|route| route.statuses.values())
            .sum()
    }
}

/// One line for each network of a family.
type OfEntry = fn(&crate::models::Statistics) -> &AtomicU64;

/// Triton's families (docs/user_guide/metrics.md of triton-inference-server/server).
const TRITON: [(&str, &str, OfEntry); 9] = [
    (
        "nv_inference_request_success",
        "Number of successful inference requests",
        |s| &s.succeeded,
    ),
    (
        "nv_inference_request_failure",
        "Number of failed inference requests",
        |s| &s.failed,
    ),
    (
        "nv_inference_count",
        "Number of inferences performed",
        |s| &s.pictures,
    ),
    (
        "nv_inference_exec_count",
        "Number of runs of the network",
        |s| &s.runs,
    ),
    (
        "nv_inference_request_duration_us",
        "Cumulative request duration in microseconds",
        |s| &s.request,
    ),
    (
        "nv_inference_queue_duration_us",
        "Cumulative time in the queue in microseconds",
        |s| &s.queue,
    ),
    (
        "nv_inference_compute_input_duration_us",
        "Cumulative time of decoding and preparing in microseconds",
        |s| &s.input,
    ),
    (
        "nv_inference_compute_infer_duration_us",
        "Cumulative time of networks in microseconds",
        |s| &s.network,
    ),
    (
        "nv_inference_compute_output_duration_us",
        "Cumulative time of making answers in microseconds",
        |s| &s.output,
    ),
];

/// The page of `/metrics`.
pub(crate) fn page(state: &State) -> String {
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, lines: &[(String, f64)]| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in lines {
            let _ = writeln!(text, "{labels} {value}");
        }
    };
    let (waiting, busy) = state.pool.load();
    let plain = |name: &str, value: f64| vec![(name.to_owned(), value)];
    let gauge = "gauge";
    for (name, help, value) in [
        (
            "segmenta_up_seconds",
            "Seconds since the server began",
            state.started.elapsed().as_secs_f64(),
        ),
        (
            "segmenta_queue_waiting",
            "Requests in the queue",
            waiting as f64,
        ),
        (
            "segmenta_queue_limit",
            "Requests that may wait",
            state.pool.limits().0 as f64,
        ),
        ("segmenta_workers_busy", "Threads that work", busy as f64),
        (
            "segmenta_connections",
            "Open connections",
            state.connections.load(Ordering::Relaxed) as f64,
        ),
    ] {
        family(name, gauge, help, &plain(name, value));
    }
    let ready: Vec<_> = state
        .models
        .iter()
        .map(|entry| {
            let is_ready = f64::from(u8::from(entry.loaded().is_some()));
            (
                format!("segmenta_model_ready{{model=\"{}\"}}", entry.name()),
                is_ready,
            )
        })
        .collect();
    family(
        "segmenta_model_ready",
        gauge,
        "Whether a network is loaded",
        &ready,
    );
    for (name, help, of) in TRITON {
        let lines: Vec<_> = state
            .models
            .iter()
            .map(|entry| {
                let value = of(&entry.statistics).load(Ordering::Relaxed);
                (
                    format!("{name}{{model=\"{}\",version=\"1\"}}", entry.name()),
                    value as f64,
                )
            })
            .collect();
        family(name, "counter", help, &lines);
    }
    let routes = state
        .metrics
        .0
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let (mut counts, mut times) = (Vec::new(), Vec::new());
    for (route, of_route) in routes.iter() {
        for (status, count) in &of_route.statuses {
            let labels =
                format!("segmenta_requests_total{{route=\"{route}\",status=\"{status}\"}}");
            counts.push((labels, *count as f64));
        }
        let mut below = 0;
        let bounds = BOUNDS
            .iter()
            .map(ToString::to_string)
            .chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(of_route.times) {
            below += count;
            let labels =
                format!("segmenta_request_seconds_bucket{{route=\"{route}\",le=\"{bound}\"}}");
            times.push((labels, below as f64));
        }
        times.push((
            format!("segmenta_request_seconds_sum{{route=\"{route}\"}}"),
            of_route.seconds,
        ));
        times.push((
            format!("segmenta_request_seconds_count{{route=\"{route}\"}}"),
            below as f64,
        ));
    }
    family(
        "segmenta_requests_total",
        "counter",
        "Requests answered",
        &counts,
    );
    family(
        "segmenta_request_seconds",
        "histogram",
        "From a request's head to its answer",
        &times,
    );
    text
}
