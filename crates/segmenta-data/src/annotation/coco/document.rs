//! COCO's document as it is written: <https://cocodataset.org/#format-data>.

use std::fmt;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

#[derive(Deserialize)]
pub(super) struct Document {
    pub(super) images: Vec<Image>,
    #[serde(default)]
    pub(super) annotations: Vec<Annotation>,
    pub(super) categories: Vec<Category>,
}

#[derive(Deserialize)]
pub(super) struct Image {
    pub(super) id: Id,
    pub(super) file_name: String,
    pub(super) width: f64,
    pub(super) height: f64,
}

#[derive(Deserialize)]
pub(super) struct Category {
    pub(super) id: Id,
    pub(super) name: String,
}

#[derive(Deserialize)]
pub(super) struct Annotation {
    pub(super) id: Option<Id>,
    pub(super) image_id: Id,
    pub(super) category_id: Option<Id>,
    pub(super) segmentation: Option<Segmentation>,
    pub(super) area: Option<f64>,
    pub(super) bbox: Option<Value>,
    pub(super) keypoints: Option<IgnoredAny>,
    /// Of panoptic annotations, whose pixels are in a PNG.
    pub(super) segments_info: Option<IgnoredAny>,
    pub(super) caption: Option<IgnoredAny>,
}

/// Numbers in COCO itself, words in what some tools write.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[serde(untagged, expecting = "invalid value, expected a number or a text")]
pub(super) enum Id {
    Number(i64),
    Word(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Segmentation {
    Polygons(Vec<Vec<f64>>),
    Runs { counts: Counts, size: [usize; 2] },
    Other(Value),
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Counts {
    Packed(String),
    Plain(Vec<u32>),
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Word(word) => write!(f, "`{word}`"),
        }
    }
}
