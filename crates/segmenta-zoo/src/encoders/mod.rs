//! Encoders by name: what any decoder can stand on. A family is a file and a row in [`FAMILIES`].

mod densenet;
mod dpn;
mod efficientnet;
mod inception_resnet_v2;
mod inception_v4;
mod mix_transformer;
pub(crate) mod mobilenet_v2;
pub(crate) mod mobilenet_v3;
mod mobileone;
pub(crate) mod resnet;
mod senet;
mod sknet;
mod timm;
mod timm_efficientnet;
mod vgg;
mod vision_transformer;
mod xception;

use segmenta_graph::{Builder, Conv2d, Graph, Node, Parameter, Pool2d, Role, Scope, Shape};

use crate::registry::{ZooError, nearest};
use crate::smp::ShapeOf;

/// All families, in the order in which they are listed to people.
static FAMILIES: [&Family; 23] = [
    &resnet::FAMILY,
    &senet::FAMILY,
    &sknet::FAMILY,
    &dpn::FAMILY,
    &densenet::FAMILY,
    &vgg::FAMILY,
    &inception_v4::FAMILY,
    &inception_resnet_v2::FAMILY,
    &xception::FAMILY,
    &mobilenet_v2::FAMILY,
    &mobilenet_v3::FAMILY,
    &mobileone::FAMILY,
    &efficientnet::FAMILY,
    &timm_efficientnet::FAMILY,
    &mix_transformer::FAMILY,
    &vision_transformer::FAMILY,
    &timm::resnet::FAMILY,
    &timm::regnet::FAMILY,
    &timm::hrnet::FAMILY,
    &timm::mobile::EFFICIENTNET_V2,
    &timm::mobile::MOBILENET_V4,
    &timm::convnext::FAMILY,
    &timm::swin::FAMILY,
];

/// Encoders that differ in size alone.
#[derive(Debug)]
pub struct Family {
    /// Name, with the paper.
    pub name: &'static str,
    /// An entry that the state dicts of all its encoders have, by which others are told apart quickly.
    pub(crate) entry: &'static str,
    /// In what it differs from most families.
    pub(crate) traits: Traits,
    /// Its encoders, from small to large.
    pub encoders: &'static [Encoder],
}

/// In what a family may differ from most. Names, entry and encoders have no default: a row that forgets one does
/// not compile.
#[derive(Debug)]
pub(crate) struct Traits {
    /// Whether strides can be turned into dilations. Where pools halve the map they cannot.
    pub(crate) dilates: bool,
    /// Whether the last map comes from a pool, so that SMP's U-Nets convolve it before they use it.
    pub(crate) ends_in_pool: bool,
    /// The name that an entry had in earlier versions of its library.
    pub(crate) former: fn(&str) -> Option<String>,
}

impl Traits {
    /// Of most families.
    pub(crate) const PLAIN: Self = Self {
        dilates: true,
        ends_in_pool: false,
        former: |_| None,
    };
}

impl Family {
    /// An entry that the state dicts of all its encoders have.
    pub fn entry(&self) -> &'static str {
        self.entry
    }

    /// Whether strides can be turned into dilations, for an output stride of 8 or 16.
    pub fn dilates(&self) -> bool {
        self.traits.dilates
    }
}

/// One row of a family: an encoder under its name.
#[derive(Debug)]
pub struct Encoder {
    /// Name, as SMP has it.
    pub name: &'static str,
    build: fn(&mut Builder, &Site<'_>) -> Features,
}

/// What an encoder gives at one stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Channels.
    pub channels: usize,
    /// Pixels of the input for each pixel of the map.
    pub stride: usize,
}

/// Where an encoder is built.
pub(crate) struct Site<'a> {
    /// Its name in the state dict.
    pub(crate) name: &'a Scope,
    /// What it reads.
    pub(crate) input: Node,
    /// The coarsest map that it may give.
    pub(crate) output_stride: OutputStride,
    /// The last level that is read: those of timm have no layers beyond it.
    pub(crate) depth: usize,
}

/// The stride beyond which an encoder dilates instead of striding: SMP's `encoder_output_stride`. As
/// there, all convolutions of a stage get its dilation, from the first on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutputStride(pub(crate) usize);

impl OutputStride {
    /// Of encoders that only stride.
    pub(crate) const FULL: Self = Self(32);

    /// A convolution of the stage that reaches `stride`.
    pub(crate) fn fit(self, stride: usize, conv: Conv2d) -> Conv2d {
        if stride <= self.0 {
            return conv;
        }
        let within = conv.stride(1).dilation(stride / self.0);
        Conv2d {
            extra_padding: [0; 2],
            ..within
        }
    }
}

/// The maps that an encoder gives: of the input's size, and at strides 2, 4, 8, 16 and 32, or less where
/// it dilates; or, of a plain transformer, what each block gives.
#[derive(Clone, Debug)]
pub(crate) struct Features {
    levels: [Option<Node>; 6],
    pub(crate) blocks: Vec<TransformerBlock>,
}

/// What a block of a plain transformer gives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TransformerBlock {
    /// The map of its patches.
    pub(crate) patches: Node,
    /// The class token, a map of one pixel.
    pub(crate) token: Node,
}

impl Features {
    /// Of an encoder that changes nothing at the input's size.
    pub(crate) fn new(input: Node, stages: [Node; 5]) -> Self {
        let [a, b, c, d, e] = stages;
        Self::of_levels([input, a, b, c, d, e].map(Some))
    }

    pub(crate) fn of_levels(levels: [Option<Node>; 6]) -> Self {
        Self {
            levels,
            blocks: Vec::new(),
        }
    }

    /// Of a plain transformer.
    pub(crate) fn of_blocks(blocks: Vec<TransformerBlock>) -> Self {
        Self {
            levels: [None; 6],
            blocks,
        }
    }

    /// The map of one level: 0 for the input's size, 5 for stride 32. Transformers have none at level 1.
    pub(crate) fn level(&self, level: usize) -> Option<Node> {
        self.levels[level]
    }

    /// A node as large as the map of a level is, or would be.
    pub(crate) fn size_of(&self, g: &mut Builder, level: usize) -> Node {
        match (self.levels[level], level.checked_sub(1)) {
            (Some(node), _) => node,
            (None, Some(above)) => {
                let above = self.size_of(g, above);
                g.max_pool(above, &Scope::root(), Pool2d::square(2))
            }
            (None, None) => unreachable!("an encoder has a map of the input's size"),
        }
    }
}

impl PartialEq for Encoder {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Encoder {
    pub(crate) const fn new(
        name: &'static str,
        build: fn(&mut Builder, &Site<'_>) -> Features,
    ) -> Self {
        Self { name, build }
    }

    /// The family that it belongs to.
    pub fn family(&self) -> &'static Family {
        let family = FAMILIES.iter().find(|f| f.encoders.contains(self));
        family.expect("every encoder is a row of its family")
    }

    pub(crate) fn build(&self, g: &mut Builder, site: &Site<'_>) -> Features {
        (self.build)(g, site)
    }

    /// The encoder alone, without outputs, and its maps.
    fn alone(&self, name: &Scope, in_channels: usize) -> Result<(Graph, Features), ZooError> {
        let (mut g, input) = Builder::new(in_channels);
        let site = Site {
            name,
            input,
            output_stride: OutputStride::FULL,
            depth: 5,
        };
        let features = self.build(&mut g, &site);
        Ok((g.finish()?, features))
    }

    /// Its stages, from the largest map to the smallest: five, four of a mix transformer, one of a plain
    /// transformer.
    ///
    /// # Errors
    /// A mistake in the encoder's own description.
    pub fn stages(&self) -> Result<Vec<Stage>, ZooError> {
        const SIDE: usize = 64;
        let (graph, features) = self.alone(&Scope::root(), 3)?;
        let shapes = graph.shapes(Shape::new(1, 3, SIDE, SIDE))?;
        let stage = |map: &Node| {
            let shape = shapes[map.index()];
            Stage {
                channels: shape.channels,
                stride: SIDE / shape.height,
            }
        };
        let blocks = features.blocks.iter().map(|block| &block.patches);
        let levels = features.levels[1..].iter().flatten();
        // All blocks of a transformer give maps of one kind.
        Ok(levels.chain(blocks.take(1)).map(stage).collect())
    }

    /// Its state-dict entries under `name`, for an input of `in_channels`.
    ///
    /// # Errors
    /// As [`Encoder::stages`].
    pub fn parameters(&self, name: &Scope, in_channels: usize) -> Result<Vec<Parameter>, ZooError> {
        Ok(self.alone(name, in_channels)?.0.parameters().to_vec())
    }
}

/// All families of encoders, in the order in which they are listed to people.
pub fn families() -> &'static [&'static Family] {
    &FAMILIES
}

/// All encoders, family by family.
pub fn encoders() -> impl Iterator<Item = &'static Encoder> {
    FAMILIES.iter().flat_map(|family| family.encoders)
}

/// The encoder of that name; those of timm go by timm's own names, too, without SMP's `tu-`.
///
/// # Errors
/// [`ZooError::UnknownEncoder`], with the nearest name.
pub fn find_encoder(name: &str) -> Result<&'static Encoder, ZooError> {
    let found = encoders().find(|e| e.name == name);
    let found = found.or_else(|| encoders().find(|e| e.name.strip_prefix("tu-") == Some(name)));
    found.ok_or_else(|| ZooError::UnknownEncoder {
        name: name.into(),
        nearest: nearest(name, encoders().map(|e| e.name)),
    })
}

/// The encoder whose entries a state dict has under `name`, whatever the channels of its input.
pub(crate) fn recognise(name: &Scope, shape_of: ShapeOf<'_>) -> Option<&'static Encoder> {
    let whole = compared(name, shape_of).filter(|c| c.fitting == c.entries);
    // A shallower encoder's entries may all be there too.
    whole.max_by_key(|c| c.entries).map(|c| c.encoder)
}

/// The encoder most of whose entries are there, whole or not: of a damaged one all of a shallower one may be there.
pub(crate) fn nearest_encoder(name: &Scope, shape_of: ShapeOf<'_>) -> Option<&'static Encoder> {
    let likely = compared(name, shape_of).filter(|c| 2 * c.fitting > c.entries);
    // Of two that agree in as many entries, the one that lacks fewer.
    likely
        .max_by_key(|c| (c.present, std::cmp::Reverse(c.entries)))
        .map(|c| c.encoder)
}

/// How many entries of an encoder a state dict has.
struct Compared {
    encoder: &'static Encoder,
    entries: usize,
    /// Those that are there, or need not be.
    fitting: usize,
    /// Those that are there.
    present: usize,
}

/// Those encoders whose family's entry is there.
fn compared<'a>(name: &'a Scope, shape_of: ShapeOf<'a>) -> impl Iterator<Item = Compared> + 'a {
    let is_there = move |parameter: &Parameter, on_input: bool| match shape_of(&parameter.name) {
        Some(shape) if on_input => shape.first() == parameter.shape.first(),
        Some(shape) => shape == parameter.shape,
        // What inference never reads, old files lack.
        None => parameter.role == Role::Counter,
    };
    let likely = FAMILIES
        .iter()
        .filter(move |f| shape_of(&(name / f.entry).to_string()).is_some());
    let compare = move |encoder: &'static Encoder| {
        let (graph, _) = encoder.alone(name, 3).ok()?;
        let on_input = graph.input_parameters();
        let fits = graph
            .parameters()
            .iter()
            .filter(|p| is_there(p, on_input.contains(&p.name)));
        let (mut fitting, mut present) = (0, 0);
        for parameter in fits {
            fitting += 1;
            present += usize::from(shape_of(&parameter.name).is_some());
        }
        Some(Compared {
            encoder,
            entries: graph.parameters().len(),
            fitting,
            present,
        })
    };
    likely
        .flat_map(|family| family.encoders)
        .filter_map(compare)
}

/// The encoder that a state dict is of, and of nothing else: its names stand by themselves.
pub fn encoder_of(shape_of: &dyn Fn(&str) -> Option<Vec<usize>>) -> Option<&'static Encoder> {
    recognise(&Scope::root(), shape_of)
}

/// The name that an encoder's entry had in earlier versions of its library.
pub(crate) fn former_name(entry: &str) -> Option<String> {
    FAMILIES
        .iter()
        .find_map(|family| (family.traits.former)(entry))
}

#[cfg(test)]
mod tests;
