//! What a reader of a picture should be told though the picture is there.

use std::fmt;
use std::path::Path;

/// Something about a picture file that was read, but perhaps not as its owner thinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// Samples have 16 bits, but no value is above 4095: a camera's or scanner's 12 bits. 16-bit values keep their high
    /// byte, so that the picture is nearly black.
    TwelveBits {
        /// The greatest value of a colour, 1 to 4095.
        greatest: u16,
    },
    /// The file holds several pictures; the first was read.
    FirstOfSeveral {
        /// How many, where that is known without decoding them.
        pictures: Option<usize>,
    },
}

impl Notice {
    /// Values above this need more than 12 bits.
    pub(crate) const TWELVE_BITS: u16 = 4095;

    /// What there is to know.
    pub fn what(&self) -> String {
        match self {
            Self::TwelveBits { greatest } => format!(
                "16-bit values that end at {greatest} of 65535: the picture is nearly black"
            ),
            Self::FirstOfSeveral {
                pictures: Some(count),
            } => format!("the first of {count} pages is read"),
            Self::FirstOfSeveral { pictures: None } => {
                "the first frame of an animation is read".into()
            }
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::TwelveBits { .. } => {
                "stretch its values to 16 bits, or save it with 8 (as bright as the pictures that the network learned from)"
            }
            Self::FirstOfSeveral { .. } => "save the others to files of their own if they matter",
        }
    }

    /// `what · where · how to mend`, said of the file.
    pub fn at(&self, path: &Path) -> String {
        format!("{} · {} · {}", self.what(), path.display(), self.remedy())
    }
}

/// `what · how to mend`.
impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} · {}", self.what(), self.remedy())
    }
}
