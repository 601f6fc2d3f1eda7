//! The size a picture is given before a network sees it.

use std::fmt;
use std::str::FromStr;

use crate::{ErrorKind, PictureError, Size};

/// How large a picture becomes before it is cropped, padded and normalised.
///
/// Written and parsed as `none`, `520` (short side), `long:513`, `512x384` (width × height), `short:800:1333` (short
/// side, and the most of the long one), `near:518x518:14` (multiples of 14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resize {
    /// Its own size.
    #[default]
    None,
    /// The short side becomes this, the other `int(side · long / short)`: torchvision's `Resize(side)`.
    ShortSide(usize),
    /// The long side becomes this: both sides are `int(length · side / long)`, as DeepLab's demo does it.
    LongSide(usize),
    /// The short side becomes `side`, or less where the long one would become longer than `most`, and both then the next
    /// multiples: transformers' `shortest_edge` with `longest_edge` and `size_divisor`.
    ShortSideWithin {
        /// The short side.
        side: usize,
        /// The most that the long side becomes.
        most: usize,
        /// Sides become multiples of this, upwards.
        multiple: usize,
    },
    /// Both sides scaled by one factor, of the two that make one side the given one that which is nearer to 1, and
    /// rounded to multiples: transformers' `keep_aspect_ratio`.
    Near {
        /// Width in pixels that is aimed at.
        width: usize,
        /// Height in pixels that is aimed at.
        height: usize,
        /// Sides become multiples of this.
        multiple: usize,
    },
    /// Both sides are given; the proportions are not kept.
    Exact {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
    },
}

impl Resize {
    /// The most pixels that a rule which keeps proportions makes: 2²⁶. A picture of 1×9000 with a short side of
    /// 520 would have 2.4 billion; it is shrunk, proportions kept, until it fits.
    pub const MAX_PIXELS: usize = Size::MAX_INPUT_PIXELS;

    /// Whether no picture becomes larger by this rule than a network may be given. Text is checked when it is parsed.
    ///
    /// # Errors
    /// A side of 0, one above [`Size::MAX_INPUT_SIDE`], or an area above [`Size::MAX_INPUT_PIXELS`].
    pub fn check(&self) -> Result<(), PictureError> {
        match *self {
            Self::None => Ok(()),
            // The other side follows from the picture and is shrunk to fit.
            Self::ShortSide(side) | Self::LongSide(side) => {
                Size::side_for_network(side).map(|_| ())
            }
            Self::ShortSideWithin {
                side,
                most,
                multiple,
            } => Size::side_for_network(side)
                .and_then(|_| Size::side_for_network(most))
                .and_then(|_| Size::side_for_network(multiple))
                .map(|_| ()),
            Self::Near {
                width,
                height,
                multiple,
            } => Size::for_network(width, height)
                .and_then(|_| Size::side_for_network(multiple))
                .map(|_| ()),
            Self::Exact { width, height } => Size::for_network(width, height).map(|_| ()),
        }
    }

    /// The size that a picture of `width`×`height` becomes, at least 1×1.
    pub fn size_of(&self, width: usize, height: usize) -> (usize, usize) {
        let (short, long) = (width.min(height).max(1), width.max(height).max(1));
        let (width, height) = match *self {
            Self::None => (width, height),
            Self::Exact { width, height } => (width, height),
            Self::ShortSide(side) => {
                // As Python's int(side * long / short): exact product, one rounded division, then cut off.
                let other = ((side as u128 * long as u128) as f64 / short as f64) as usize;
                let (new_short, new_long) = Size::fitted(side, other);
                if width <= height {
                    (new_short, new_long)
                } else {
                    (new_long, new_short)
                }
            }
            Self::ShortSideWithin {
                side,
                most,
                multiple,
            } => {
                let (short, long) = (short as f64, long as f64);
                // As transformers: what the limit leaves is rounded for the short side and not for the long one.
                let (new_short, scaled) = if long / short * side as f64 > most as f64 {
                    let raw = most as f64 * short / long;
                    (raw.round_ties_even(), raw)
                } else {
                    (side as f64, side as f64)
                };
                let new_long = if short == new_short {
                    long
                } else {
                    (scaled * long / short).trunc()
                };
                let up = |side: f64| (side as usize).max(1).next_multiple_of(multiple.max(1));
                let (new_short, new_long) = Size::fitted(up(new_short), up(new_long));
                if width <= height {
                    (new_short, new_long)
                } else {
                    (new_long, new_short)
                }
            }
            Self::Near {
                width: to_width,
                height: to_height,
                multiple,
            } => {
                let across = to_width as f64 / width.max(1) as f64;
                let down = to_height as f64 / height.max(1) as f64;
                let scale = if (1.0 - across).abs() < (1.0 - down).abs() {
                    across
                } else {
                    down
                };
                let step = multiple.max(1);
                let rounded = |side: usize| {
                    let steps = (scale * side as f64 / step as f64).round_ties_even() as usize;
                    steps.max(1).saturating_mul(step)
                };
                Size::fitted(rounded(width), rounded(height))
            }
            Self::LongSide(side) => {
                let scale = side as f64 / long as f64;
                // A scale rounded down must not cost the long side its last pixel.
                let scaled = |length: usize| {
                    if length == long {
                        side
                    } else {
                        (length as f64 * scale) as usize
                    }
                };
                Size::fitted(scaled(width), scaled(height))
            }
        };
        (width.max(1), height.max(1))
    }
}

impl FromStr for Resize {
    type Err = PictureError;

    fn from_str(text: &str) -> Result<Self, PictureError> {
        let side = |digits: &str| digits.trim().parse().ok().filter(|&n: &usize| n > 0);
        let lower = text.trim().to_ascii_lowercase();
        let rule = if lower == "none" {
            Some(Self::None)
        } else if let Some(digits) = lower.strip_prefix("long:") {
            side(digits).map(Self::LongSide)
        } else if let Some(digits) = lower.strip_prefix("short:") {
            match digits.split_once(':') {
                Some((short, rest)) => {
                    let (most, multiple) = rest.split_once(':').unwrap_or((rest, "1"));
                    let all = side(short).zip(side(most)).zip(side(multiple));
                    all.map(|((side, most), multiple)| Self::ShortSideWithin {
                        side,
                        most,
                        multiple,
                    })
                }
                None => side(digits).map(Self::ShortSide),
            }
        } else if let Some(rest) = lower.strip_prefix("near:") {
            rest.split_once(':').and_then(|(sides, multiple)| {
                let (width, height) = sides.split_once(['x', '×'])?;
                Some(Self::Near {
                    width: side(width)?,
                    height: side(height)?,
                    multiple: side(multiple)?,
                })
            })
        } else if let Some((width, height)) = lower.split_once(['x', '×']) {
            let both = side(width).zip(side(height));
            both.map(|(width, height)| Self::Exact { width, height })
        } else {
            side(&lower).map(Self::ShortSide)
        };
        let rule = rule.ok_or_else(|| {
            PictureError::new(
                ErrorKind::Setting,
                format!("“{text}” is no way to resize"),
                "the resize setting",
                "write 520 (short side), long:513 (long side), 512x384 (width x height) or none",
            )
        })?;
        rule.check()
            .map_err(|error| error.of("the resize setting"))?;
        Ok(rule)
    }
}

impl fmt::Display for Resize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => write!(f, "none"),
            Self::ShortSide(side) => write!(f, "{side}"),
            Self::LongSide(side) => write!(f, "long:{side}"),
            Self::ShortSideWithin {
                side,
                most,
                multiple: 1,
            } => write!(f, "short:{side}:{most}"),
            Self::ShortSideWithin {
                side,
                most,
                multiple,
            } => write!(f, "short:{side}:{most}:{multiple}"),
            Self::Near {
                width,
                height,
                multiple,
            } => write!(f, "near:{width}x{height}:{multiple}"),
            Self::Exact { width, height } => write!(f, "{width}x{height}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_libraries() {
        assert_eq!(Resize::ShortSide(520).size_of(140, 90), (808, 520));
        assert_eq!(Resize::ShortSide(520).size_of(375, 500), (520, 693));
        assert_eq!(Resize::LongSide(513).size_of(500, 375), (513, 384));
        assert_eq!(Resize::LongSide(513).size_of(333, 500), (341, 513));
        assert_eq!(
            Resize::Exact {
                width: 3,
                height: 0
            }
            .size_of(9, 9),
            (3, 1)
        );
        assert_eq!(Resize::None.size_of(7, 5), (7, 5));
    }

    #[test]
    fn thin_pictures_keep_a_side_and_fit_in_memory() {
        assert_eq!(Resize::LongSide(513).size_of(1, 9000), (1, 513));
        let (width, height) = Resize::ShortSide(520).size_of(1, 9000);
        assert!(
            width * height <= Resize::MAX_PIXELS && width > 1,
            "{width}×{height}"
        );
    }

    #[test]
    fn what_is_written_is_read() {
        for text in [
            "none",
            "520",
            "long:513",
            "512x384",
            "short:800:1333",
            "short:800:1333:32",
            "near:518x392:14",
        ] {
            assert_eq!(text.parse::<Resize>().unwrap().to_string(), text);
        }
        assert_eq!("short:64".parse::<Resize>().unwrap(), Resize::ShortSide(64));
        for text in ["", "0", "long:", "3x", "x", "big", "-4", "long:0", "4x0"] {
            let error = text.parse::<Resize>().unwrap_err().to_string();
            assert!(error.contains("long:513"), "{error}");
        }
        for text in [
            "1000000x1000000",
            "1000000",
            "long:65537",
            "8193x8192",
            "short:99999999999",
        ] {
            let error = text.parse::<Resize>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooLarge, "{text}: {error}");
        }
    }
}
