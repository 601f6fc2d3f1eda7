//! The flags of `segmenta bench`.

use clap::Subcommand;
use segmenta_graph::Shape;

use crate::args::ModelArgs;
use crate::values::{number, shape};

#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) command: Bench,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Time from a tensor in memory to logits, with random weights
    #[command(after_help = "\
Examples:
  segmenta bench forward --model fcn_resnet50 --classes 21 --input 1x3x520x520 --runs 5 --json
  segmenta bench forward --model unet --encoder resnet34 --classes 1 --input 1x3x512x512
  segmenta bench forward --model lraspp_mobilenet_v3_large --profile")]
    Forward(BenchForward),
    /// Time of a training step: forward, loss, backward, optimiser, with random weights
    #[cfg(feature = "train")]
    #[command(after_help = "\
Examples:
  segmenta bench step --model unet --encoder resnet18 --classes 21 --input 8x3x256x256
  segmenta bench step --model segnet --classes 3 --input 16x3x128x128 --loss ce --optimizer adam --json
  segmenta bench step --model unet --encoder efficientnet-b3 --classes 1 --loss bce --profile")]
    Step(BenchStep),
    /// Time of each kernel beside what this machine could do at best
    #[command(after_help = "\
Examples:
  segmenta bench kernels
  SEGMENTA_ISA=avx2 segmenta bench kernels --threads 1 --json")]
    Kernels(BenchKernels),
}

#[derive(Debug, clap::Args)]
pub(crate) struct BenchKernels {
    /// Threads to compute with [default: one a core]
    #[arg(long, value_name = "N", value_parser = number(1..=1024))]
    pub(crate) threads: Option<usize>,
    /// Seconds for each kernel
    #[arg(long, default_value_t = 0.3, value_name = "S", value_parser = seconds)]
    pub(crate) seconds: f64,
    /// One line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct BenchForward {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Shape of the input: batch x channels x height x width
    #[arg(long, default_value = "1x3x520x520", value_name = "NxCxHxW", value_parser = shape)]
    pub(crate) input: Shape,
    /// Runs that are timed
    #[arg(long, default_value_t = 5, value_name = "R", value_parser = number(1..=1_000_000))]
    pub(crate) runs: usize,
    /// Runs before them that are not
    #[arg(long, default_value_t = 1, value_name = "R", value_parser = number(0..=1_000_000))]
    pub(crate) warmup: usize,
    /// The time of every step
    #[arg(long)]
    pub(crate) profile: bool,
    /// One line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(feature = "train")]
#[derive(Debug, clap::Args)]
pub(crate) struct BenchStep {
    /// The network, as `segmenta models` lists them
    #[arg(short, long, value_name = "NAME")]
    pub(crate) model: String,
    /// The encoder, for networks that take one, as `segmenta models encoders` lists them
    #[arg(long, value_name = "NAME")]
    pub(crate) encoder: Option<String>,
    /// Number of classes
    #[arg(long, default_value_t = 21, value_name = "N", value_parser = number(1..=256))]
    pub(crate) classes: usize,
    /// Shape of a batch: pictures x channels x height x width
    #[arg(long, default_value = "8x3x256x256", value_name = "NxCxHxW", value_parser = shape)]
    pub(crate) input: Shape,
    /// The loss: ce, bce, dice, focal, ... [default: ce, or bce for one class]
    #[arg(long, value_name = "NAME")]
    pub(crate) loss: Option<String>,
    /// The optimiser: sgd (with momentum 0.9), adam, adamw or rmsprop
    #[arg(long, default_value = "adam", value_name = "NAME")]
    pub(crate) optimizer: String,
    /// Where to compute: cpu, cuda, cuda:N, wgpu, wgpu:N, flex (as on GPUs, on the processor); all but cpu need a build
    /// with the feature
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub(crate) device: segmenta_train::engine::DeviceSpec,
    /// Threads to compute with [default: one a core]
    #[arg(long, value_name = "N", value_parser = number(1..=1024))]
    pub(crate) threads: Option<usize>,
    /// Steps that are timed
    #[arg(long, default_value_t = 5, value_name = "R", value_parser = number(1..=1_000_000))]
    pub(crate) runs: usize,
    /// Steps before them that are not
    #[arg(long, default_value_t = 2, value_name = "R", value_parser = number(0..=1_000_000))]
    pub(crate) warmup: usize,
    /// Compute what batch norms wrote again in the backward pass, not keep it
    #[arg(long)]
    pub(crate) checkpointing: bool,
    /// The time of every node, forward and backward, of the loss and of the optimiser
    #[arg(long)]
    pub(crate) profile: bool,
    /// One line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    let value = text.parse().ok();
    let value = value.filter(|seconds| (0.0..=3600.0).contains(seconds));
    value.ok_or_else(|| "seconds, from 0 to 3600".into())
}
