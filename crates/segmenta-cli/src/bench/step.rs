//! `segmenta bench step`: how long a training step takes here.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Instant;

use anyhow::{Context, anyhow};
use segmenta_train::engine::{Engine, EngineOptions, Parameters, Phase, Timing};
use segmenta_train::loss::{LossSpec, Target};
use segmenta_train::optim::{self, Algorithm, Clip, Optimizer, Parts};
use segmenta_zoo::{Options, find, find_encoder};
use serde_json::json;

use super::args::BenchStep;
use super::{median, milliseconds, peak_rss_mb};
use crate::message::{FAINT, STRONG, count, note, result};
use crate::random::Random;
use crate::table::{Table, mebibytes};

/// What a step is made of, beside the network's nodes.
const LOSS: &str = "loss";
const OPTIMIZER: &str = "optimizer";

/// A training step that can be taken again and again.
struct Bench {
    engine: Engine,
    loss: LossSpec,
    optimizer: Optimizer,
    input: Vec<f32>,
    target: Target,
}

impl Bench {
    fn new(args: &BenchStep) -> anyhow::Result<Self> {
        let shape = args.input;
        let options = Options {
            in_channels: shape.channels,
            encoder: args.encoder.as_deref().map(find_encoder).transpose()?,
            ..Options::new(args.classes)
        };
        let graph = find(&args.model)?.build(&options)?;
        args.device.check()?;
        let parameters = Parameters::initial(&graph, 0);
        let options = EngineOptions {
            device: args.device,
            threads: args.threads.unwrap_or(0),
            checkpointing: args.checkpointing,
            outputs: vec![graph.outputs()[0].name.clone()],
            ..EngineOptions::default()
        };
        let binary = args.classes == 1;
        let name = args.loss.as_deref();
        let loss: LossSpec = name.unwrap_or(if binary { "bce" } else { "ce" }).parse()?;
        let mut algorithm = Algorithm::named(&args.optimizer).with_context(|| {
            let names = optim::NAMES.join(", ");
            format!(
                "no optimiser is called `{}`; there are {names}",
                args.optimizer
            )
        })?;
        if let Algorithm::Sgd(sgd) = &mut algorithm {
            (sgd.momentum, sgd.weight_decay) = (0.9, 1e-4);
        }
        let entries = graph.parameters().iter().filter(|p| p.is_trainable());
        let entries = entries.map(|p| (p.name.as_str(), &p.shape[..]));
        let optimizer = Optimizer::new(algorithm, Clip::default(), &Parts::default(), entries)?;
        let mut random = Random::new(0);
        let input = (0..shape.len()).map(|_| 2.0 * random.symmetric()).collect();
        let size = graph.shapes(shape)?[graph.outputs()[0].node.index()];
        let mut labels = |count: usize, below: usize| -> Vec<u8> {
            let label = |_| ((0.5 + 0.5 * random.symmetric()) * below as f32) as u8;
            (0..count)
                .map(label)
                .map(|l| l.min((below - 1) as u8))
                .collect()
        };
        let masks = binary || name.is_some_and(|name| name.contains("bce"));
        let target = if masks {
            let extents = [size.batch, size.channels, size.height, size.width];
            Target::masks(labels(size.len(), 2), extents, None)?
        } else {
            let labels = labels(size.batch * size.pixels(), args.classes);
            let extents = [size.batch, size.height, size.width];
            Target::labels(labels, extents, args.classes, None)?
        };
        loss.check(target.mode(), args.classes)?;
        Ok(Self {
            engine: Engine::new(graph, parameters, options)?,
            loss,
            optimizer,
            input,
            target,
        })
    }

    /// Milliseconds of a step, of its loss, and of its optimiser.
    fn step(&mut self, shape: segmenta_graph::Shape) -> anyhow::Result<[f64; 3]> {
        let input = self.input.clone();
        let start = Instant::now();
        let logits = self.engine.forward(input, shape)?;
        let loss = Instant::now();
        let (value, gradient) = self
            .engine
            .loss(&self.loss, &logits[0], &self.target, 1.0)?;
        drop(logits);
        let loss = milliseconds(loss);
        let gradients = self.engine.backward(vec![gradient])?;
        let update = Instant::now();
        self.engine
            .update(&mut self.optimizer, 1e-3, 1.0, false, gradients)?;
        // A GPU is still at work on what it was given.
        self.engine.sync()?;
        let times = [milliseconds(start), loss, milliseconds(update)];
        if value.is_finite() {
            return Ok(times);
        }
        Err(anyhow!("the loss became {value}"))
    }
}

pub(crate) fn step(args: &BenchStep) -> anyhow::Result<()> {
    let shape = args.input;
    let mut bench = Bench::new(args)?;
    for _ in 0..args.warmup {
        bench.step(shape)?;
    }
    let times = (0..args.runs).map(|_| Ok(bench.step(shape)?[0]));
    let mut times = times.collect::<anyhow::Result<Vec<f64>>>()?;
    times.sort_by(f64::total_cmp);
    let median = median(&times);

    let mut text = String::new();
    if args.profile {
        let mut runs = Vec::new();
        for _ in 0..args.runs {
            bench.engine.time();
            let [_, loss, update] = bench.step(shape)?;
            let timings = bench.engine.take_timings();
            runs.push((timings, loss, update));
        }
        let table = profile(&runs);
        if args.json {
            note(&table);
        } else {
            text += &table;
            text.push('\n');
        }
    }
    let engine = &bench.engine;
    let arena = mebibytes(engine.arena_bytes());
    if args.json {
        text += &json!({
            "model": args.model, "encoder": args.encoder,
            "input": [shape.batch, shape.channels, shape.height, shape.width],
            "device": args.device.to_string(), "threads": engine.threads().count(),
            "isa": engine.isa().to_string(), "runs": args.runs,
            "median_ms": median, "min_ms": times[0], "arena_mb": arena, "peak_rss_mb": peak_rss_mb(),
        })
        .to_string();
        return result(&text);
    }
    let _ = writeln!(
        text,
        "{} · {shape} · {} · {} · {}",
        args.model,
        args.device,
        engine.isa(),
        count(engine.threads().count(), "thread")
    );
    let _ = writeln!(
        text,
        "{STRONG}{median:.1} ms a step{STRONG:#} median of {} · best {:.1} · {:.1} pictures/s",
        args.runs,
        times[0],
        shape.batch as f64 / median * 1e3
    );
    let peak = peak_rss_mb().map_or_else(String::new, |mb| {
        format!(" · peak of the process {mb:.0} MiB")
    });
    let _ = writeln!(text, "{FAINT}arena {arena:.1} MiB{peak}{FAINT:#}");
    result(&text)
}

/// Milliseconds of what happened at each node, and of each kind, medians of several steps.
fn profile(runs: &[(Vec<Timing>, f64, f64)]) -> String {
    let Some((first, ..)) = runs.first() else {
        return String::new();
    };
    let middle = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        median(&times)
    };
    let at = |i: usize| middle(runs.iter().map(|(all, ..)| all[i].seconds * 1e3).collect());
    // Forward, backward.
    let mut nodes: Vec<(&str, [f64; 2])> = Vec::new();
    let mut kinds: BTreeMap<(Phase, &str), f64> = BTreeMap::new();
    for (i, timing) in first.iter().enumerate() {
        let ms = at(i);
        *kinds.entry((timing.phase, timing.kind)).or_default() += ms;
        let backward = usize::from(timing.phase == Phase::Backward);
        match nodes.iter_mut().find(|(name, _)| *name == timing.node) {
            Some((_, times)) => times[backward] += ms,
            None => {
                let mut times = [0.0; 2];
                times[backward] = ms;
                nodes.push((&timing.node, times));
            }
        }
    }
    let mut of_nodes = Table::new(&["node", ">forward ms", ">backward ms"]);
    for (name, [forward, backward]) in nodes {
        of_nodes.row([
            name.into(),
            format!("{forward:.3}"),
            format!("{backward:.3}"),
        ]);
    }
    let mut rows: Vec<(String, &str, f64)> = kinds
        .into_iter()
        .map(|((phase, kind), ms)| (phase.to_string(), kind, ms))
        .collect();
    rows.push((
        String::new(),
        LOSS,
        middle(runs.iter().map(|run| run.1).collect()),
    ));
    rows.push((
        String::new(),
        OPTIMIZER,
        middle(runs.iter().map(|run| run.2).collect()),
    ));
    rows.sort_by(|a, b| b.2.total_cmp(&a.2));
    let all: f64 = rows.iter().map(|(.., ms)| ms).sum();
    let mut of_kinds = Table::new(&["pass", "kind", ">ms", ">share"]);
    for (pass, kind, ms) in rows {
        of_kinds.row([
            pass,
            kind.into(),
            format!("{ms:.2}"),
            format!("{:.0} %", ms / all * 100.0),
        ]);
    }
    format!("{}\n{}", of_nodes.render(), of_kinds.render())
}
