//! The command line as clap reads it: each flag is defined here, once; help and completions follow.

use std::path::PathBuf;
use std::sync::LazyLock;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use segmenta::Resize;
use segmenta_graph::Shape;
use segmenta_runtime::Isa;

use super::bench::BenchArgs;
use super::data::DataArgs;
use super::segment::SegmentArgs;
use super::values::{crop, deviation, fraction, mean, number, probability, resize, shape};

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let isa = Isa::available().into_iter().map(|isa| isa.to_string());
    let isa: Vec<String> = isa.collect();
    format!(
        "{} (this processor: {})",
        env!("CARGO_PKG_VERSION"),
        isa.join(", ")
    )
});

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const PICTURES: &str = "How pictures are read";
const NETWORK: &str = "Network";
pub(crate) const WRITTEN: &str = "What is written";

#[cfg(feature = "train")]
const TRAIN_HELP: &str = "\
Examples:
  segmenta train pets-segnet --data pets -o runs/pets
  segmenta train my.toml --data scans --set model.arch=unet --set model.encoder=resnet34
  segmenta train runs/pets/config.toml --data pets -o runs/pets --resume
  segmenta train voc -m unet -g 0 --data VOCdevkit/VOC2012

Recipes that come along: camvid-unet, nuclei-unet, person-unet, pets-segnet, pets-segnet-separable,
pets-vit, torchvision-reference, voc-deeplab, voc-fcn, voc-fcn8s, voc-unet. A recipe of your own
says only what differs from the defaults, which --explain lists.

The folder gets model.safetensors (the best epoch: give it to `segmenta predict --weights`),
last.safetensors (for --resume), metrics.csv, TensorBoard events, previews, report.html.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C (--resume goes on).";

/// Semantic segmentation: a network gives every pixel of a photograph a class.
#[derive(Debug, Parser)]
#[command(
    name = "segmenta",
    version = VERSION.as_str(),
    styles = STYLES,
    max_term_width = 100,
    arg_required_else_help = true,
    after_help = "\
Begin with:
  segmenta demo                                         see it work, without data or network
  segmenta models                                       what there is
  segmenta predict photo.jpg --model fcn_resnet50       weights are pulled on first use
  segmenta predict --help                               everything predict can do

Environment:
  SEGMENTA_HOME     folder of downloaded weights
  SEGMENTA_HUB      a mirror to pull them from
  SEGMENTA_DATA     a mirror of published data sets
  SEGMENTA_OFFLINE  1: never use the network
  SEGMENTA_ISA      instruction set to use, slower than the processor's best
  SEGMENTA_ENGINE   what multiplies in bf16 and int8: amx, avx512-vnni, portable, …

Exit codes: 0 done, 1 failed (also if some of several inputs failed), 2 wrong usage."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// No progress, no summary: only errors, warnings and what --json writes
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Segment photographs: masks, overlays and the share of every class
    Predict(Box<Predict>),
    /// What networks there are; `show` one, `pull` its weights
    Models(ModelsArgs),
    /// What is in a file of weights: names, shapes, statistics
    Weights(Weights),
    /// A raw NCHW tensor through a network, to compare with another framework
    Forward(Forward),
    /// Data sets: check, count classes, split, preview augmentation, convert annotations
    Data(Box<DataArgs>),
    /// How fast a network runs here
    Bench(BenchArgs),
    /// Train a network: a recipe and a folder of data become a model, with a report
    #[cfg(feature = "train")]
    #[command(after_help = TRAIN_HELP)]
    Train(super::train::Train),
    /// Measure a model on pictures whose truth is known, at their own size
    #[command(after_help = "\
Examples:
  segmenta eval --weights runs/pets/model.safetensors --data pets --split test
  segmenta eval --weights runs/x/model.safetensors --images photos --masks truth --json
  segmenta eval --model fcn_resnet50 --data VOCdevkit/VOC2012 --split val
  segmenta eval --weights field.safetensors --data fields --tile 512 --tta flip

Every score says its protocol: what was counted together, what was averaged, what was ignored, and
how pictures were segmented where that is not in one piece.")]
    Eval(super::eval::Eval),
    /// Two models, or two precisions of one, on the same pictures: what differs, and whether that is more than chance
    Compare(Box<super::compare::Compare>),
    /// A model in 8 bits: calibrated on pictures, measured, kept within a bound
    ///
    /// Each value of the network gets a range of 256 numbers, found by watching it on pictures; weights get a scale for
    /// each output channel. What has no kernel for 8 bits stays in f32, and so do, where the score drops by more than
    /// --max-drop, the layers that hurt most. The file that is written holds
    /// weights of 8 bits, is used as any model file, and computes in int8 unless --precision says otherwise.
    #[command(after_help = "\
Examples:
  segmenta quantize runs/pets/model.safetensors --data pets
  segmenta quantize --model fcn_resnet50 --data VOCdevkit/VOC2012 --max-drop 0.3 -o fcn.int8.safetensors
  segmenta quantize street.safetensors --images photos --pictures 50
  segmenta eval --weights model.int8.safetensors --data pets
  segmenta bench forward --weights model.int8.safetensors --input 1x3x512x512")]
    Quantize(Box<super::quantize::Quantize>),
    /// A model as an ONNX file, for other runtimes
    ///
    /// The network in single precision, with ONNX's own operations, its values named as its modules; classes, colours and
    /// preprocessing stand in the file's metadata. Unless --size says otherwise one file serves pictures of all sizes.
    #[command(after_help = "\
Examples:
  segmenta export runs/pets/model.safetensors -o pets.onnx
  segmenta export --model fcn_resnet50 -o fcn.onnx --size 520x520
  segmenta export street.safetensors -o street.onnx --with-preprocessing --labels")]
    Export(Box<super::export::Export>),
    /// Networks behind HTTP: an API, KServe V2, Hugging Face's task, a page for people
    #[cfg(feature = "serve")]
    Serve(Box<super::serve::Serve>),
    #[cfg(feature = "serve")]
    View(super::view::View),
    /// The whole job on pictures made here: no data, no download
    Demo(Demo),
    /// Write a completion script for a shell
    #[command(after_help = "\
Examples:
  segmenta completions bash > ~/.local/share/bash-completion/completions/segmenta
  segmenta completions zsh > ~/.zfunc/_segmenta")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Which network, with which weights.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = NETWORK)]
pub(crate) struct ModelArgs {
    /// The network, as `segmenta models` lists them: a model file knows its own, and the tensors' names usually say it.
    /// Or a model: a repository of the Hugging Face hub, OWNER/NAME[@REVISION], or a folder as save_pretrained writes it
    #[arg(short, long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// The encoder, for networks that take one, as `segmenta models encoders` lists them. Usually the weights say it
    #[arg(long, value_name = "NAME")]
    pub(crate) encoder: Option<String>,
    /// A setting of SMP's networks, where the weights do not say it: encoder_output_stride=8
    #[arg(long, value_name = "NAME=VALUE", value_parser = super::model::setting)]
    pub(crate) set: Vec<(String, String)>,
    /// Weights: .pth, .pt or .safetensors, or a folder with a config.json. Without it the published ones are pulled on
    /// first use
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub(crate) weights: Option<PathBuf>,
    /// Which of a checkpoint's networks to take, by its key: ema_state_dict. Needed where it holds several
    #[arg(long, value_name = "KEY")]
    pub(crate) weights_key: Option<String>,
    /// How tensors of the file find their place: `by-order` takes them one after the other, by shape, for networks
    /// of your own that have the same layers under other names [default: by-name]
    #[arg(long = "match", value_name = "HOW")]
    pub(crate) matching: Option<NameUse>,
    /// Number of classes. Usually the weights say it
    #[arg(long, value_name = "N", value_parser = number(1..=256))]
    pub(crate) classes: Option<usize>,
    /// Threads to compute with [default: one a core]
    #[arg(long, value_name = "N", value_parser = number(1..=1024))]
    pub(crate) threads: Option<usize>,
    /// `brief` transforms weights anew for each picture, in less memory; `low` leaves that out:
    /// slower, in a third of it [default: brief for one picture, otherwise ample]
    #[arg(long, value_name = "HOW MUCH")]
    pub(crate) memory: Option<MemoryUse>,
    /// In what the network computes. `bf16` stores and multiplies in bf16 and sums in f32: faster where the processor has
    /// instructions for it, with labels that differ in a few pixels of a thousand. `int8` is for model files that
    /// `segmenta quantize` wrote. `auto` is what the model file says, or f32 [default: auto]
    #[arg(long, value_name = "PRECISION")]
    pub(crate) precision: Option<PrecisionUse>,
}

/// What classes are called and how they are drawn, for files that do not say it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = NETWORK)]
pub(crate) struct ClassArgs {
    /// The classes' names in the order of their ids: sky,tree,road, or a file with one a line [default: the model file's]
    #[arg(long, value_name = "NAMES|FILE")]
    pub(crate) names: Option<String>,
    /// The classes' colours: voc, torchvision (as draw_segmentation_masks has them), cityscapes, ade20k, or a file with a
    /// class and its red, green and blue a line [default: the model file's, or voc]
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) palette: Option<String>,
}

/// How tensors of a file find their place.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum NameUse {
    // By their names, behind whatever prefix.
    ByName,
    // By their order and shapes.
    ByOrder,
}

/// In what a network computes.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum PrecisionUse {
    // Single precision, until a model file says otherwise.
    Auto,
    // Single precision.
    F32,
    // Half as many bits, with sums in single precision.
    Bf16,
    // 8 bits, by the ranges that a model file has.
    Int8,
}

/// How much memory weights may take.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum MemoryUse {
    // Weights transformed for the fastest algorithms, kept for the next picture.
    Ample,
    // The same, but made anew for each picture.
    Brief,
    // The weights alone.
    Low,
}

/// Segment photographs: masks, overlays and the share of every class.
///
/// For each picture this writes STEM.mask.png, a palette PNG of class ids at the photograph's own
/// size, and STEM.overlay.png, the photograph under the classes' colours; and for all of them
/// predictions.json: shares of the classes, sizes, times.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Names: a picture found in a folder keeps its sub-folder, so `photos/cats/1.jpg` becomes
`cats/1.mask.png`. Two pictures that would get one name keep their extension (`a.jpg.mask.png`),
or are told apart by their folder. Hidden files and what is no picture are passed over.

Failures: what can be done is done. What failed is listed at the end, and the exit code is 1.

Examples:
  One photograph, with weights of your own:
    segmenta predict photo.jpg --model deeplabv3_resnet50 --weights best.pth
  A folder of class folders; four pictures of it, as grids:
    segmenta predict test_set --model fcn_resnet50 --resize 224x224 --sample 4 --grid
  The same as PyTorch Hub's page on FCN has it:
    segmenta predict test_set --recipe torch-hub-fcn
  Whatever has a class, cut out of all holiday pictures:
    segmenta predict 'holiday/**/*.jpg' -m lraspp_mobilenet_v3_large --what cutout
  A network of the Hugging Face hub, kept in the cache that Python shares:
    segmenta predict street.jpg -m nvidia/segformer-b5-finetuned-cityscapes-1024-1024
  A huge aerial picture, in bounded memory:
    segmenta predict field.tif --weights field.safetensors --tile 512
  For a program:
    segmenta predict photo.jpg -m fcn_resnet50 --json | jq .classes")]
pub(crate) struct Predict {
    /// Pictures, folders (searched recursively), globs (in quotes: '**/*.jpg') and URLs of pictures
    #[arg(required = true, value_name = "INPUT", value_hint = ValueHint::AnyPath)]
    pub(crate) inputs: Vec<PathBuf>,
    /// Options from a file, or a tutorial's: torch-hub-fcn, fcn-deeplab-voc. What is typed beside it wins
    #[arg(long, value_name = "RECIPE")]
    pub(crate) recipe: Option<String>,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) classes: ClassArgs,
    /// Of a network of one class: the probability above which a pixel is of it [default: the model file's, or 0.5]
    #[arg(long, value_name = "P", value_parser = probability, help_heading = NETWORK)]
    pub(crate) threshold: Option<f32>,

    /// Folder for what is written; made if it is not there
    #[arg(short, long, value_name = "DIR", default_value = "segmentation", help_heading = WRITTEN, value_hint = ValueHint::DirPath)]
    pub(crate) out: PathBuf,
    /// What to write for each picture
    #[arg(long, value_delimiter = ',', default_value = "mask,overlay", help_heading = WRITTEN)]
    pub(crate) what: Vec<What>,
    /// At which size: the photograph's, or the network's own pixels, none of them interpolated
    #[arg(long, value_name = "SIZE", default_value = "photograph", help_heading = WRITTEN)]
    pub(crate) size: LabelSize,
    /// Strength of the colours in overlays, 0 to 1
    #[arg(long, default_value_t = 0.6, value_parser = fraction, help_heading = WRITTEN)]
    pub(crate) alpha: f64,
    /// Name the classes beside every overlay
    #[arg(long, help_heading = WRITTEN)]
    pub(crate) legend: bool,
    /// Also two sheets, four pictures a row: image_samples.png and segmentation_output.png
    ///
    /// They show the pictures at the size that the network saw, at most 64 of them.
    #[arg(long, help_heading = WRITTEN)]
    pub(crate) grid: bool,
    /// A line of JSON a picture on standard output, and nothing else there
    #[arg(long, help_heading = WRITTEN)]
    pub(crate) json: bool,

    /// Resize before the network: 520 (short side), long:513, 224x224 (width x height), none
    ///
    /// Without it pictures are resized, padded and normalised as the weights were trained, or, with --tile,
    /// keep their size. With it the padding is left out too.
    #[arg(long, value_parser = resize, help_heading = PICTURES)]
    pub(crate) resize: Option<Resize>,
    /// Then cut this from the centre: 224 or 320x240; the rest of the picture stays void
    #[arg(long, value_name = "SIZE", conflicts_with = "tile", value_parser = crop, help_heading = PICTURES)]
    pub(crate) center_crop: Option<[usize; 2]>,
    /// Mean of red, green and blue, of values in 0 to 1: 0.485,0.456,0.406
    #[arg(long, value_name = "R,G,B", value_parser = mean, help_heading = PICTURES)]
    pub(crate) mean: Option<[f32; 3]>,
    /// Their standard deviation: 0.229,0.224,0.225
    #[arg(long, value_name = "R,G,B", value_parser = deviation, help_heading = PICTURES)]
    pub(crate) std: Option<[f32; 3]>,
    /// Only so many of the pictures, chosen at random
    #[arg(long, value_name = "N", value_parser = number(1..=usize::MAX), help_heading = PICTURES)]
    pub(crate) sample: Option<usize>,
    /// Which random choice: the same seed gives the same pictures
    #[arg(long, value_name = "S", default_value_t = 0, requires = "sample", help_heading = PICTURES)]
    pub(crate) seed: u64,

    /// Where to compute: cpu. (Networks learn on GPUs, too: segmenta train --device)
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = super::values::device, help_heading = NETWORK)]
    pub(crate) device: String,
    /// Pictures to put through the network together, where their sizes agree
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = number(1..=256), help_heading = NETWORK)]
    pub(crate) batch: usize,
    #[command(flatten)]
    pub(crate) segment: SegmentArgs,
}

/// At which size results are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LabelSize {
    // The photograph's.
    Photograph,
    // The network's.
    Network,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// STEM.mask.png: a palette PNG of class ids
    Mask,
    /// STEM.overlay.png: the photograph under the classes' colours
    Overlay,
    /// STEM.probability.png: how sure the network is of each pixel, black 0 to white 1
    Probability,
    /// STEM.cutout.png: the photograph where there is any class but the background
    Cutout,
    /// STEM.logits.npy: the logit of each class at each pixel, 1×classes×height×width, for NumPy
    Logits,
    /// STEM.probabilities.npy: the probability of each class at each pixel, likewise
    Probabilities,
}

/// What networks there are; `show` one, `pull` its weights.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ModelsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<Models>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Models {
    /// A network's layers: shapes, parameters, multiply-adds, memory
    #[command(after_help = "\
Examples:
  segmenta models show deeplabv3_resnet50
  segmenta models show fcn_resnet50 --classes 3 --input 4x3x224x224 --aux
  segmenta models show unet --encoder efficientnet-b3 --input 1x3x256x192
  segmenta models show fpn --encoder mit_b0 --set decoder_merge_policy=cat
  segmenta models show unet --set encoder_depth=3 --set decoder_channels=[128,64,32]
  segmenta models show nvidia/segformer-b0-finetuned-ade-512-512")]
    Show(Show),
    /// Names of the Hugging Face hub to use with --model: those in whose name, field, class or data a word stands
    #[command(after_help = "\
Examples:
  segmenta models search face
  segmenta models search driving

What is empty is not known here; the repository's page says it.")]
    Search {
        /// The word
        word: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// The encoders that SMP's networks can stand on, by family: parameters, channels, strides and weights
    #[command(after_help = "\
Examples:
  segmenta models encoders
  segmenta models encoders resnet50")]
    Encoders {
        /// An encoder: where its weights are, and their licences
        name: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Download published weights: goes on where it was cut, and checks the SHA-256
    #[command(after_help = "\
Examples:
  segmenta models pull fcn_resnet101
  segmenta models pull --all
  segmenta models pull resnet34
  segmenta models pull resnet18 --weights swsl

The path of each file is written to standard output. `predict` and `train` do the same on first use. An encoder's
weights of the Hugging Face hub lie in the cache that Python shares.")]
    Pull(Pull),
    /// Write a model file as a folder that Python's `from_pretrained` reads, with the same numbers
    #[command(after_help = "\
Examples:
  segmenta models save runs/faces/model.safetensors -o faces
  python -c \"from transformers import AutoModelForSemanticSegmentation as A; A.from_pretrained('faces')\"
  segmenta models save runs/nuclei/model.safetensors -o nuclei
  python -c \"import segmentation_models_pytorch as smp; smp.from_pretrained('nuclei')\"

Networks of transformers' classes become folders of transformers (config.json, preprocessor_config.json,
model.safetensors), SMP's architectures folders of segmentation_models_pytorch.")]
    Save(Save),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Save {
    /// The model: a file, as training leaves it, or a folder
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) weights: PathBuf,
    /// The folder to write, which holds no model yet
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) out: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// The network; or a model's: a repository of the Hugging Face hub or a folder like one
    pub(crate) name: String,
    /// The encoder, for networks that take one
    #[arg(long, value_name = "NAME")]
    pub(crate) encoder: Option<String>,
    /// A setting of SMP's networks, by the name of SMP's keyword argument; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = super::model::setting)]
    pub(crate) set: Vec<(String, String)>,
    /// Number of classes [default: a model's own, or 21]
    #[arg(long, value_name = "N", value_parser = number(1..=256))]
    pub(crate) classes: Option<usize>,
    /// Shape of the input: batch x channels x height x width
    #[arg(long, default_value = "1x3x520x520", value_name = "NxCxHxW", value_parser = shape)]
    pub(crate) input: Shape,
    /// With the auxiliary head
    #[arg(long)]
    pub(crate) aux: bool,
    /// Multiplier of the encoder's channels, where a network has one
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    pub(crate) width: f64,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Pull {
    /// Networks and encoders whose weights to pull
    #[arg(required_unless_present = "all", value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Of encoders, which weights, as `segmenta models encoders` lists them [default: imagenet]
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    pub(crate) weights: Option<String>,
    /// All that are published for whole networks
    #[arg(long, conflicts_with = "names")]
    pub(crate) all: bool,
}

/// What is in a file of weights: names, types, shapes, statistics, and the network that they are of.
///
/// Reads .pth, .pt and .ckpt of every PyTorch (nothing in them is ever executed) and .safetensors.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  segmenta weights best.pth
  segmenta weights fcn.pth --filter layer4.2 --no-stats")]
pub(crate) struct Weights {
    /// The file; of sharded safetensors, the .index.json
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Only tensors whose name contains this
    #[arg(long, value_name = "TEXT")]
    pub(crate) filter: Option<String>,
    /// Name the network under this key of a checkpoint, where it holds several
    #[arg(long, value_name = "KEY")]
    pub(crate) weights_key: Option<String>,
    /// Do not read the numbers: faster on large files
    #[arg(long)]
    pub(crate) no_stats: bool,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A raw NCHW tensor through a network, to compare with another framework.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  python -c 'import numpy as np; np.save(\"x.npy\", np.zeros((1, 3, 224, 224), np.float32))'
  segmenta forward --model fcn_resnet50 --classes 21 --weights f.pth --input x.npy --output y.npy")]
pub(crate) struct Forward {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// A .npy file: four axes (NCHW), f32 or f64, as np.save writes it
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) input: PathBuf,
    /// The .npy file to write: f32, NCHW
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: PathBuf,
    /// Which of the network's results: out, aux, label; of networks of queries class_queries_logits and
    /// masks_queries_logits, too
    #[arg(long, default_value = "out")]
    pub(crate) name: String,
    /// Write the result even if NaN or infinities are among its numbers or the tensor's
    #[arg(long)]
    pub(crate) allow_nan: bool,
}

/// The whole job on pictures made here: no data, no download.
///
/// Paints road scenes, trains a small network on them for about a minute, and shows what it says of scenes that
/// it has not seen, beside the truth, which the painter knows. Look at comparison.png and run/report.html.
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// Folder for the pictures; made if it is not there
    #[arg(short, long, value_name = "DIR", default_value = "segmenta-demo", value_hint = ValueHint::DirPath)]
    pub(crate) out: PathBuf,
    /// Train nothing: take the small network that is part of this program. A second
    // A program that was built without training does so in any case.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Sets a key of the training's recipe: --set train.epochs=3
    #[cfg(feature = "train")]
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }
}
