//! `segmenta bench kernels`: each kernel beside what this machine could do at best.

use std::time::{Duration, Instant};

use segmenta_kernels::{
    Activation, Buffer, ConvSpec, Convolution, Isa, Kernel2d, Logits, Map, MapMut, MapShape,
    PoolSpec, Threads, TransposedConvolution, TransposedSpec, WeightMemory, apply, blocked, labels,
    max_pool, peak, resize_bilinear,
};
use serde_json::json;

use super::args::BenchKernels;
use super::{median, milliseconds};
use crate::message::{FAINT, STRONG, result};
use crate::model;
use crate::random::Random;
use crate::table::Table;

/// Layers of the networks that people run: in channels, out channels, side of the window, stride,
/// dilation, groups, side of the map.
const CONVOLUTIONS: [(&str, [usize; 7]); 12] = [
    ("ResNet 1×1 up", [256, 1024, 1, 1, 1, 1, 65]),
    ("ResNet 1×1 down", [1024, 256, 1, 1, 1, 1, 65]),
    ("ResNet 3×3, 64", [64, 64, 3, 1, 1, 1, 130]),
    ("ResNet 3×3, 256, dilation 2", [256, 256, 3, 1, 2, 1, 65]),
    ("ResNet 3×3, 512, dilation 4", [512, 512, 3, 1, 4, 1, 65]),
    ("ResNet 3×3 stride 2", [128, 128, 3, 2, 1, 1, 130]),
    ("ASPP rate 12", [2048, 256, 3, 1, 12, 1, 65]),
    ("ASPP rate 36", [2048, 256, 3, 1, 36, 1, 65]),
    ("ResNeXt 3×3, 32 groups of 4", [128, 128, 3, 1, 1, 32, 130]),
    ("MobileNet 1×1", [40, 240, 1, 1, 1, 1, 65]),
    ("MobileNet depthwise 3×3", [240, 240, 3, 1, 1, 240, 65]),
    (
        "MobileNet depthwise 5×5, dilation 2",
        [960, 960, 5, 1, 2, 960, 33],
    ),
];

/// What a run reads, writes and computes.
struct Amount {
    multiply_adds: usize,
    bytes: usize,
}

/// One line.
struct Measured {
    name: &'static str,
    algorithm: &'static str,
    milliseconds: f64,
    amount: Amount,
}

impl Measured {
    fn gflops(&self) -> f64 {
        2.0 * self.amount.multiply_adds as f64 / self.milliseconds / 1e6
    }

    fn gigabytes(&self) -> f64 {
        self.amount.bytes as f64 / self.milliseconds / 1e6
    }
}

struct Bench {
    isa: Isa,
    threads: Threads,
    time: Duration,
    lines: Vec<Measured>,
}

pub(crate) fn kernels(args: &BenchKernels) -> anyhow::Result<()> {
    let isa = model::isa()?.unwrap_or_else(Isa::fastest);
    let threads = Threads::new(args.threads.unwrap_or(0))?;
    let peak = 2.0 * peak::multiply_adds_per_second(isa, &threads) / 1e9;
    let copy = peak::bytes_copied_per_second(&threads) / 1e9;
    let mut bench = Bench {
        isa,
        threads,
        time: Duration::from_secs_f64(args.seconds),
        lines: Vec::new(),
    };
    for (name, layer) in CONVOLUTIONS {
        bench.convolution(name, layer);
    }
    bench.stem();
    bench.transposed();
    bench.others();

    let count = bench.threads.count();
    if args.json {
        let lines = bench.lines.iter().map(|line| {
            json!({
                "kernel": line.name, "algorithm": line.algorithm, "median_ms": line.milliseconds,
                "gflops": line.gflops(), "gigabytes_per_s": line.gigabytes(),
            })
        });
        let lines: Vec<_> = lines.collect();
        let text = json!({
            "isa": isa.to_string(), "threads": count, "peak_gflops": peak,
            "copy_gigabytes_per_s": copy, "kernels": lines,
        });
        return result(&text.to_string());
    }
    let mut table = Table::new(&[
        "kernel",
        "algorithm",
        ">ms",
        ">GFLOP/s",
        ">of peak",
        ">GB/s",
        ">of a copy",
    ]);
    for line in &bench.lines {
        let computes = line.amount.multiply_adds > 0;
        let or_empty = |text: String| if computes { text } else { String::new() };
        table.row([
            line.name.into(),
            line.algorithm.into(),
            format!("{:.3}", line.milliseconds),
            or_empty(format!("{:.0}", line.gflops())),
            or_empty(format!("{:.0} %", line.gflops() / peak * 100.0)),
            format!("{:.1}", line.gigabytes()),
            format!("{:.0} %", line.gigabytes() / copy * 100.0),
        ]);
    }
    result(&format!(
        "{STRONG}{isa} · {} · at best {peak:.0} GFLOP/s of f32, a copy {copy:.1} GB/s{STRONG:#}\n\
         {}{FAINT}GFLOP/s count the direct convolution's arithmetic: Winograd does less, and passes 100 %. \
         GB/s count\neach map and weight once.{FAINT:#}",
        crate::message::count(count, "thread"),
        table.render(),
    ))
}

impl Bench {
    /// Runs `work` for the time that a kernel has, at least three times, and keeps the median.
    fn line(
        &mut self,
        name: &'static str,
        algorithm: &'static str,
        amount: Amount,
        mut work: impl FnMut() + Send,
    ) {
        self.threads.run(&mut work);
        let (begin, mut times) = (Instant::now(), Vec::new());
        while times.len() < 3 || begin.elapsed() < self.time {
            let start = Instant::now();
            self.threads.run(&mut work);
            times.push(milliseconds(start));
        }
        times.sort_by(f64::total_cmp);
        self.lines.push(Measured {
            name,
            algorithm,
            milliseconds: median(&times),
            amount,
        });
    }

    fn convolution(&mut self, name: &'static str, layer: [usize; 7]) {
        let [ins, outs, side, stride, dilation, groups, size] = layer;
        let spec = ConvSpec {
            in_channels: ins,
            out_channels: outs,
            kernel: [side; 2],
            stride: [stride; 2],
            padding: [side / 2 * dilation; 2],
            dilation: [dilation; 2],
            groups,
        };
        let isa = self.isa;
        let shape = MapShape::new(1, ins, size, size);
        let out = spec.output(shape).expect("a window that fits");
        let weights = noise(spec.weights_len());
        let bias = noise(outs);
        let kernel = Kernel2d {
            weights: &weights,
            bias: &bias,
        };
        let conv = Convolution::new(isa, spec, kernel, Activation::Relu);
        let count = self.threads.count();
        let plan = self
            .threads
            .run(|| conv.plan(shape, count, WeightMemory::Ample));
        let input = blocked(isa, shape, &noise(shape.planar_len()));
        let mut output = Buffer::zeros(out.blocked_len(isa));
        let mut scratch = Buffer::zeros(plan.scratch_len());
        let amount = Amount {
            multiply_adds: spec.weights_len() * out.pixels(),
            bytes: bytes(&[shape, out]) + spec.weights_len() * size_of::<f32>(),
        };
        self.line(name, plan.algorithm(), amount, || {
            let output = MapMut::whole(isa, out, &mut output);
            conv.run(
                &plan,
                Map::whole(isa, shape, &input),
                output,
                None,
                &mut scratch,
            );
        });
    }

    fn stem(&mut self) {
        let spec = ConvSpec {
            in_channels: 3,
            out_channels: 64,
            kernel: [7; 2],
            stride: [2; 2],
            padding: [3; 2],
            dilation: [1; 2],
            groups: 1,
        };
        let isa = self.isa;
        let shape = MapShape::new(1, 3, 520, 520);
        let out = spec.output(shape).expect("a window that fits");
        let (weights, input) = (noise(spec.weights_len()), noise(shape.planar_len()));
        let kernel = Kernel2d {
            weights: &weights,
            bias: &[],
        };
        let conv = Convolution::on_picture(isa, spec, kernel, Activation::Relu).expect("a kernel");
        let plan = conv.plan(shape, self.threads.count(), WeightMemory::Ample);
        let mut scratch = Buffer::zeros(plan.scratch_len());
        let mut output = Buffer::zeros(out.blocked_len(isa));
        let amount = Amount {
            multiply_adds: spec.weights_len() * out.pixels(),
            bytes: bytes(&[shape, out]),
        };
        self.line("stem 7×7 stride 2", plan.algorithm(), amount, || {
            let output = MapMut::whole(isa, out, &mut output);
            conv.run_on_picture(&plan, &input, output, &mut scratch);
        });
    }

    fn transposed(&mut self) {
        let spec = TransposedSpec {
            in_channels: 256,
            out_channels: 128,
            kernel: [2; 2],
            stride: [2; 2],
            padding: [0; 2],
            output_padding: [0; 2],
            dilation: [1; 2],
            groups: 1,
        };
        let isa = self.isa;
        let shape = MapShape::new(1, 256, 64, 64);
        let out = spec.output(shape).expect("an output");
        let weights = noise(spec.weights_len());
        let kernel = Kernel2d {
            weights: &weights,
            bias: &[],
        };
        let conv = TransposedConvolution::new(isa, spec, kernel, Activation::Relu);
        let input = blocked(isa, shape, &noise(shape.planar_len()));
        let mut output = Buffer::zeros(out.blocked_len(isa));
        let amount = Amount {
            multiply_adds: spec.weights_len() * shape.pixels(),
            bytes: bytes(&[shape, out]),
        };
        self.line("U-Net transposed 2×2", "phases", amount, || {
            let output = MapMut::whole(isa, out, &mut output);
            conv.run(Map::whole(isa, shape, &input), output);
        });
    }

    /// Kernels that memory bounds.
    fn others(&mut self) {
        let pool = PoolSpec {
            kernel: 3,
            stride: 2,
            padding: 1,
        };
        let large = MapShape::new(1, 64, 260, 260);
        let half = MapShape::new(1, 64, 130, 130);
        self.map("max pool 3×3 stride 2", large, half, |x, to| {
            max_pool(x, pool, to);
        });
        self.map("SiLU", large, large, |x, to| apply(x, to, Activation::Silu));
        self.map("bilinear ×2", half, large, |x, to| {
            resize_bilinear(x, to, false);
        });

        let (isa, classes, side) = (self.isa, 21, 520);
        let values = noise(classes * side * side);
        let size = [768, 1024];
        let mut output = vec![0_u8; size[0] * size[1]];
        let amount = Amount {
            multiply_adds: 0,
            bytes: size_of_val(&values[..]) + output.len(),
        };
        self.line(
            "21 classes to a label map",
            "resize, argmax",
            amount,
            || {
                let logits = Logits::whole(&values, classes, [side; 2]);
                labels(isa, logits, size, &mut output);
            },
        );
    }

    fn map(
        &mut self,
        name: &'static str,
        from: MapShape,
        to: MapShape,
        kernel: impl Fn(Map<'_>, &mut MapMut<'_>) + Send + Sync,
    ) {
        let isa = self.isa;
        let input = blocked(isa, from, &noise(from.planar_len()));
        let mut output = Buffer::zeros(to.blocked_len(isa));
        let amount = Amount {
            multiply_adds: 0,
            bytes: bytes(&[from, to]),
        };
        self.line(name, "", amount, || {
            kernel(
                Map::whole(isa, from, &input),
                &mut MapMut::whole(isa, to, &mut output),
            );
        });
    }
}

fn bytes(maps: &[MapShape]) -> usize {
    let values = maps.iter().map(|map| map.batch * map.planar_len());
    values.sum::<usize>() * size_of::<f32>()
}

fn noise(len: usize) -> Vec<f32> {
    let mut random = Random::new(1);
    (0..len).map(|_| random.symmetric()).collect()
}
