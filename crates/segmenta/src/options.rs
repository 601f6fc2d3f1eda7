//! How a picture is segmented, and how that is watched and stopped.

use std::ops::ControlFlow;

use crate::error::Error;
use crate::scores::Resolution;
use crate::tiles::Tiles;

/// How a picture is segmented. The default is the whole picture once, and its labels alone.
///
/// ```
/// use segmenta::{SegmentOptions, Tiles};
/// let options = SegmentOptions::new().flip(true).tiles(Tiles::new(512, 64)?).probability(true);
/// # Ok::<(), segmenta::Error>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each asks for one thing")]
pub struct SegmentOptions {
    /// Average what the network says of the picture and of its mirror image.
    pub flip: bool,
    /// Cut the picture into overlapping tiles, so that memory is bounded by a tile.
    pub tiles: Option<Tiles>,
    /// Also say how sure the network is of each pixel.
    pub probability: bool,
    /// At which size labels and all else are wanted: the photograph's if nothing is said. Not with tiles.
    pub size: Resolution,
    /// Also give the labels of the network's own pixels, whatever the size. Not with tiles.
    pub network: bool,
    /// Also give logits. Not with tiles.
    pub logits: bool,
    /// Also give the probability of every class. Not with tiles.
    pub probabilities: bool,
}

impl SegmentOptions {
    /// The default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the picture and its mirror image are averaged.
    #[must_use]
    pub fn flip(mut self, flip: bool) -> Self {
        self.flip = flip;
        self
    }

    /// The tiles that it is cut into; `None` for the picture in one piece.
    #[must_use]
    pub fn tiles(mut self, tiles: impl Into<Option<Tiles>>) -> Self {
        self.tiles = tiles.into();
        self
    }

    /// Whether it is also said how sure the network is of each pixel.
    #[must_use]
    pub fn probability(mut self, probability: bool) -> Self {
        self.probability = probability;
        self
    }

    /// The size at which labels and all else are wanted.
    #[must_use]
    pub fn size(mut self, size: Resolution) -> Self {
        self.size = size;
        self
    }

    /// Whether logits are given.
    #[must_use]
    pub fn logits(mut self, logits: bool) -> Self {
        self.logits = logits;
        self
    }

    /// Whether the probability of every class is given.
    #[must_use]
    pub fn probabilities(mut self, probabilities: bool) -> Self {
        self.probabilities = probabilities;
        self
    }

    /// What tiles do not give: they are put together at the photograph's size.
    pub(crate) fn check_tiles(&self) -> Result<(), Error> {
        let asked = if self.size != Resolution::Photograph {
            "another size than the photograph's"
        } else if self.logits {
            "logits of each pixel"
        } else if self.probabilities {
            "probabilities of all classes"
        } else {
            return Ok(());
        };
        let what = format!("{asked} of a picture in tiles · tiles · leave the tiles out");
        Err(Error::Setting(what))
    }

    /// What is done beside putting the whole picture through the network once, in words.
    pub(crate) fn words(&self) -> Vec<String> {
        let mirrored = self.flip.then(|| "averaged with mirror images".to_owned());
        let tiles = self.tiles.map(|tiles| {
            let (size, overlap) = (tiles.size(), tiles.overlap());
            format!("in tiles of {size} pixels that overlap by {overlap}")
        });
        mirrored.into_iter().chain(tiles).collect()
    }

    /// Test-time augmentation by its name.
    pub(crate) fn tta(&self) -> Option<&'static str> {
        self.flip.then_some("flip")
    }
}

/// How much of a picture is done.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Runs of the network that are done: one a tile, or one for the whole picture; twice as many where mirror
    /// images are averaged.
    pub done: usize,
    /// All that there will be, at least 1.
    pub total: usize,
}

/// Counts the network's runs, and asks before each whether to go on.
pub(crate) struct Watched<'a> {
    watch: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
    progress: Progress,
}

impl<'a> Watched<'a> {
    pub(crate) fn new(total: usize, watch: &'a mut dyn FnMut(Progress) -> ControlFlow<()>) -> Self {
        let progress = Progress { done: 0, total };
        Self { watch, progress }
    }

    /// Says how far it is.
    pub(crate) fn tell(&mut self) -> Result<(), Error> {
        match (self.watch)(self.progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Cancelled),
        }
    }

    /// One more run is done.
    pub(crate) fn advance(&mut self) -> Result<(), Error> {
        self.progress.done += 1;
        self.tell()
    }
}

/// Nobody watches.
pub(crate) fn unwatched(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}
