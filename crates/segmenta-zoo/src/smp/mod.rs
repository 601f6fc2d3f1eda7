//! The architectures of segmentation_models_pytorch 0.6, one a file: a decoder on any encoder, and heads.
//!
//! SMP takes sizes that the encoder's stride divides. Here a decoder enlarges a map to the size of the
//! one that it joins, and the head enlarges to the input, so that every size fits; where SMP takes it, the
//! result is the same.

pub(crate) mod deeplabv3;
pub(crate) mod dpt;
pub(crate) mod fpn;
pub(crate) mod linknet;
pub(crate) mod manet;
pub(crate) mod pan;
pub(crate) mod pspnet;
pub(crate) mod segformer;
pub(crate) mod unet;
pub(crate) mod unetplusplus;
pub(crate) mod upernet;

mod blocks;
mod heads;

use std::ops::RangeInclusive;

use segmenta_graph::{Builder, Filter, Graph, GraphError, InitRule, Node, Scope};

use crate::encoders::{Encoder, Features, OutputStride, Site, nearest_encoder};
use crate::options::Options;
use crate::settings::{Channels, Interpolation, LabelHead, Norm, Settings};

/// Gives the shape of an entry of a state dict.
pub(crate) type ShapeOf<'a> = &'a dyn Fn(&str) -> Option<Vec<usize>>;

/// What sets an architecture apart.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// The settings that it takes, beside those that all take.
    pub(crate) settings: &'static [&'static str],
    /// Whether `decoder_channels` are given for each block.
    pub(crate) channels_by_block: bool,
    /// Stages that it reads by default.
    pub(crate) depth: usize,
    /// How many it can read.
    pub(crate) depths: RangeInclusive<usize>,
    /// Whether it stands on a plain transformer.
    pub(crate) on_transformer: bool,
    /// SMP's default.
    pub(crate) default_encoder: &'static str,
    /// Output strides that it takes, the default first.
    pub(crate) output_strides: &'static [usize],
    /// What keeps it from standing on an encoder, in words.
    pub(crate) refuses: fn(&Plan<'_>) -> Option<String>,
    /// Builds it: the map that the segmentation head reads.
    pub(crate) build: BuildDecoder,
    /// What gives logits.
    pub(crate) head: Head,
    /// How decoder and heads are drawn.
    pub(crate) init: [InitRule; 2],
    /// Reads settings from a state dict.
    pub(crate) read: ReadSettings,
    /// The name that an entry had in earlier versions of SMP.
    pub(crate) former: fn(&str) -> Option<String>,
}

/// Builds a decoder: the map that the segmentation head reads.
pub(crate) type BuildDecoder = fn(&mut Builder, &Scope, &Plan<'_>) -> Node;

/// Reads settings from a state dict.
pub(crate) type ReadSettings = fn(&mut Settings, ShapeOf<'_>);

/// What gives a decoder's logits.
#[derive(Debug)]
pub(crate) enum Head {
    /// One convolution with a window of that side.
    Window(usize),
    /// A head of the architecture's own.
    Whole(fn(&mut Builder, Node, &Plan<'_>, usize) -> Node),
}

/// What all decoders take.
pub(crate) const COMMON: [&str; 3] = ["encoder_depth", "activation", "aux_params"];

impl Decoder {
    /// What most are, beside what each must say of itself.
    pub(crate) const fn plain(build: BuildDecoder, read: ReadSettings) -> Self {
        Self {
            settings: &[],
            channels_by_block: false,
            depth: 5,
            depths: 3..=5,
            on_transformer: false,
            default_encoder: "resnet34",
            output_strides: &[32],
            refuses: |_| None,
            build,
            head: Head::Window(3),
            init: [InitRule::KaimingUniform, InitRule::XavierUniform],
            read,
            former: |_| None,
        }
    }

    /// Names of the settings that it takes.
    pub(crate) fn takes(&self) -> Vec<&'static str> {
        COMMON.iter().chain(self.settings).copied().collect()
    }
}

/// What a decoder is built from.
pub(crate) struct Plan<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) encoder: &'static Encoder,
    pub(crate) input: Node,
    pub(crate) features: Features,
    /// Stages that are read.
    pub(crate) depth: usize,
}

impl Plan<'_> {
    /// The last map that is read.
    pub(crate) fn last(&self) -> Node {
        if let Some(block) = dpt::read_blocks(self).last() {
            return block.patches;
        }
        // Only level 1 is ever lacking, and nobody reads so few.
        self.features.level(self.depth).unwrap_or(self.input)
    }

    /// The norm after convolutions.
    pub(crate) fn norm(&self) -> Norm {
        self.settings.decoder_use_norm.unwrap_or_default()
    }

    /// How a U-Net enlarges.
    pub(crate) fn filter(&self) -> Filter {
        match self.settings.decoder_interpolation {
            Some(Interpolation::Bilinear) => Filter::BILINEAR,
            Some(Interpolation::Nearest) | None => Filter::Nearest,
        }
    }

    /// The one number of channels of a decoder.
    pub(crate) fn width(&self, default: usize) -> usize {
        match self.settings.decoder_channels {
            Some(Channels::One(channels)) => channels,
            _ => default,
        }
    }

    /// Channels of each block of a U-Net; by default SMP's for five, shallower ones taking the last.
    pub(crate) fn each_width(&self) -> &[usize] {
        const CHANNELS: [usize; 5] = [256, 128, 64, 32, 16];
        match &self.settings.decoder_channels {
            Some(Channels::Each(channels)) => channels,
            _ => &CHANNELS[CHANNELS.len() - self.depth..],
        }
    }
}

/// Why an architecture was not built.
pub(crate) enum Refusal {
    /// What the options contradict, in words.
    Option(String),
    /// A mistake in a description.
    Graph(GraphError),
}

impl From<String> for Refusal {
    fn from(problem: String) -> Self {
        Self::Option(problem)
    }
}

impl From<GraphError> for Refusal {
    fn from(error: GraphError) -> Self {
        Self::Graph(error)
    }
}

/// Builds an architecture on an encoder.
pub(crate) fn build(
    decoder: &Decoder,
    options: &Options,
    encoder: &'static Encoder,
) -> Result<Graph, Refusal> {
    let settings = &options.settings;
    settings.check(options.classes)?;
    let depth = settings.encoder_depth.unwrap_or(decoder.depth);
    if !decoder.depths.contains(&depth) {
        let (least, most) = (decoder.depths.start(), decoder.depths.end());
        return Err(format!("takes an encoder of {least} to {most} stages, not {depth}").into());
    }
    let strides = decoder.output_strides;
    let output_stride = settings.encoder_output_stride.unwrap_or(strides[0]);
    if !strides.contains(&output_stride) {
        let problem = format!("takes an output stride of {strides:?}, not {output_stride}");
        return Err(problem.into());
    }
    if output_stride < 32 && !encoder.family().dilates() {
        return Err(format!("dilates its encoder, which `{}` cannot", encoder.name).into());
    }
    each_width_fits(settings, decoder, depth)?;

    let root = Scope::root();
    let (mut g, input) = Builder::new(options.in_channels);
    let site = Site {
        name: &(&root / "encoder"),
        input,
        output_stride: OutputStride(output_stride),
        depth,
    };
    let plan = Plan {
        settings,
        encoder,
        input,
        features: encoder.build(&mut g, &site),
        depth,
    };
    if plan.features.blocks.is_empty() == decoder.on_transformer {
        let kind = if decoder.on_transformer {
            "a plain transformer, such as `tu-vit_small_patch16_224`"
        } else {
            "an encoder whose maps halve, such as `resnet34`"
        };
        let name = encoder.name;
        return Err(format!("takes {kind}; `{name}` is none").into());
    }
    if let Some(reason) = (decoder.refuses)(&plan) {
        return Err(reason.into());
    }
    g.set_init(decoder.init[0]);
    let x = (decoder.build)(&mut g, &(&root / "decoder"), &plan);
    g.set_init(decoder.init[1]);
    let classes = options.classes;
    let logits = match decoder.head {
        Head::Window(side) => heads::segmentation(&mut g, x, &plan, side, classes),
        Head::Whole(head) => head(&mut g, x, &plan, classes),
    };
    g.output("out", logits);
    if let Some(head) = settings.aux_params {
        let label = heads::classification(&mut g, plan.last(), head);
        g.output("label", label);
    }
    Ok(g.finish()?)
}

/// Whether channels are given as the decoder takes them.
fn each_width_fits(settings: &Settings, decoder: &Decoder, depth: usize) -> Result<(), String> {
    let each = decoder.channels_by_block;
    match &settings.decoder_channels {
        Some(Channels::Each(channels)) if each && channels.len() != depth => Err(format!(
            "takes as many decoder channels as its encoder is deep: {depth}, not {}",
            channels.len()
        )),
        Some(Channels::Each(_)) if !each => Err("takes one number as its decoder channels".into()),
        Some(Channels::One(_)) if each => Err(format!(
            "takes decoder channels for each block of its decoder: {depth} in all"
        )),
        _ => Ok(()),
    }
}

/// What a state dict says of the options with which its network was built.
pub(crate) fn read_options(decoder: &Decoder, options: &mut Options, shape_of: ShapeOf<'_>) {
    let name = &Scope::root() / "encoder";
    options.encoder = nearest_encoder(&name, shape_of);
    (decoder.read)(&mut options.settings, shape_of);
    options.settings.aux_params =
        extent(shape_of, "classification_head.3.weight", 0).map(LabelHead::new);
}

/// One extent of an entry.
pub(crate) fn extent(shape_of: ShapeOf<'_>, name: &str, axis: usize) -> Option<usize> {
    shape_of(name)?.get(axis).copied()
}
