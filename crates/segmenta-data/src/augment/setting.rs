//! Settings that can be written in more than one way.

use std::fmt;

use segmenta_image::{PictureError, Resize, Size};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Wrong;

/// A range of values to draw from: two ends, or one number that is meant around a middle.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "invalid value, expected a number, or two: [from, to]"
)]
pub enum Limit {
    /// So far from the middle on both sides.
    Around(f64),
    /// From, to.
    Between([f64; 2]),
}

impl Limit {
    /// The two ends, around a middle.
    pub(super) fn around(self, middle: f64) -> [f64; 2] {
        match self {
            Self::Around(reach) => [middle - reach, middle + reach],
            Self::Between(ends) => ends,
        }
    }

    /// As torchvision's jitter has it: around 1, never below 0.
    pub(super) fn factor(self) -> [f64; 2] {
        match self {
            Self::Around(reach) => [(1.0 - reach).max(0.0), 1.0 + reach],
            Self::Between(ends) => ends,
        }
    }
}

/// Whether a range runs upwards within two ends.
pub(super) fn check_range(
    setting: &'static str,
    [from, to]: [f64; 2],
    [least, most]: [f64; 2],
    remedy: &'static str,
) -> Result<(), Wrong> {
    if least <= from && from <= to && to <= most {
        return Ok(());
    }
    Err(Wrong::new(setting, [from, to], remedy))
}

/// How a picture's size follows from what it was: 520 (short side), `"long:513"`, `"256x192"` (width × height).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeRule(pub Resize);

/// Width and height: 480 (a square) or `"320x240"` (width × height).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sides {
    /// In pixels, at least 1.
    pub width: usize,
    /// In pixels, at least 1.
    pub height: usize,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "invalid value, expected a side in pixels, or a size such as 224x224"
)]
enum Written {
    Number(usize),
    Text(String),
}

/// An error of a size as one of a list of augmentations, whose words stand around it.
fn named<T, E: Error>(size: Result<T, PictureError>) -> Result<(), E> {
    match size {
        Ok(_) => Ok(()),
        Err(error) => Err(E::custom(format_args!(
            "{}: {}",
            error.what(),
            error.remedy()
        ))),
    }
}

impl<'de> Deserialize<'de> for SizeRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rule = match Written::deserialize(deserializer)? {
            Written::Number(side) => Resize::ShortSide(side),
            Written::Text(text) => text.parse().map_err(D::Error::custom)?,
        };
        match rule {
            Resize::None => {}
            Resize::ShortSide(side) | Resize::LongSide(side) => {
                named(Size::side_for_network(side))?;
            }
            Resize::Exact { width, height } => named(Size::for_network(width, height))?,
            // Parsed above, and checked there.
            Resize::ShortSideWithin { .. } | Resize::Near { .. } => {}
        }
        Ok(Self(rule))
    }
}

impl Serialize for SizeRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Resize::ShortSide(side) => serializer.serialize_u64(side as u64),
            rule => serializer.collect_str(&rule),
        }
    }
}

impl<'de> Deserialize<'de> for Sides {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (width, height) = match Written::deserialize(deserializer)? {
            Written::Number(side) => (side, side),
            Written::Text(text) => {
                let sides = text.split_once(['x', '×']);
                let side = |text: &str| text.trim().parse().ok();
                let sides = sides.and_then(|(w, h)| side(w).zip(side(h)));
                sides.ok_or_else(|| {
                    D::Error::custom(format!("`{text}`: write 480 or \"320x240\""))
                })?
            }
        };
        named(Size::for_network(width, height))?;
        Ok(Self { width, height })
    }
}

impl Serialize for Sides {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.width == self.height {
            return serializer.serialize_u64(self.width as u64);
        }
        serializer.collect_str(self)
    }
}

impl fmt::Display for Sides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}
