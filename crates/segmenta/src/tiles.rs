//! Pictures of any size in bounded memory: overlapping tiles, their logits blended.
//!
//! Tiles are spread evenly. Where two meet, their logits fade into each other over a seam of
//! `overlap` pixels in the middle of what they share, far from the edges at which a network sees
//! too little. Only seams are kept from one tile to the next: the memory is that of a tile, plus
//! the picture, its labels and one seam across it.
//!
//! Maps coarser than their tiles are enlarged first. Where the network's stride divides tiles and picture, tiles begin
//! at its multiples, so that their maps' pixels lie where those of the whole picture would.

mod mosaic;

use std::borrow::Cow;
use std::ops::{ControlFlow, Range};
use std::time::Instant;

use segmenta_graph::Shape;
use segmenta_image::{Filter, Geometry, LabelMap, Picture, Preprocess, Rect, Resize};
use segmenta_runtime::{Logits, Tensor};

use self::mosaic::{Mosaic, Tile};
use crate::error::Error;
use crate::model::Model;
use crate::options::{Progress, SegmentOptions, Watched, unwatched};
use crate::part::average_mirrored;
use crate::scores::{Scores, to_probability};
use crate::segment::together;
use crate::segmentation::{Segmentation, Stages};

/// Square tiles and how far they fade into each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiles {
    size: usize,
    overlap: usize,
}

/// A tile along one axis.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    /// The pixels that the network sees.
    tile: Range<usize>,
    /// The pixels that it has a say in.
    used: Range<usize>,
    /// How many of the first of these it shares with the tile before.
    before: usize,
    /// How many of the last it shares with the tile after.
    after: usize,
}

impl Span {
    /// What is final once this tile is done.
    fn finished(&self) -> Range<usize> {
        self.used.start..self.used.end - self.after
    }
}

impl Tiles {
    /// Tiles of `size`×`size` pixels that share at least `overlap`.
    ///
    /// # Errors
    /// If `overlap` is more than a third of `size`: three tiles would meet; or if tiles are larger than a network may
    /// be given ([`segmenta_image::Size::for_network`]).
    pub fn new(size: usize, overlap: usize) -> Result<Self, Error> {
        if size == 0 || overlap > size / 3 {
            return Err(Error::Setting(format!(
                "tiles of {size} pixels cannot overlap by {overlap} · at most a third of a tile, \
                 here {}",
                size / 3
            )));
        }
        segmenta_image::Size::for_network(size, size).map_err(|error| error.of("the tiles"))?;
        Ok(Self { size, overlap })
    }

    /// Pixels of a tile's side.
    pub fn size(self) -> usize {
        self.size
    }

    /// Pixels that neighbours share at least.
    pub fn overlap(self) -> usize {
        self.overlap
    }

    /// The tiles along a side, for a network whose maps have a pixel for `stride` of the input.
    fn along(self, side: usize, stride: f64) -> Vec<Span> {
        if side <= self.size {
            return vec![Span {
                tile: 0..side,
                used: 0..side,
                before: 0,
                after: 0,
            }];
        }
        let unit = self.unit(side, stride);
        let (rest, step) = (side - self.size, self.size - self.overlap);
        let steps = (rest / unit).div_ceil(step / unit);
        let start = |i: usize| i * (rest / unit) / steps * unit;
        // The seam between a tile and the next, in the middle of what both see.
        let seam = |i: usize| (start(i + 1) + start(i) + self.size - self.overlap) / 2;
        (0..=steps)
            .map(|i| {
                let (first, last) = (i == 0, i == steps);
                let from = if first { 0 } else { seam(i - 1) };
                let to = if last { side } else { seam(i) + self.overlap };
                Span {
                    tile: start(i)..start(i) + self.size,
                    used: from..to,
                    before: if first { 0 } else { self.overlap },
                    after: if last { 0 } else { self.overlap },
                }
            })
            .collect()
    }

    /// What tiles begin at multiples of.
    fn unit(self, side: usize, stride: f64) -> usize {
        let whole = stride as usize;
        let divides = |n: usize| n.is_multiple_of(whole);
        let fits = stride.fract() == 0.0 && divides(side) && divides(self.size);
        if fits && whole <= self.size - self.overlap {
            whole
        } else {
            1
        }
    }

    /// Segments a picture tile by tile, at the size that the model's recipe resizes it to.
    pub(crate) fn segment(
        self,
        model: &Model,
        picture: &Picture,
        options: &SegmentOptions,
        watch: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Segmentation, Error> {
        let cut = Cut::new(self, model, picture)?;
        let (width, height) = cut.picture.size();
        let start = Instant::now();
        let answer = *model.per_pixel()?;
        let (engine, how) = (model.engine(), to_probability(&answer));
        let mut labels = vec![0; width * height];
        let mut probability = options.probability.then(|| vec![0.0; width * height]);
        cut.run(options, watch, |tile| {
            let size = [tile.rows, tile.columns];
            let logits = Logits {
                threshold: answer.threshold_value(),
                ..Logits::whole(&tile.values, tile.classes, size)
            };
            tile.paste(&engine.labels(logits, size), &mut labels, width);
            if let Some(whole) = &mut probability {
                let scores = engine.winning_probability(logits, how, size);
                tile.paste(&scores, whole, width);
            }
        })?;
        let stages = Stages {
            prepare_ms: cut.prepare_ms,
            network_ms: start.elapsed().as_secs_f64() * 1e3,
            labels_ms: 0.0,
        };
        let labels = LabelMap::new(width, height, labels)?;
        let to = picture.size();
        let probability = probability.map(|p| nearest(&p, (width, height), to));
        let labels = if labels.size() == to {
            labels
        } else {
            labels.resize_nearest(to.0, to.1)
        };
        Ok(model.segmentation(labels, probability, stages))
    }

    /// The values of all tiles as one map, of the size that the model's recipe resizes a picture to.
    pub(crate) fn scores<'m>(
        self,
        model: &'m Model,
        picture: &Picture,
        options: &SegmentOptions,
    ) -> Result<Scores<'m>, Error> {
        let cut = Cut::new(self, model, picture)?;
        let (width, height) = cut.picture.size();
        let start = Instant::now();
        let answer = *model.per_pixel()?;
        let pixels = width * height;
        let mut values = vec![0.0; answer.classes * pixels];
        cut.run(options, &mut unwatched, |tile| {
            let planes = tile.values.chunks_exact(tile.rows * tile.columns);
            for (plane, whole) in planes.zip(values.chunks_exact_mut(pixels)) {
                tile.paste(plane, whole, width);
            }
        })?;
        Ok(Scores {
            model,
            answer,
            map: Tensor {
                shape: Shape::new(1, answer.classes, height, width),
                data: values,
            },
            geometry: Geometry {
                valid: Rect::new(0, 0, width, height),
                covers: Rect::new(0, 0, picture.width(), picture.height()),
                picture: picture.size(),
            },
            input: (width, height),
            stages: Stages {
                prepare_ms: cut.prepare_ms,
                network_ms: start.elapsed().as_secs_f64() * 1e3,
                labels_ms: 0.0,
            },
        })
    }
}

/// A picture that is about to be cut into tiles.
struct Cut<'a> {
    tiles: Tiles,
    model: &'a Model,
    recipe: Preprocess,
    /// At the size that the model's recipe resizes it to.
    picture: Cow<'a, Picture>,
    prepare_ms: f64,
}

impl<'a> Cut<'a> {
    fn new(tiles: Tiles, model: &'a Model, picture: &'a Picture) -> Result<Self, Error> {
        let start = Instant::now();
        let recipe = &model.description().preprocess;
        if recipe.center_crop.is_some() {
            return Err(Error::Setting(
                "tiles show the whole picture · leave the centre crop or the tiles out".into(),
            ));
        }
        let (width, height) = recipe.resize.size_of(picture.width(), picture.height());
        let picture = if picture.size() == (width, height) {
            Cow::Borrowed(picture)
        } else {
            Cow::Owned(picture.resize(width, height, Filter::Bilinear))
        };
        Ok(Self {
            tiles,
            model,
            recipe: Preprocess {
                resize: Resize::None,
                pad: None,
                ..recipe.clone()
            },
            picture,
            prepare_ms: start.elapsed().as_secs_f64() * 1e3,
        })
    }

    /// Gives every part of the picture to `finish` as soon as it is final.
    fn run(
        &self,
        options: &SegmentOptions,
        watch: &mut dyn FnMut(Progress) -> ControlFlow<()>,
        finish: impl FnMut(Tile),
    ) -> Result<(), Error> {
        let [down, across] = self.model.per_pixel()?.stride;
        let (width, height) = self.picture.size();
        let columns = self.tiles.along(width, across);
        let rows = self.tiles.along(height, down);
        let runs = (1 + usize::from(options.flip)) * rows.len() * columns.len();
        let mut watched = Watched::new(runs, watch);
        watched.tell()?;
        let mut mosaic = Mosaic::new(width, finish);
        for rows in &rows {
            mosaic.row(rows, &columns, |area| {
                self.logits(area, options.flip, &mut watched)
            })?;
        }
        Ok(())
    }

    /// What the network says of one tile, at the tile's size.
    fn logits(&self, area: Rect, flip: bool, watched: &mut Watched<'_>) -> Result<Tensor, Error> {
        let tile = self.picture.crop(area)?;
        let (geometries, batch) = together(vec![self.recipe.apply(&tile)]);
        let mut map = self.model.forward(&batch)?;
        watched.advance()?;
        if flip {
            let mirrored = self.recipe.apply(&tile.flip_horizontal());
            let (_, batch) = together(vec![mirrored]);
            average_mirrored(
                &mut map,
                &self.model.forward(&batch)?,
                &geometries,
                tile.size(),
            );
            watched.advance()?;
        }
        let shape = map.shape;
        let (from, to) = ([shape.height, shape.width], [area.height, area.width]);
        if from == to {
            return Ok(map);
        }
        let logits = Logits::whole(&map.data, shape.channels, from);
        Ok(Tensor {
            shape: Shape::new(1, shape.channels, to[0], to[1]),
            data: self.model.engine().class_scores(logits, to)?,
        })
    }
}

/// Nearest-neighbour resize of one plane, as label maps are resized.
fn nearest(plane: &[f32], from: (usize, usize), to: (usize, usize)) -> Vec<f32> {
    if from == to {
        return plane.to_vec();
    }
    let at =
        |i: usize, from: usize, to: usize| ((i as f64 + 0.5) * from as f64 / to as f64) as usize;
    let row = |y: usize| &plane[at(y, from.1, to.1) * from.0..][..from.0];
    (0..to.1)
        .flat_map(|y| (0..to.0).map(move |x| row(y)[at(x, from.0, to.0)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use segmenta_graph::{Builder, Conv2d, Scope};

    use super::*;

    proptest! {
        #![proptest_config(segmenta_properties::cases(256))]

        #[test]
        fn tiles_cover_a_side_and_only_neighbours_meet(
            size in 3_usize..200,
            overlap in 0_usize..60,
            side in 1_usize..2000,
            stride in prop::sample::select(vec![1.0, 2.0, 4.0, 8.0, 32.0, 0.5, 3.75]),
        ) {
            prop_assume!(overlap <= size / 3);
            let tiles = Tiles::new(size, overlap).unwrap();
            let spans = tiles.along(side, stride);
            let unit = tiles.unit(side, stride);
            let mut covered = 0;
            for (i, span) in spans.iter().enumerate() {
                prop_assert_eq!(span.finished().start, covered);
                covered = span.finished().end;
                prop_assert!(span.tile.start <= span.used.start && span.used.end <= span.tile.end);
                prop_assert!(span.before + span.after <= span.used.len(), "seams of tile {} meet", i);
                prop_assert!(span.tile.len() <= size && span.tile.end <= side);
                prop_assert!(side <= size || span.tile.start % unit == 0);
            }
            prop_assert_eq!(covered, side);
        }
    }

    /// Means of 4×4 pixels: a network that looks no further, at a quarter of the input.
    fn quarter() -> Model {
        let (mut g, x) = Builder::new(3);
        let means = Conv2d {
            padding: [0; 2],
            ..Conv2d::square(4, 3).stride(4)
        };
        let y = g.conv(x, &(&Scope::root() / "means"), means);
        g.output("out", y);
        Model::of_graph(g.finish().unwrap(), |parameter| {
            let of = |i: usize| f32::from(u8::from(i / 48 == i % 48 / 16)) / 16.0;
            (0..parameter.len()).map(of).collect()
        })
    }

    /// Pixels whose tile is so near its end that its map has no neighbour there to be interpolated with.
    fn ends(spans: &[Span], side: usize) -> Vec<bool> {
        let mut ends = vec![false; side];
        for Span {
            tile,
            used,
            before,
            after,
        } in spans
        {
            if *before > 0 && used.start < tile.start + 2 {
                ends[used.start..tile.start + 2].fill(true);
            }
            if *after > 0 && used.end + 2 > tile.end {
                ends[tile.end - 2..used.end].fill(true);
            }
        }
        ends
    }

    #[test]
    fn tiles_of_a_coarse_map_are_the_whole_picture() {
        let model = quarter();
        let (width, height) = (96, 84);
        let pixels = (0..3 * width * height)
            .map(|i| (i * 7919 % 251) as u8)
            .collect();
        let picture = Picture::from_rgb(width, height, pixels).unwrap();
        let whole = model.scores(&picture).unwrap();
        assert_eq!(
            (whole.tensor().shape.height, whole.tensor().shape.width),
            (21, 24)
        );
        let at = crate::Resolution::Photograph;
        let (values, labels) = (whole.values(at).unwrap(), whole.labels(at).unwrap());
        for (size, overlap) in [(32, 8), (40, 12), (16, 4), (100, 30)] {
            let tiles = Tiles::new(size, overlap).unwrap();
            let options = SegmentOptions::new().tiles(tiles);
            let tiled = model.scores_with(&picture, &options).unwrap();
            let ids = model.segment_with(&picture, &options).unwrap();
            let [xs, ys] = [width, height].map(|side| ends(&tiles.along(side, 4.0), side));
            let mut compared = 0;
            for (i, (whole, tiled)) in values.data.iter().zip(&tiled.tensor().data).enumerate() {
                let (x, y) = (i % width, i / width % height);
                if xs[x] || ys[y] {
                    continue;
                }
                compared += 1;
                assert!(
                    (whole - tiled).abs() < 1e-5,
                    "{size} {overlap}: {x}, {y}: {whole}, {tiled}"
                );
                let at = i % (width * height);
                assert_eq!(
                    ids.labels().ids()[at],
                    labels.ids()[at],
                    "{size} {overlap}: {x}, {y}"
                );
            }
            assert!(
                compared * 2 > values.data.len(),
                "{size} {overlap}: {compared}"
            );
        }
    }

    #[test]
    fn an_overlap_of_half_a_tile_is_refused() {
        let error = Tiles::new(100, 50).unwrap_err().to_string();
        assert!(error.contains("here 33"), "{error}");
    }
}
