//! `segmenta bench forward`: how long a network takes here.

use std::fmt::Write;
use std::time::Instant;

use segmenta::{Error, HubModel, Model};
use segmenta_graph::{Parameter, Role};
use segmenta_runtime::StepTime;
use segmenta_zoo::{Options, VOC_CLASSES, find, find_encoder};
use serde_json::json;

use super::args::BenchForward;
use super::{median, milliseconds, peak_rss_mb};
use crate::message::{FAINT, STRONG, count, result};
use crate::model;
use crate::random::Random;
use crate::table::{Table, mebibytes};

pub(crate) fn forward(args: &BenchForward) -> anyhow::Result<()> {
    let start = Instant::now();
    let model = load(args)?;
    let load_ms = milliseconds(start);
    let engine = model.engine();
    let shape = args.input;
    let mut random = Random::new(0);
    let input: Vec<f32> = (0..shape.len()).map(|_| 2.0 * random.symmetric()).collect();

    // The results' memory is there before the clock runs, as it is for other engines.
    let shapes = engine.result_shapes(shape).map_err(Error::from)?;
    let mut buffers: Vec<Vec<f32>> = shapes.iter().map(|shape| vec![0.0; shape.len()]).collect();
    let mut run = || -> anyhow::Result<f64> {
        let mut results: Vec<&mut [f32]> =
            buffers.iter_mut().map(|buffer| &mut buffer[..]).collect();
        let start = Instant::now();
        engine
            .forward_into(&input, shape, &mut results)
            .map_err(Error::from)?;
        Ok(milliseconds(start))
    };
    for _ in 0..args.warmup {
        run()?;
    }
    let mut times = (0..args.runs)
        .map(|_| run())
        .collect::<anyhow::Result<Vec<f64>>>()?;
    times.sort_by(f64::total_cmp);
    let memory = engine.memory(shape).map_err(Error::from)?;
    let (median, mean) = (
        median(&times),
        times.iter().sum::<f64>() / times.len() as f64,
    );

    let mut text = String::new();
    if args.profile {
        let profiles = (0..args.runs).map(|_| engine.profile(&input, shape));
        let profiles: Vec<_> = profiles.collect::<Result<_, _>>().map_err(Error::from)?;
        // With --json standard output belongs to the one line.
        let table = profile(&profiles);
        if args.json {
            crate::message::note(&table);
        } else {
            text += &table;
            text.push('\n');
        }
    }
    if args.json {
        text += &json!({
            "model": model.description().architecture,
            "encoder": model.description().options.encoder.map(|encoder| encoder.name),
            "input": [shape.batch, shape.channels, shape.height, shape.width],
            "threads": engine.threads(), "isa": engine.isa().to_string(),
            "precision": engine.precision().to_string(), "multiplies_by": engine.instruction(), "runs": args.runs,
            "median_ms": median, "min_ms": times[0], "mean_ms": mean, "load_ms": load_ms,
            "arena_mb": mebibytes(memory.arena_bytes), "weights_mb": mebibytes(memory.weight_bytes),
            "peak_rss_mb": peak_rss_mb(),
        })
        .to_string();
        return result(&text);
    }
    let _ = writeln!(
        text,
        "{STRONG}{}{STRONG:#} · input {shape} · {} by {} · {} · {}",
        model.description().architecture,
        engine.precision(),
        engine.instruction(),
        engine.isa(),
        count(engine.threads(), "thread")
    );
    let _ = writeln!(
        text,
        "{STRONG}{median:.1} ms{STRONG:#} median of {} · best {:.1} · mean {mean:.1}",
        args.runs, times[0]
    );
    let peak = peak_rss_mb().map_or_else(String::new, |mb| {
        format!(" · peak of the process {mb:.0} MiB")
    });
    let _ = writeln!(
        text,
        "{FAINT}load {load_ms:.0} ms · weights {:.1} MiB · arena {:.1} MiB{peak}{FAINT:#}",
        mebibytes(memory.weight_bytes),
        mebibytes(memory.arena_bytes),
    );
    result(&text)
}

fn load(args: &BenchForward) -> anyhow::Result<Model> {
    let options = model::options(&args.model)?;
    let Some(name) = options
        .architecture
        .as_ref()
        .filter(|_| options.weights.is_none())
    else {
        return model::open(&options, true);
    };
    // A repository's or a folder's: with its own numbers of everything.
    if let Some(found) = HubModel::find(name, &mut |_| {})? {
        let (name, build) = (found.architecture, found.options);
        return Ok(Model::untrained(name, &build, &options, random_weights)?);
    }
    find(name)?;
    let build = Options {
        in_channels: args.input.channels,
        encoder: options.encoder.as_deref().map(find_encoder).transpose()?,
        ..Options::new(options.classes.unwrap_or(VOC_CLASSES.len()))
    };
    Ok(Model::untrained(name, &build, &options, random_weights)?)
}

/// Values that keep activations finite through any depth: kernels of variance 1/fan-in (LeCun), norms that change
/// nothing. The same for each name, on every machine.
fn random_weights(parameter: &Parameter) -> Vec<f32> {
    let constant = |value: f32| vec![value; parameter.len()];
    match parameter.role {
        Role::Scale | Role::RunningVar => constant(1.0),
        Role::Shift
        | Role::Bias
        | Role::RunningMean
        | Role::Counter
        | Role::Buffer
        | Role::Embedding => constant(0.0),
        Role::Kernel | Role::Matrix | Role::TransposedKernel => {
            // Of a transposed convolution the first extent goes in.
            let inputs = usize::from(parameter.role != Role::TransposedKernel);
            let taps: usize = parameter.shape[2..].iter().product();
            let fan_in = taps * parameter.shape[inputs];
            let bound = (3.0 / fan_in as f32).sqrt();
            // FNV-1a.
            let seed = parameter
                .name
                .bytes()
                .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
                    (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
                });
            let mut random = Random::new(seed);
            (0..parameter.len())
                .map(|_| bound * random.symmetric())
                .collect()
        }
    }
}

/// The steps of several runs, each with its median time, and the time of each algorithm.
fn profile(runs: &[Vec<StepTime>]) -> String {
    let Some(first) = runs.first() else {
        return String::new();
    };
    let seconds = |index: usize| {
        let mut times: Vec<f64> = runs.iter().map(|run| run[index].seconds).collect();
        times.sort_by(f64::total_cmp);
        median(&times)
    };
    let gflops = |multiply_adds: u64, seconds: f64| match multiply_adds {
        0 => String::new(),
        n => format!("{:.0}", 2.0 * n as f64 / seconds / 1e9),
    };
    let mut steps = Table::new(&[
        "step",
        "algorithm",
        ">ms",
        ">GFLOP/s",
        ">MB",
        ">GB/s",
        "shape",
    ]);
    let mut algorithms: Vec<(&str, f64, u64, u64)> = Vec::new();
    for (index, step) in first.iter().enumerate() {
        let seconds = seconds(index);
        steps.row([
            step.name.clone(),
            step.algorithm.into(),
            format!("{:.3}", seconds * 1e3),
            gflops(step.multiply_adds, seconds),
            format!("{:.1}", step.bytes as f64 / 1e6),
            format!("{:.1}", step.bytes as f64 / seconds / 1e9),
            step.shape
                .map_or_else(String::new, |shape| shape.to_string()),
        ]);
        match algorithms
            .iter_mut()
            .find(|(name, ..)| *name == step.algorithm)
        {
            Some((_, time, multiply_adds, bytes)) => {
                *time += seconds;
                *multiply_adds += step.multiply_adds;
                *bytes += step.bytes;
            }
            None => {
                algorithms.push((step.algorithm, seconds, step.multiply_adds, step.bytes));
            }
        }
    }
    algorithms.sort_by(|a, b| b.1.total_cmp(&a.1));
    let all: f64 = algorithms.iter().map(|(_, time, ..)| time).sum();
    let mut totals = Table::new(&["algorithm", ">ms", ">share", ">GFLOP/s", ">MB", ">GB/s"]);
    for (name, time, multiply_adds, bytes) in algorithms {
        totals.row([
            name.into(),
            format!("{:.2}", time * 1e3),
            format!("{:.0} %", time / all * 100.0),
            gflops(multiply_adds, time),
            format!("{:.1}", bytes as f64 / 1e6),
            format!("{:.1}", bytes as f64 / time / 1e9),
        ]);
    }
    format!("{}\n{}", steps.render(), totals.render())
}
