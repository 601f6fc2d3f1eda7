//! Architectures by name: three lines to add one.

use segmenta_graph::{Graph, GraphError};
use thiserror::Error;

use crate::encoders::find_encoder;
use crate::options::Options;
use crate::smp::{self, Decoder, Refusal};
use crate::{deeplabv3, deeplabv3_mobilenet_v2, fcn, fcn_transposed, lraspp, segnet, unet_plain};

/// How pictures are brought to the size that the network saw in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResizeRule {
    /// They stay as they are.
    None,
    /// The short side becomes this long, the other keeps the aspect (torchvision's `Resize`).
    ShortSide(usize),
    /// The long side becomes this long, and the picture stands top-left on a square canvas of that
    /// side, filled with mid-grey (127.5).
    LongSideOnCanvas(usize),
}

/// The preprocessing of an architecture's usual weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// How pictures are resized.
    pub resize: ResizeRule,
    /// Subtracted from RGB values in 0..1.
    pub mean: [f32; 3],
    /// Divides what is left.
    pub std: [f32; 3],
}

impl Recipe {
    /// torchvision's `SemanticSegmentation` preset: short side 520, ImageNet mean and deviation.
    pub const TORCHVISION: Self = Self {
        resize: ResizeRule::ShortSide(520),
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
    };
    /// ImageNet's mean and deviation at the picture's own size: what encoders were trained with.
    pub const IMAGENET: Self = Self {
        resize: ResizeRule::None,
        ..Self::TORCHVISION
    };
    /// Values in 0..1 at the picture's own size.
    pub const UNIT: Self = Self {
        resize: ResizeRule::None,
        mean: [0.0; 3],
        std: [1.0; 3],
    };
    /// TensorFlow DeepLab's: long side 513 on a grey canvas, values in −1..1.
    pub const TENSORFLOW: Self = Self {
        resize: ResizeRule::LongSideOnCanvas(513),
        mean: [0.5; 3],
        std: [0.5; 3],
    };
}

/// One row of the registry.
#[derive(Debug)]
pub struct Architecture {
    /// Name, as torchvision has it where it has it.
    pub name: &'static str,
    /// What it is, in one line.
    pub description: &'static str,
    /// Whether an auxiliary head can be built.
    pub has_aux: bool,
    /// Whether [`Options::width`] may differ from 1.
    pub has_width: bool,
    /// Whether it stands on an encoder that [`Options::encoder`] names: SMP's architectures, which take
    /// [`Options::settings`] too.
    pub has_encoder: bool,
    /// The entry of the state dict whose first extent is the number of classes.
    pub classes_entry: &'static str,
    /// The preprocessing that its weights expect unless a model file says otherwise.
    pub recipe: Recipe,
    build: Build,
}

/// The function that describes a network.
#[derive(Debug)]
enum Build {
    /// Of one piece.
    Whole(fn(&Options) -> Result<Graph, GraphError>),
    /// On any encoder.
    On(&'static Decoder),
}

/// Why a network could not be built.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ZooError {
    /// No architecture of that name.
    #[error("no architecture is called `{name}`{}; `segmenta models` lists what there is", suggest(.nearest.as_deref()))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The closest name there is, if one is close.
        nearest: Option<String>,
    },
    /// No encoder of that name.
    #[error("no encoder is called `{name}`{}; `segmenta models encoders` lists what there is", suggest(.nearest.as_deref()))]
    UnknownEncoder {
        /// The name asked for.
        name: String,
        /// The closest name there is, if one is close.
        nearest: Option<String>,
    },
    /// An option that this architecture cannot take.
    #[error("`{architecture}` {problem}")]
    Option {
        /// Its name.
        architecture: &'static str,
        /// What cannot be.
        problem: String,
    },
    /// A mistake in the architecture's own description.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

fn listed(settings: &[&str]) -> String {
    match settings {
        [] => "it has none".into(),
        all => format!("it has {}", all.join(", ")),
    }
}

fn suggest(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |n| format!(" (did you mean `{n}`?)"))
}

impl Architecture {
    /// Builds the graph.
    ///
    /// # Errors
    /// [`ZooError::Option`] for zero classes or channels, an auxiliary head, a width, an encoder or
    /// settings that the architecture does not have or cannot bring together.
    pub fn build(&self, options: &Options) -> Result<Graph, ZooError> {
        let refuse = |problem: &str| {
            Err(ZooError::Option {
                architecture: self.name,
                problem: problem.into(),
            })
        };
        if !(1..=256).contains(&options.classes) {
            return refuse("takes 1 to 256 classes (class ids are 8 bits)");
        }
        if options.in_channels == 0 {
            return refuse("needs at least one input channel");
        }
        if options.aux && !self.has_aux {
            return refuse("has no auxiliary head");
        }
        if options.width != 1.0 && !self.has_width {
            return refuse("has one width only");
        }
        if !(0.05..=4.0).contains(&options.width) {
            return refuse("takes a width from 0.05 to 4");
        }
        let taken = self.settings();
        if let Some(other) = options
            .settings
            .given()
            .keys()
            .find(|k| !taken.contains(&k.as_str()))
        {
            return refuse(&format!("has no setting `{other}`; {}", listed(&taken)));
        }
        match self.build {
            Build::Whole(build) => {
                if options.encoder.is_some() {
                    return refuse("has its encoder in its name; choose none beside it");
                }
                Ok(build(options)?)
            }
            Build::On(decoder) => {
                let encoder = options
                    .encoder
                    .map_or_else(|| find_encoder(decoder.default_encoder), Ok)?;
                smp::build(decoder, options, encoder).map_err(|refusal| match refusal {
                    Refusal::Graph(error) => error.into(),
                    Refusal::Option(problem) => ZooError::Option {
                        architecture: self.name,
                        problem,
                    },
                })
            }
        }
    }

    /// The encoder of those who name none, for architectures that take one: SMP's default.
    pub fn default_encoder(&self) -> Option<&'static str> {
        match self.build {
            Build::Whole(_) => None,
            Build::On(decoder) => Some(decoder.default_encoder),
        }
    }

    /// Names of the settings that it takes; see [`Settings`](crate::Settings).
    pub fn settings(&self) -> Vec<&'static str> {
        match self.build {
            Build::Whole(_) => Vec::new(),
            Build::On(decoder) => decoder.takes(),
        }
    }

    /// The options that a network with this state dict was built with, as far as its entries say:
    /// classes, channels of the input, heads, encoder and decoder. `shape_of` gives an entry's shape.
    pub fn options_of(&self, shape_of: &dyn Fn(&str) -> Option<Vec<usize>>) -> Options {
        let extent = |name: &str, axis: usize| shape_of(name)?.get(axis).copied();
        let mut options = Options::new(extent(self.classes_entry, 0).unwrap_or(1));
        options.aux = self.has_aux && extent("aux_classifier.0.weight", 0).is_some();
        if let Build::On(decoder) = self.build {
            smp::read_options(decoder, &mut options, shape_of);
        }
        // The first layer, be it a convolution or a norm, says how many channels come in.
        if let Ok(graph) = self.build(&options)
            && let Some(first) = graph.input_parameters().first()
            && let Some(shape) = shape_of(first)
            && let Some(&channels) = shape.get(usize::from(shape.len() > 1))
        {
            options.in_channels = channels;
        }
        options
    }
}

const TORCHVISION: Architecture = Architecture {
    name: "",
    description: "",
    has_aux: true,
    has_width: false,
    has_encoder: false,
    classes_entry: "classifier.4.weight",
    recipe: Recipe::TORCHVISION,
    build: Build::Whole(fcn::resnet50),
};

/// Without heads and widths to choose.
const PLAIN: Architecture = Architecture {
    has_aux: false,
    recipe: Recipe::IMAGENET,
    ..TORCHVISION
};

/// On any encoder, with SMP's heads.
const SMP: Architecture = Architecture {
    has_encoder: true,
    classes_entry: "segmentation_head.0.weight",
    ..PLAIN
};

static ARCHITECTURES: [Architecture; 25] = [
    Architecture {
        name: "fcn_resnet50",
        description: "FCN on a dilated ResNet-50, output stride 8",
        build: Build::Whole(fcn::resnet50),
        ..TORCHVISION
    },
    Architecture {
        name: "fcn_resnet101",
        description: "FCN on a dilated ResNet-101, output stride 8",
        build: Build::Whole(fcn::resnet101),
        ..TORCHVISION
    },
    Architecture {
        name: "deeplabv3_resnet50",
        description: "DeepLabV3 on a dilated ResNet-50, output stride 8",
        build: Build::Whole(deeplabv3::resnet50),
        ..TORCHVISION
    },
    Architecture {
        name: "deeplabv3_resnet101",
        description: "DeepLabV3 on a dilated ResNet-101, output stride 8",
        build: Build::Whole(deeplabv3::resnet101),
        ..TORCHVISION
    },
    Architecture {
        name: "deeplabv3_mobilenet_v3_large",
        description: "DeepLabV3 on MobileNetV3-Large, output stride 16",
        build: Build::Whole(deeplabv3::mobilenet_v3_large),
        ..TORCHVISION
    },
    Architecture {
        name: "lraspp_mobilenet_v3_large",
        description: "LR-ASPP on MobileNetV3-Large, output stride 16: small and fast",
        has_aux: false,
        classes_entry: "classifier.low_classifier.weight",
        build: Build::Whole(lraspp::mobilenet_v3_large),
        ..TORCHVISION
    },
    Architecture {
        name: "deeplabv3_mobilenet_v2",
        description: "TensorFlow's DeepLabV3 on MobileNetV2, output stride 8",
        has_aux: false,
        has_width: true,
        classes_entry: "logits.weight",
        recipe: Recipe::TENSORFLOW,
        build: Build::Whole(deeplabv3_mobilenet_v2::build),
        ..PLAIN
    },
    Architecture {
        name: "unet",
        description: "U-Net: maps enlarged, joined with the encoder's, convolved twice",
        build: Build::On(&smp::unet::UNET),
        ..SMP
    },
    Architecture {
        name: "unetplusplus",
        description: "U-Net++: more decoders between encoder and decoder",
        build: Build::On(&smp::unetplusplus::UNETPLUSPLUS),
        ..SMP
    },
    Architecture {
        name: "manet",
        description: "MA-Net: a U-Net with attention between pixels and channels",
        build: Build::On(&smp::manet::MANET),
        ..SMP
    },
    Architecture {
        name: "linknet",
        description: "LinkNet: a U-Net that adds; small and fast",
        build: Build::On(&smp::linknet::LINKNET),
        ..SMP
    },
    Architecture {
        name: "fpn",
        description: "FPN: four sizes brought together",
        build: Build::On(&smp::fpn::FPN),
        ..SMP
    },
    Architecture {
        name: "pspnet",
        description: "PSPNet: a shallow encoder and means of the whole picture",
        build: Build::On(&smp::pspnet::PSPNET),
        ..SMP
    },
    Architecture {
        name: "pan",
        description: "PAN: maps gated by what coarser ones say",
        build: Build::On(&smp::pan::PAN),
        ..SMP
    },
    Architecture {
        name: "deeplabv3",
        description: "DeepLabV3: a dilated encoder, windows spread at three rates",
        build: Build::On(&smp::deeplabv3::DEEPLABV3),
        ..SMP
    },
    Architecture {
        name: "deeplabv3plus",
        description: "DeepLabV3+: the same joined with a finer map",
        build: Build::On(&smp::deeplabv3::DEEPLABV3PLUS),
        ..SMP
    },
    Architecture {
        name: "upernet",
        description: "UPerNet: means of the whole picture, then an FPN",
        build: Build::On(&smp::upernet::UPERNET),
        ..SMP
    },
    Architecture {
        name: "segformer",
        description: "SegFormer's decoder: all maps side by side at stride 4",
        build: Build::On(&smp::segformer::SEGFORMER),
        ..SMP
    },
    Architecture {
        name: "dpt",
        description: "DPT: blocks of a plain transformer, fused from the smallest map on",
        classes_entry: "segmentation_head.head.4.weight",
        build: Build::On(&smp::dpt::DPT),
        ..SMP
    },
    Architecture {
        name: "unet_plain",
        description: "U-Net without a trained encoder, bilinear on the way up",
        classes_entry: "head.weight",
        recipe: Recipe::UNIT,
        build: Build::Whole(unet_plain::bilinear),
        ..PLAIN
    },
    Architecture {
        name: "unet_plain_transposed",
        description: "The same with transposed convolutions on the way up",
        classes_entry: "head.weight",
        recipe: Recipe::UNIT,
        build: Build::Whole(unet_plain::transposed),
        ..PLAIN
    },
    Architecture {
        name: "segnet",
        description: "SegNet: maxima go back where they came from",
        classes_entry: "decoder.3.1.conv.weight",
        recipe: Recipe::UNIT,
        build: Build::Whole(segnet::dense),
        ..PLAIN
    },
    Architecture {
        name: "segnet_separable",
        description: "SegNet with depthwise separable convolutions: small",
        classes_entry: "decoder.3.1.pointwise.weight",
        recipe: Recipe::UNIT,
        build: Build::Whole(segnet::separable),
        ..PLAIN
    },
    Architecture {
        name: "fcn_resnet18",
        description: "FCN-32s on ResNet-18, by a transposed convolution",
        classes_entry: "score.weight",
        build: Build::Whole(fcn_transposed::resnet18_stride32),
        ..PLAIN
    },
    Architecture {
        name: "fcn8s_resnet34",
        description: "FCN-8s on ResNet-34: scores of three stages",
        classes_entry: "score8.weight",
        build: Build::Whole(fcn_transposed::resnet34_stride8),
        ..PLAIN
    },
];

/// All architectures, in the order in which they are listed to people.
pub fn architectures() -> &'static [Architecture] {
    &ARCHITECTURES
}

/// The architecture of that name.
///
/// # Errors
/// [`ZooError::Unknown`], with the nearest name.
pub fn find(name: &str) -> Result<&'static Architecture, ZooError> {
    let found = ARCHITECTURES.iter().find(|a| a.name == name);
    found.ok_or_else(|| ZooError::Unknown {
        name: name.into(),
        nearest: nearest(name, ARCHITECTURES.iter().map(|a| a.name)),
    })
}

/// The closest of `known` by edits, if it is close enough to be what was meant.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let scored = known.map(|k| (strsim::damerau_levenshtein(name, k), k));
    let (edits, best) = scored.min()?;
    let is_start = !name.is_empty() && best.starts_with(name);
    (is_start || edits <= name.len() / 3).then(|| best.into())
}

#[cfg(test)]
mod tests;
