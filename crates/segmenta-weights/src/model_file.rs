//! The model file: safetensors whose metadata holds all that is needed to build the network, feed it
//! and name what it says.

use segmenta_files::count;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The metadata key that a card is kept under, as JSON.
pub const CARD_KEY: &str = "segmenta.card";

/// The version of a card that says nothing newer.
pub const CARD_VERSION: u32 = 1;

/// The version of a card that says how values are stored in 8 bits; the newest that is read.
pub const CARD_VERSION_INT8: u32 = 2;

/// The most classes: ids are bytes.
const MOST_CLASSES: usize = 256;

/// The most channels of an input, beyond any sensor's.
const MOST_CHANNELS: usize = 4096;

/// The longest side that pictures are resized, cropped or padded to, in pixels.
const LONGEST_SIDE: usize = 1 << 16;

/// What a model is, beside its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ModelCard {
    /// [`CARD_VERSION`], or [`CARD_VERSION_INT8`] where `int8` is there.
    pub format_version: u32,
    /// The architecture, by its name in the registry (`unet`, `deeplabv3`, ...).
    pub architecture: String,
    /// The encoder, for architectures that take one.
    #[serde(default)]
    pub encoder: Option<String>,
    /// The architecture's options that are not as by default, by name.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// The classes' names; the place of a name is the class's id.
    pub classes: Vec<String>,
    /// The classes' colours, as red, green and blue.
    #[serde(default)]
    pub palette: Option<Vec<[u8; 3]>>,
    /// Channels of the input: 3 for colour pictures.
    pub in_channels: usize,
    /// How a picture becomes the input.
    pub preprocessing: Preprocessing,
    /// What the numbers of the result are, where the network's last layer does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<CardAnswer>,
    /// How the network's values are stored in 8 bits; a file that says it is run so unless the user says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub int8: Option<CardInt8>,
    /// The training's own record, free in form.
    #[serde(default)]
    pub training: Option<serde_json::Value>,
    /// Where the weights come from.
    #[serde(default)]
    pub source: Option<String>,
    /// The licence that the weights are under.
    #[serde(default)]
    pub licence: Option<String>,
}

/// How a network's values are stored in 8 bits, by the names of the network's nodes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CardInt8 {
    /// The smallest and the largest number that each value is stored up to.
    pub ranges: BTreeMap<String, [f32; 2]>,
    /// Layers that are computed in bf16 or f32 all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub full: Vec<String>,
    /// How the ranges were found and what they reached, free in form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<serde_json::Value>,
}

/// What the numbers of a network's result are; what is `None` is as the network's last layer has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CardAnswer {
    /// What they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<CardValues>,
    /// With one class, the probability above which a pixel is of it, between 0 and 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
}

/// What the numbers of a result are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CardValues {
    /// Any number; a softmax over the classes, or of one class a sigmoid, makes probabilities of them.
    Logits,
    /// 0 to 1.
    Probabilities,
    /// Logarithms of probabilities, of classes that exclude each other if there are several.
    LogProbabilities,
    /// Hyperbolic tangents of logits, −1 to 1.
    Tangents,
    /// Sums over queries of the probability of a class times that of a mask, from 0 on.
    Scores,
}

/// How a picture becomes a network's input: resized, cropped, normalised, padded, in this order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Preprocessing {
    /// To which size.
    pub resize: Resize,
    /// How pixels are found between pixels.
    #[serde(default)]
    pub filter: Filter,
    /// The middle that is kept after resizing: `(width, height)` in pixels.
    #[serde(default)]
    pub center_crop: Option<(usize, usize)>,
    /// What is taken off each channel, of values scaled to 0..1.
    pub mean: Vec<f32>,
    /// What each channel is divided by afterwards, of values scaled to 0..1.
    pub std: Vec<f32>,
    /// The canvas that the picture is placed on, at its top left.
    #[serde(default)]
    pub pad: Option<Pad>,
    /// Which channel of the input is of which colour.
    #[serde(default, skip_serializing_if = "ChannelOrder::is_rgb")]
    pub channel_order: ChannelOrder,
    /// Where the middle is, of what leaves half a pixel over.
    #[serde(default, skip_serializing_if = "Middle::is_default")]
    pub middle: Middle,
    /// Whether the network sees square windows along the long side, as long as the short one, whose answers are
    /// averaged where they overlap.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub windows: bool,
}

/// Where the middle of a picture is that has an odd number of pixels more, or less, than are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Middle {
    /// As torchvision's `CenterCrop` has it.
    #[default]
    Torchvision,
    /// As transformers' image processors have it with Pillow.
    Transformers,
}

impl Middle {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Which channel of the input is of which colour; mean, deviation and the canvas's colour follow the channels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelOrder {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
}

impl ChannelOrder {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_rgb(&self) -> bool {
        *self == Self::Rgb
    }
}

/// The size that a picture is resized to. Sides are in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Resize {
    /// As it is.
    None,
    /// Its shorter side becomes `side`, the other in proportion.
    ShortSide {
        /// The shorter side.
        side: usize,
    },
    /// Its longer side becomes `side`, the other in proportion, so that it fits inside a square.
    LongSide {
        /// The longer side.
        side: usize,
    },
    /// Its shorter side becomes `side`, or less where the longer one would become longer than `most`, and both then the
    /// next multiples.
    ShortSideWithin {
        /// The shorter side.
        side: usize,
        /// The most that the longer side becomes.
        most: usize,
        /// Sides become multiples of this, upwards.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        multiple: usize,
    },
    /// In proportion, by that of the factors to `width` and to `height` which is nearer to 1, to multiples.
    Near {
        /// Pixels across that are aimed at.
        width: usize,
        /// Pixels down that are aimed at.
        height: usize,
        /// Sides become multiples of this.
        multiple: usize,
    },
    /// `width` by `height`, whatever its proportions.
    Exact {
        /// Pixels across.
        width: usize,
        /// Pixels down.
        height: usize,
    },
}

/// How pixels are found between pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Filter {
    /// The nearest one.
    Nearest,
    /// Linear in both directions; with `antialias`, over the whole area that a new pixel covers.
    Bilinear {
        /// As Pillow does, and torchvision by default.
        antialias: bool,
    },
    /// Cubic in both directions; with `antialias`, over the whole area that a new pixel covers.
    Bicubic {
        /// As Pillow does, and torchvision by default.
        antialias: bool,
    },
}

impl Default for Filter {
    /// Bilinear with antialiasing, as torchvision's segmentation presets.
    fn default() -> Filter {
        Filter::Bilinear { antialias: true }
    }
}

/// A canvas that a picture is placed on, at its top left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Pad {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// The canvas's colour, a value in 0..255 for each channel; it is normalised like a pixel.
    pub value: Vec<f32>,
}

fn one() -> usize {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_one(multiple: &usize) -> bool {
    *multiple == 1
}

/// A card that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    /// Written by a newer program.
    #[error(
        "the model file is of version {found} · metadata `{CARD_KEY}`, of which {CARD_VERSION_INT8} is \
         the newest known here · use a newer Segmenta"
    )]
    Newer {
        /// The file's version.
        found: u64,
    },
    /// No valid JSON, a field that is lacking or not known, or fields that contradict each other.
    #[error(
        "the model's description is wrong: {0} · metadata `{CARD_KEY}` · save the model again, or \
         get the file again"
    )]
    Invalid(String),
}

impl ModelCard {
    /// The card of a file with this metadata; `None` when it has none (a plain state dict).
    ///
    /// # Errors
    ///
    /// A newer version, unknown fields (they are named), or fields that contradict each other.
    pub fn from_metadata(metadata: &BTreeMap<String, String>) -> Result<Option<Self>, CardError> {
        let Some(text) = metadata.get(CARD_KEY) else {
            return Ok(None);
        };
        let invalid = |error: serde_json::Error| {
            CardError::Invalid(segmenta_files::of_type(&error.to_string()))
        };
        let json: serde_json::Value = serde_json::from_str(text).map_err(invalid)?;
        // The version first: what else a newer card says would only be called unknown.
        match json
            .get("format-version")
            .and_then(serde_json::Value::as_u64)
        {
            Some(found) if found > u64::from(CARD_VERSION_INT8) => Err(CardError::Newer { found }),
            _ => {
                let card: ModelCard = serde_json::from_value(json).map_err(invalid)?;
                card.check().map_err(CardError::Invalid)?;
                Ok(Some(card))
            }
        }
    }

    /// The card as metadata for [`save`](crate::save).
    ///
    /// # Errors
    ///
    /// Fields that contradict each other.
    pub fn to_metadata(&self) -> Result<BTreeMap<String, String>, CardError> {
        self.check().map_err(CardError::Invalid)?;
        let text =
            serde_json::to_string(self).map_err(|error| CardError::Invalid(error.to_string()))?;
        Ok(BTreeMap::from([(CARD_KEY.to_string(), text)]))
    }

    /// Whether the fields agree with each other; the text says where they do not.
    fn check(&self) -> Result<(), String> {
        if !(1..=MOST_CHANNELS).contains(&self.in_channels) {
            return Err(format!(
                "in-channels is {}, not 1 to {MOST_CHANNELS}",
                self.in_channels
            ));
        }
        if !(1..=MOST_CLASSES).contains(&self.classes.len()) {
            return Err(format!(
                "classes has {}, not 1 to {MOST_CLASSES}",
                count(self.classes.len(), "name")
            ));
        }
        if let Some(id) = self.classes.iter().position(|name| name.trim().is_empty()) {
            return Err(format!("the name of class {id} is empty"));
        }
        self.preprocessing.check()?;
        if let Some(CardInt8 { ranges, .. }) = &self.int8 {
            let is_range =
                |[low, high]: [f32; 2]| low.is_finite() && high.is_finite() && low <= high;
            if let Some((name, range)) = ranges.iter().find(|(_, range)| !is_range(**range)) {
                return Err(format!(
                    "int8.ranges has {range:?} for `{name}`, which is no range"
                ));
            }
        }
        let Preprocessing { mean, std, pad, .. } = &self.preprocessing;
        let per_channel = [("mean", mean.len()), ("std", std.len())]
            .into_iter()
            .chain(pad.iter().map(|pad| ("pad value", pad.value.len())));
        for (name, found) in per_channel {
            if found != self.in_channels {
                return Err(format!(
                    "{} of {name} for {}",
                    count(found, "number"),
                    count(self.in_channels, "channel")
                ));
            }
        }
        if let Some(threshold) = self.answer.and_then(|answer| answer.threshold) {
            if !(threshold > 0.0 && threshold < 1.0) {
                return Err(format!(
                    "answer.threshold {threshold} is not between 0 and 1"
                ));
            }
            if self.classes.len() > 1 {
                return Err(format!(
                    "answer.threshold for {}; one has a threshold",
                    count(self.classes.len(), "class")
                ));
            }
        }
        match &self.palette {
            Some(palette) if palette.len() != self.classes.len() => Err(format!(
                "{} for {}",
                count(palette.len(), "colour"),
                count(self.classes.len(), "class")
            )),
            _ => Ok(()),
        }
    }
}

impl Preprocessing {
    /// Whether each number can be one; the text names the field and the value.
    fn check(&self) -> Result<(), String> {
        if let Some(mean) = self.mean.iter().find(|mean| !mean.is_finite()) {
            return Err(format!("mean has {mean}, which is no number"));
        }
        if let Some(std) = self.std.iter().find(|std| !std.is_normal() || **std < 0.0) {
            return Err(format!("std has {std}, which is not positive"));
        }
        let mut sides = match self.resize {
            Resize::None => Vec::new(),
            Resize::ShortSide { side } | Resize::LongSide { side } => vec![("resize", side)],
            Resize::ShortSideWithin {
                side,
                most,
                multiple,
            } => [side, most, multiple].map(|side| ("resize", side)).to_vec(),
            Resize::Near {
                width,
                height,
                multiple,
            } => [width, height, multiple]
                .map(|side| ("resize", side))
                .to_vec(),
            Resize::Exact { width, height } => vec![("resize", width), ("resize", height)],
        };
        let crop = self.center_crop.iter().flat_map(|&(w, h)| [w, h]);
        sides.extend(crop.map(|side| ("center-crop", side)));
        if let Some(pad) = &self.pad {
            sides.extend([pad.width, pad.height].map(|side| ("pad", side)));
            let strange = |value: &&f32| !(0.0..=255.0).contains(*value);
            if let Some(value) = pad.value.iter().find(strange) {
                return Err(format!("pad value has {value}, not 0 to 255"));
            }
        }
        match sides
            .iter()
            .find(|(_, side)| !(1..=LONGEST_SIDE).contains(side))
        {
            Some((field, side)) => Err(format!(
                "{field} has a side of {side} pixels, not 1 to {LONGEST_SIDE}"
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
