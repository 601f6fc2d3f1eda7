//! Which layouts of data sets are known.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::DataError;

/// How the files of a data set lie and what its masks' values mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Pascal VOC's devkit: `JPEGImages`, `SegmentationClass` (palette PNG, 255 = boundary),
    /// `ImageSets/Segmentation/*.txt`.
    Voc,
    /// Oxford-IIIT Pets: `images`, `annotations/trimaps` (1 pet, 2 background, 3 border), `annotations/*.txt`.
    Pets,
    /// CamVid as SegNet's authors gave it out: `train` and `trainannot`, `val` and `valannot`, `test` and `testannot`
    /// (id 11: unlabelled).
    #[serde(rename = "camvid")]
    CamVid,
    /// Cityscapes: `leftImg8bit/SPLIT/CITY`, `gtFine/SPLIT/CITY` with label ids or train ids.
    Cityscapes,
    /// ADE20K's scene parsing: `images/training`, `annotations/training` (0: no class, 1 to 150).
    Ade20k,
    /// COCO: a JSON of annotations beside folders of pictures.
    Coco,
    /// Pictures in one folder, masks of the same names in another.
    Folder,
    /// Pictures only, in a folder for each class of picture: torchvision's `ImageFolder`.
    ImageFolder,
    /// Made by a program.
    #[serde(skip)]
    Memory,
}

impl Kind {
    /// All that lie on disk, in the order in which they are looked for.
    pub const ALL: [Self; 8] = [
        Self::Voc,
        Self::Pets,
        Self::Cityscapes,
        Self::Ade20k,
        Self::CamVid,
        Self::Coco,
        Self::Folder,
        Self::ImageFolder,
    ];

    /// Its name on the command line and in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Voc => "voc",
            Self::Pets => "pets",
            Self::CamVid => "camvid",
            Self::Cityscapes => "cityscapes",
            Self::Ade20k => "ade20k",
            Self::Coco => "coco",
            Self::Folder => "folder",
            Self::ImageFolder => "image-folder",
            Self::Memory => "memory",
        }
    }

    /// What must lie in its folder.
    pub fn layout(self) -> &'static str {
        match self {
            Self::Voc => "JPEGImages/, SegmentationClass/, ImageSets/Segmentation/{train,val}.txt",
            Self::Pets => "images/, annotations/trimaps/, annotations/{trainval,test}.txt",
            Self::CamVid => "train/, trainannot/, val/, valannot/, test/, testannot/",
            Self::Cityscapes => "leftImg8bit/{train,val}/CITY/, gtFine/{train,val}/CITY/",
            Self::Ade20k => "images/{training,validation}/, annotations/{training,validation}/",
            Self::Coco => "annotations/instances_{train,val}*.json beside folders of pictures",
            Self::Folder => {
                "images/ and masks/ with the same names, also below train/, val/, test/"
            }
            Self::ImageFolder => "pictures, in a folder for each class",
            Self::Memory => "nothing",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let found = Self::ALL
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            DataError::setting(
                format!("there is no kind of data `{text}`"),
                "kind",
                format!("one of {names}"),
            )
        })
    }
}

/// Which part of a data set a picture belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// To learn from.
    Train,
    /// To choose by while learning.
    Val,
    /// To measure on, once.
    Test,
}

impl Split {
    /// All, in their usual order.
    pub const ALL: [Self; 3] = [Self::Train, Self::Val, Self::Test];

    /// `train`, `val` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }

    /// The split that a folder or list of this name holds: `training`, `val2017`, `trainval` ….
    pub(crate) fn of_folder(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let word = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_' || c == '-');
        match word {
            "train" | "training" | "trainval" => Some(Self::Train),
            "val" | "valid" | "validation" | "dev" => Some(Self::Val),
            "test" | "testing" => Some(Self::Test),
            _ => None,
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Split {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let found = Self::ALL.into_iter().find(|split| split.name() == text);
        found.ok_or_else(|| {
            DataError::setting(
                format!("there is no split `{text}`"),
                "split",
                "train, val or test",
            )
        })
    }
}
