//! What `segmenta train` can be asked.

use std::path::PathBuf;

use segmenta_train::engine::DeviceSpec;

use super::super::values::number;
use clap::{Args, ValueHint};

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Train {
    /// A recipe: a TOML file, or the name of one that comes with Segmenta (see below). With --resume it may be left
    /// out; given, it is compared with what the run was begun with
    #[arg(value_name = "RECIPE", required_unless_present_any = ["explain", "resume"], value_hint = ValueHint::FilePath)]
    pub(crate) recipe: Option<String>,
    /// The folder of the data set [default with --resume: where it was]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) data: Option<PathBuf>,
    /// The run's folder [default: runs/RECIPE]
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) out: Option<PathBuf>,
    /// Sets a key of the recipe: --set train.epochs=20. May be given again and again. A run that goes on takes how
    /// long it goes on (train.epochs, train.early_stop) and what changes no result; other keys are refused
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// The network, for `segmenta train voc -m unet`: unet (double convolutions), fcn (FCN-32s on ResNet-18) or deeplab
    /// (DeepLabV3 on ResNet-50)
    #[arg(short, long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// Where to compute: cpu, cuda, cuda:N, wgpu, wgpu:N (GPUs need a build with the feature)
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub(crate) device: DeviceSpec,
    /// The GPU's number, as the tutorials have it; the processor where this build has no code for one
    #[arg(short, long, value_name = "N", conflicts_with = "device")]
    pub(crate) gpu: Option<usize>,
    /// Go on with the run in the folder, from its last checkpoint
    #[arg(long, conflicts_with = "overwrite")]
    pub(crate) resume: bool,
    /// Begin anew where there is a run already
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Threads to compute with [default: one a core]
    #[arg(long, value_name = "N", value_parser = number(1..=1024))]
    pub(crate) threads: Option<usize>,
    /// Stop after so many steps; --resume goes on
    #[arg(long, value_name = "N", value_parser = number(1..=usize::MAX))]
    pub(crate) max_steps: Option<usize>,
    /// Look at every value, so that a NaN names the node that made it. Slow
    #[arg(long)]
    pub(crate) debug_numerics: bool,
    /// Every key of a recipe, with its meaning and default
    #[arg(long, exclusive = true)]
    pub(crate) explain: bool,
}
