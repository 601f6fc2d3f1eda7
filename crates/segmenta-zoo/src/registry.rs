//! Architectures by name: three lines to add one.

use segmenta_graph::{Graph, GraphError};
use thiserror::Error;

use crate::{deeplabv3, deeplabv3_mobilenet_v2, fcn, lraspp};

/// What a network is built with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Number of classes, background included.
    pub classes: usize,
    /// Channels of the input; 3 for RGB.
    pub in_channels: usize,
    /// Whether the auxiliary head is there (result `aux`).
    pub aux: bool,
    /// Multiplier of the encoder's channels; 1 except where [`Architecture::has_width`].
    pub width: f64,
}

impl Options {
    /// For RGB pictures, without auxiliary head, at full width.
    pub fn new(classes: usize) -> Self {
        Self {
            classes,
            in_channels: 3,
            aux: false,
            width: 1.0,
        }
    }
}

/// How pictures are brought to the size that the network saw in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResizeRule {
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
    /// The entry of the state dict whose first extent is the number of classes.
    pub classes_entry: &'static str,
    /// The preprocessing that its weights expect unless a model file says otherwise.
    pub recipe: Recipe,
    build: fn(&Options) -> Result<Graph, GraphError>,
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

fn suggest(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |n| format!(" (did you mean `{n}`?)"))
}

impl Architecture {
    /// Builds the graph.
    ///
    /// # Errors
    /// [`ZooError::Option`] for zero classes or channels, an auxiliary head or a width that the
    /// architecture does not have.
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
        Ok((self.build)(options)?)
    }
}

const TORCHVISION: Architecture = Architecture {
    name: "",
    description: "",
    has_aux: true,
    has_width: false,
    classes_entry: "classifier.4.weight",
    recipe: Recipe::TORCHVISION,
    build: fcn::resnet50,
};

static ARCHITECTURES: [Architecture; 7] = [
    Architecture {
        name: "fcn_resnet50",
        description: "FCN on a dilated ResNet-50, output stride 8",
        build: fcn::resnet50,
        ..TORCHVISION
    },
    Architecture {
        name: "fcn_resnet101",
        description: "FCN on a dilated ResNet-101, output stride 8",
        build: fcn::resnet101,
        ..TORCHVISION
    },
    Architecture {
        name: "deeplabv3_resnet50",
        description: "DeepLabV3 on a dilated ResNet-50, output stride 8",
        build: deeplabv3::resnet50,
        ..TORCHVISION
    },
    Architecture {
        name: "deeplabv3_resnet101",
        description: "DeepLabV3 on a dilated ResNet-101, output stride 8",
        build: deeplabv3::resnet101,
        ..TORCHVISION
    },
    Architecture {
        name: "deeplabv3_mobilenet_v3_large",
        description: "DeepLabV3 on MobileNetV3-Large, output stride 16",
        build: deeplabv3::mobilenet_v3_large,
        ..TORCHVISION
    },
    Architecture {
        name: "lraspp_mobilenet_v3_large",
        description: "LR-ASPP on MobileNetV3-Large, output stride 16: small and fast",
        has_aux: false,
        classes_entry: "classifier.low_classifier.weight",
        build: lraspp::mobilenet_v3_large,
        ..TORCHVISION
    },
    Architecture {
        name: "deeplabv3_mobilenet_v2",
        description: "TensorFlow's DeepLabV3 on MobileNetV2, output stride 8",
        has_aux: false,
        has_width: true,
        classes_entry: "logits.weight",
        recipe: Recipe::TENSORFLOW,
        build: deeplabv3_mobilenet_v2::build,
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
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let scored = known.map(|k| (strsim::damerau_levenshtein(name, k), k));
    let (edits, best) = scored.min()?;
    let is_start = !name.is_empty() && best.starts_with(name);
    (is_start || edits <= name.len() / 3).then(|| best.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_answered_with_the_nearest() {
        let error = find("fcn_resnet5").unwrap_err().to_string();
        assert!(error.contains("did you mean `fcn_resnet50`?"), "{error}");
        let error = find("yolo").unwrap_err().to_string();
        assert!(!error.contains("did you mean"), "{error}");
    }

    #[test]
    fn options_that_cannot_be_are_refused() {
        let lraspp = find("lraspp_mobilenet_v3_large").unwrap();
        for (options, word) in [
            (
                Options {
                    aux: true,
                    ..Options::new(21)
                },
                "auxiliary",
            ),
            (
                Options {
                    width: 0.5,
                    ..Options::new(21)
                },
                "width",
            ),
            (Options::new(0), "classes"),
            (Options::new(257), "classes"),
            (
                Options {
                    in_channels: 0,
                    ..Options::new(2)
                },
                "channel",
            ),
        ] {
            let error = lraspp.build(&options).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn every_architecture_builds_and_names_its_class_entry() {
        for architecture in architectures() {
            let graph = architecture.build(&Options::new(7)).unwrap();
            let entry = graph
                .parameters()
                .iter()
                .find(|p| p.name == architecture.classes_entry);
            assert_eq!(entry.map(|p| p.shape[0]), Some(7), "{}", architecture.name);
        }
    }
}
