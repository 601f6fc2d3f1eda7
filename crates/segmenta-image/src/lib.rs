//! Pictures in, label maps and drawings out.
//!
//! In: photographs of any common format ([`Picture::open`]) and masks ([`LabelMap::open`]).
//! On the way: [`Preprocess`] resizes, crops, pads and normalises a picture into the tensor a network reads, and
//! remembers in a [`Geometry`] which part of the photograph the tensor shows.
//! Out: label maps as palette PNGs ([`LabelMap::save`]), overlays ([`LabelMap::overlay`]), cut-outs ([`cutout`]),
//! grids ([`make_grid`]), legends ([`legend`]), probabilities ([`save_probability`]); for figures, words
//! ([`Text`]), areas and pictures drawn on a picture.
//!
//! From and to other crates: [`Picture::from_slice`] of rows with any stride, `image::DynamicImage` both ways, and with
//! the feature `ndarray` views of heights × widths (× 3).
//!
//! Values are Pillow's and torchvision's, pinned by the project's conformance files. Every file is written
//! whole or not at all ([`write_atomic`]), and what is a result says so ([`mark_result`]); every error says what, where and what to do ([`PictureError`]).
//! Sizes are `(width, height)` in pixels; pictures have at least one pixel.

mod bmp;
mod cmyk;
mod convert;
mod cutout;
mod decode;
mod error;
mod frames;
mod grid;
mod guard;
mod jpeg;
mod label_map;
mod legend;
mod mark;
#[cfg(feature = "ndarray")]
mod nd;
mod notice;
mod orient;
mod outline;
mod overlay;
mod palette;
mod picture;
mod preprocess;
mod rect;
mod resize;
mod resize_rule;
mod save;
mod size;
mod text;
mod tiff;

pub use convert::PixelLayout;
pub use cutout::cutout;
pub use decode::exif_orientation;
pub use error::{ErrorKind, PictureError};
pub use grid::{make_grid, make_grid_normalised};
pub use label_map::LabelMap;
pub use legend::{LegendEntry, legend};
pub use mark::{mark_result, result_mark};
pub use notice::Notice;
pub use outline::{Corner, Region, compress_run_lengths};
pub use palette::Palette;
pub use picture::{EXTENSIONS, Filter, Picture, looks_like_picture};
pub use preprocess::{ChannelOrder, Geometry, Middle, Pad, Pixels, Prepared, Preprocess};
pub use rect::Rect;
pub use resize_rule::Resize;
pub use save::{probability_png, save_probability, write_atomic};
pub use size::Size;
pub use text::Text;

/// The id that marks pixels without a class: boundaries and the unlabelled, as in Pascal VOC.
pub const VOID: u8 = 255;

/// The most pixels a picture may have to be decoded: 2²⁸, a square of 16384.
pub const MAX_PIXELS: u64 = 1 << 28;

/// The most memory a decoder may take, in bytes: enough for [`MAX_PIXELS`] of 16-bit RGBA, twice.
pub(crate) const MAX_DECODER_BYTES: u64 = 1 << 32;
