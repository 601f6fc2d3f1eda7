//! Architectures by name: three lines to add one.

use segmenta_graph::{Graph, GraphError};
use thiserror::Error;

use crate::encoders::{self, find_encoder};
use crate::hub::{self, Class};
use crate::options::Options;
use crate::smp::{self as decoders, Decoder, Refusal};
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
    /// How many rows that entry has beside the classes: one where a query can be of none.
    pub beside_classes: usize,
    /// The preprocessing that its weights expect unless a model file says otherwise.
    pub recipe: Recipe,
    build: Build,
}

/// The function that describes a network.
#[derive(Debug)]
enum Build {
    /// Of one piece.
    Whole(BuildWhole),
    /// On any encoder.
    On(&'static Decoder),
    /// By a `config.json`.
    By(&'static Class),
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
        if !(1..=4096).contains(&options.in_channels) {
            return refuse("takes 1 to 4096 input channels");
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
        let taken = match self.build {
            Build::Whole(_) | Build::By(_) => Vec::new(),
            Build::On(decoder) => decoder.takes(),
        };
        if let Some(other) = options
            .settings
            .given()
            .keys()
            .find(|k| !taken.contains(&k.as_str()))
        {
            return refuse(&format!("has no setting `{other}`; {}", listed(&taken)));
        }
        let fields = self.fields();
        let stranger = |field: &&String| !fields.contains(&field.as_str());
        if let Some(other) = options.config.given().keys().find(stranger) {
            return refuse(&format!(
                "has no setting `{other}`; {}",
                listed(&self.settings())
            ));
        }
        let refused = |refusal| match refusal {
            Refusal::Graph(error) => ZooError::Graph(error),
            Refusal::Option(problem) => ZooError::Option {
                architecture: self.name,
                problem,
            },
        };
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
                decoders::build(decoder, options, encoder).map_err(refused)
            }
            Build::By(class) => {
                if options.encoder.is_some() {
                    return refuse("has its encoder in its configuration; choose none beside it");
                }
                (class.build)(options).map_err(refused)
            }
        }
    }

    /// The encoder of those who name none, for architectures that take one: SMP's default.
    pub fn default_encoder(&self) -> Option<&'static str> {
        match self.build {
            Build::Whole(_) | Build::By(_) => None,
            Build::On(decoder) => Some(decoder.default_encoder),
        }
    }

    /// Names of the settings that it takes; see [`Settings`](crate::Settings).
    pub fn settings(&self) -> Vec<&'static str> {
        match self.build {
            Build::Whole(_) => Vec::new(),
            Build::On(decoder) => decoder.takes(),
            Build::By(class) => class.fields.to_vec(),
        }
    }

    /// The fields of a `config.json` that it is built by; none unless it is one of the Hugging Face hub's.
    pub fn fields(&self) -> &'static [&'static str] {
        match self.build {
            Build::Whole(_) | Build::On(_) => &[],
            Build::By(class) => class.fields,
        }
    }

    /// The names of the two entries that an earlier version of its library kept as halves of this one, if it did.
    pub fn halves(&self, entry: &str) -> Option<[String; 2]> {
        match self.build {
            Build::Whole(_) | Build::On(_) => None,
            Build::By(_) => hub::halves(entry),
        }
    }

    /// Puts into `options` what only the values of a state dict say: `values_of` gives an entry's.
    pub fn read_values(&self, options: &mut Options, values_of: &dyn Fn(&str) -> Option<Vec<f32>>) {
        if let Build::By(class) = self.build {
            (class.values)(options, values_of);
        }
    }

    /// The name that an entry of its state dict had in earlier versions of its library, if there was another.
    pub fn former_name(&self, entry: &str) -> Option<String> {
        let of_decoder = match self.build {
            Build::Whole(_) => None,
            Build::On(decoder) => (decoder.former)(entry),
            // Its names are its own: no encoder's rules apply to them.
            Build::By(class) => return (class.former)(entry),
        };
        of_decoder.or_else(|| encoders::former_name(entry))
    }
}

/// The function that describes a network of one piece.
type BuildWhole = fn(&Options) -> Result<Graph, GraphError>;

/// One of torchvision's, with its auxiliary head. What each row must say of itself is an argument: a row that
/// forgets its function does not compile.
const fn torchvision(
    name: &'static str,
    description: &'static str,
    build: BuildWhole,
) -> Architecture {
    Architecture {
        name,
        description,
        has_aux: true,
        has_width: false,
        has_encoder: false,
        classes_entry: "classifier.4.weight",
        beside_classes: 0,
        recipe: Recipe::TORCHVISION,
        build: Build::Whole(build),
    }
}

/// Without heads and widths to choose.
const fn plain(
    name: &'static str,
    description: &'static str,
    classes_entry: &'static str,
    build: BuildWhole,
) -> Architecture {
    Architecture {
        has_aux: false,
        classes_entry,
        recipe: Recipe::IMAGENET,
        ..torchvision(name, description, build)
    }
}

/// On any encoder, with SMP's heads.
const fn smp(
    name: &'static str,
    description: &'static str,
    decoder: &'static Decoder,
) -> Architecture {
    Architecture {
        name,
        description,
        has_aux: false,
        has_width: false,
        has_encoder: true,
        classes_entry: "segmentation_head.0.weight",
        beside_classes: 0,
        recipe: Recipe::IMAGENET,
        build: Build::On(decoder),
    }
}

/// A class of transformers.
const fn transformers(
    name: &'static str,
    description: &'static str,
    classes_entry: &'static str,
    class: &'static Class,
) -> Architecture {
    Architecture {
        name,
        description,
        has_aux: false,
        has_width: false,
        has_encoder: false,
        classes_entry,
        beside_classes: 0,
        recipe: Recipe::IMAGENET,
        build: Build::By(class),
    }
}

/// With an auxiliary head, whose logits are a result where they are asked for.
const fn with_aux(architecture: Architecture) -> Architecture {
    Architecture {
        has_aux: true,
        ..architecture
    }
}

/// A class of transformers whose queries have a class, or none, and a mask.
const fn queries(
    name: &'static str,
    description: &'static str,
    class: &'static Class,
) -> Architecture {
    Architecture {
        beside_classes: 1,
        ..transformers(name, description, "class_predictor.weight", class)
    }
}

static ARCHITECTURES: [Architecture; 38] = [
    torchvision(
        "fcn_resnet50",
        "FCN on a dilated ResNet-50, output stride 8",
        fcn::resnet50,
    ),
    torchvision(
        "fcn_resnet101",
        "FCN on a dilated ResNet-101, output stride 8",
        fcn::resnet101,
    ),
    torchvision(
        "deeplabv3_resnet50",
        "DeepLabV3 on a dilated ResNet-50, output stride 8",
        deeplabv3::resnet50,
    ),
    torchvision(
        "deeplabv3_resnet101",
        "DeepLabV3 on a dilated ResNet-101, output stride 8",
        deeplabv3::resnet101,
    ),
    torchvision(
        "deeplabv3_mobilenet_v3_large",
        "DeepLabV3 on MobileNetV3-Large, output stride 16",
        deeplabv3::mobilenet_v3_large,
    ),
    Architecture {
        has_aux: false,
        classes_entry: "classifier.low_classifier.weight",
        ..torchvision(
            "lraspp_mobilenet_v3_large",
            "LR-ASPP on MobileNetV3-Large, output stride 16: small and fast",
            lraspp::mobilenet_v3_large,
        )
    },
    Architecture {
        has_width: true,
        recipe: Recipe::TENSORFLOW,
        ..plain(
            "deeplabv3_mobilenet_v2",
            "TensorFlow's DeepLabV3 on MobileNetV2, output stride 8",
            "logits.weight",
            deeplabv3_mobilenet_v2::build,
        )
    },
    smp(
        "unet",
        "U-Net: maps enlarged, joined with the encoder's, convolved twice",
        &decoders::unet::UNET,
    ),
    smp(
        "unetplusplus",
        "U-Net++: more decoders between encoder and decoder",
        &decoders::unetplusplus::UNETPLUSPLUS,
    ),
    smp(
        "manet",
        "MA-Net: a U-Net with attention between pixels and channels",
        &decoders::manet::MANET,
    ),
    smp(
        "linknet",
        "LinkNet: a U-Net that adds; small and fast",
        &decoders::linknet::LINKNET,
    ),
    smp(
        "fpn",
        "FPN: four sizes brought together",
        &decoders::fpn::FPN,
    ),
    smp(
        "pspnet",
        "PSPNet: a shallow encoder and means of the whole picture",
        &decoders::pspnet::PSPNET,
    ),
    smp(
        "pan",
        "PAN: maps gated by what coarser ones say",
        &decoders::pan::PAN,
    ),
    smp(
        "deeplabv3",
        "DeepLabV3: a dilated encoder, windows spread at three rates",
        &decoders::deeplabv3::DEEPLABV3,
    ),
    smp(
        "deeplabv3plus",
        "DeepLabV3+: the same joined with a finer map",
        &decoders::deeplabv3::DEEPLABV3PLUS,
    ),
    smp(
        "upernet",
        "UPerNet: means of the whole picture, then an FPN",
        &decoders::upernet::UPERNET,
    ),
    smp(
        "segformer",
        "SegFormer's decoder: all maps side by side at stride 4",
        &decoders::segformer::SEGFORMER,
    ),
    Architecture {
        classes_entry: "segmentation_head.head.4.weight",
        ..smp(
            "dpt",
            "DPT: blocks of a plain transformer, fused from the smallest map on",
            &decoders::dpt::DPT,
        )
    },
    Architecture {
        recipe: Recipe::UNIT,
        ..plain(
            "unet_plain",
            "U-Net without a trained encoder, bilinear on the way up",
            "head.weight",
            unet_plain::bilinear,
        )
    },
    Architecture {
        recipe: Recipe::UNIT,
        ..plain(
            "unet_plain_transposed",
            "The same with transposed convolutions on the way up",
            "head.weight",
            unet_plain::transposed,
        )
    },
    Architecture {
        recipe: Recipe::UNIT,
        ..plain(
            "segnet",
            "SegNet: maxima go back where they came from",
            "decoder.3.1.conv.weight",
            segnet::dense,
        )
    },
    Architecture {
        recipe: Recipe::UNIT,
        ..plain(
            "segnet_separable",
            "SegNet with depthwise separable convolutions: small",
            "decoder.3.1.pointwise.weight",
            segnet::separable,
        )
    },
    plain(
        "fcn_resnet18",
        "FCN-32s on ResNet-18, by a transposed convolution",
        "score.weight",
        fcn_transposed::resnet18_stride32,
    ),
    plain(
        "fcn8s_resnet34",
        "FCN-8s on ResNet-34: scores of three stages",
        "score8.weight",
        fcn_transposed::resnet34_stride8,
    ),
    transformers(
        "SegformerForSemanticSegmentation",
        "SegFormer of the Hugging Face hub, result at stride 4",
        "decode_head.classifier.weight",
        &hub::segformer::SEGFORMER,
    ),
    transformers(
        "MobileNetV2ForSemanticSegmentation",
        "DeepLabV3+ on MobileNetV2 of the Hugging Face hub",
        "segmentation_head.classifier.convolution.weight",
        &hub::mobilenet_v2::MOBILENET_V2,
    ),
    with_aux(transformers(
        "UperNetForSemanticSegmentation",
        "UPerNet of the Hugging Face hub on ConvNeXt, Swin or ResNet",
        "decode_head.classifier.weight",
        &hub::upernet::UPERNET,
    )),
    with_aux(transformers(
        "BeitForSemanticSegmentation",
        "UPerNet on BEiT of the Hugging Face hub, result at stride 4",
        "decode_head.classifier.weight",
        &hub::beit::BEIT,
    )),
    with_aux(transformers(
        "Data2VecVisionForSemanticSegmentation",
        "UPerNet on Data2VecVision of the Hugging Face hub, result at stride 4",
        "decode_head.classifier.weight",
        &hub::beit::DATA2VEC_VISION,
    )),
    with_aux(transformers(
        "DPTForSemanticSegmentation",
        "DPT on a plain transformer of the Hugging Face hub",
        "head.head.4.weight",
        &hub::dpt::DPT,
    )),
    transformers(
        "MobileViTForSemanticSegmentation",
        "DeepLabV3 on MobileViT of the Hugging Face hub",
        "segmentation_head.classifier.convolution.weight",
        &hub::mobilevit::MOBILEVIT,
    ),
    transformers(
        "MobileViTV2ForSemanticSegmentation",
        "DeepLabV3 on MobileViTV2 of the Hugging Face hub",
        "segmentation_head.classifier.convolution.weight",
        &hub::mobilevit_v2::MOBILEVIT_V2,
    ),
    queries(
        "EomtForUniversalSegmentation",
        "EoMT on DINOv2 of the Hugging Face hub: queries with masks",
        &hub::eomt::EOMT,
    ),
    queries(
        "EomtDinov3ForUniversalSegmentation",
        "EoMT on DINOv3 of the Hugging Face hub: queries with masks",
        &hub::eomt::EOMT_DINOV3,
    ),
    queries(
        "Mask2FormerForUniversalSegmentation",
        "Mask2Former of the Hugging Face hub: queries that attend to their own masks",
        &hub::mask2former::MASK2FORMER,
    ),
    queries(
        "MaskFormerForInstanceSegmentation",
        "MaskFormer of the Hugging Face hub: queries with masks",
        &hub::maskformer::MASKFORMER,
    ),
    Architecture {
        classes_entry: "model.transformer_module.decoder.class_embed.weight",
        ..queries(
            "OneFormerForUniversalSegmentation",
            "OneFormer of the Hugging Face hub, for its semantic task: queries with masks",
            &hub::oneformer::ONEFORMER,
        )
    },
];

/// The classes of the Hugging Face hub that there are, by the name that `architectures` in a `config.json` has.
pub fn hub_classes() -> impl Iterator<Item = &'static Architecture> {
    let is_class = |architecture: &&Architecture| !architecture.fields().is_empty();
    ARCHITECTURES.iter().filter(is_class)
}

/// Whether a setting is a field of a `config.json`.
pub(crate) fn is_field(name: &str) -> bool {
    hub_classes().any(|class| class.fields().contains(&name))
}

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

mod options_of;
#[cfg(test)]
mod tests;
