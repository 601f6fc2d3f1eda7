//! How a picture goes through the network: options of every command that segments pictures.

use clap::{Args, ValueEnum};
use segmenta::{Preprocess, Resize, SegmentOptions, Tiles};

use super::message::Usage;
use super::values::tile;

#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct SegmentArgs {
    /// Test-time augmentation; `flip`: average with the mirror image, for twice the time
    #[arg(long)]
    pub(crate) tta: Option<Tta>,
    /// Tiles of this many pixels, blended: for pictures of any size, at full resolution
    ///
    /// Memory is bounded by the tile, and pictures keep their own size.
    #[arg(long, value_name = "PIXELS", value_parser = tile)]
    pub(crate) tile: Option<usize>,
    /// How far tiles overlap [default: an eighth of a tile, at most 64]
    #[arg(long, value_name = "PIXELS", requires = "tile")]
    pub(crate) overlap: Option<usize>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Tta {
    /// The picture and its mirror image
    Flip,
}

impl SegmentArgs {
    /// The arguments as the library takes them.
    pub(crate) fn options(&self) -> Result<SegmentOptions, Usage> {
        let tiles = self.tile.map(|size| {
            let overlap = self.overlap.unwrap_or_else(|| (size / 8).min(64));
            Tiles::new(size, overlap)
        });
        let tiles = tiles.transpose();
        Ok(SegmentOptions::new()
            .flip(matches!(self.tta, Some(Tta::Flip)))
            .tiles(tiles.map_err(|error| Usage(error.to_string()))?))
    }
}

/// Where the user overrides the weights' own recipe for pictures.
#[derive(Default)]
pub(crate) struct Recipe {
    pub(crate) resize: Option<Resize>,
    pub(crate) center_crop: Option<[usize; 2]>,
    pub(crate) mean: Option<[f32; 3]>,
    pub(crate) std: Option<[f32; 3]>,
}

impl Recipe {
    /// In tiles there is all of a picture to see, at its own size, unless another was asked for.
    pub(crate) fn in_tiles_of(mut self, args: &SegmentArgs) -> Self {
        self.resize = self.resize.or(args.tile.map(|_| Resize::None));
        self
    }

    /// The weights' own recipe as the user changes it. The canvas on which training stood belongs
    /// to the size that pictures had there, and goes with it.
    pub(crate) fn of(&self, own: &Preprocess) -> Preprocess {
        let resized = self.resize.is_some() || self.center_crop.is_some();
        Preprocess {
            resize: self.resize.unwrap_or(own.resize),
            center_crop: self.center_crop.or(own.center_crop.filter(|_| !resized)),
            mean: self.mean.unwrap_or(own.mean),
            std: self.std.unwrap_or(own.std),
            pad: own.pad.filter(|_| !resized),
            pixels: own.pixels,
        }
    }
}
