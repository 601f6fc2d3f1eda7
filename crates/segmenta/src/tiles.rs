//! Pictures of any size in bounded memory: overlapping tiles, their logits blended.
//!
//! Tiles are spread evenly. Where two meet, their logits fade into each other over a seam of
//! `overlap` pixels in the middle of what they share, far from the edges at which a network sees
//! too little. Only seams are kept from one tile to the next: the memory is that of a tile, plus
//! the picture, its labels and one seam across it.

use std::ops::Range;
use std::time::Instant;

use segmenta_image::{LabelMap, Picture, Preprocess, Rect, Resize};
use segmenta_runtime::{Logits, Tensor};

use crate::error::Error;
use crate::model::Model;
use crate::segmentation::{SegmentOptions, Segmentation, Stages, average_mirrored, together};

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
    /// If `overlap` is more than a third of `size`: three tiles would meet.
    pub fn new(size: usize, overlap: usize) -> Result<Self, Error> {
        if size == 0 || overlap > size / 3 {
            return Err(Error::Setting(format!(
                "tiles of {size} pixels cannot overlap by {overlap} · at most a third of a tile, \
                 here {}",
                size / 3
            )));
        }
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

    /// The tiles along a side.
    fn along(self, side: usize) -> Vec<Span> {
        if side <= self.size {
            return vec![Span {
                tile: 0..side,
                used: 0..side,
                before: 0,
                after: 0,
            }];
        }
        let steps = (side - self.size).div_ceil(self.size - self.overlap);
        let start = |i: usize| i * (side - self.size) / steps;
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

    /// Segments a picture tile by tile, at the size that the model's recipe resizes it to.
    pub(crate) fn segment(
        self,
        model: &Model,
        picture: &Picture,
        options: &SegmentOptions,
    ) -> Result<Segmentation, Error> {
        let recipe = &model.description().preprocess;
        if recipe.center_crop.is_some() {
            return Err(Error::Setting(
                "tiles show the whole picture · leave the centre crop or the tiles out".into(),
            ));
        }
        let start = Instant::now();
        let (width, height) = recipe.resize.size_of(picture.width(), picture.height());
        let resized = (picture.size() != (width, height))
            .then(|| picture.resize(width, height, segmenta_image::Filter::Bilinear));
        let prepare_ms = start.elapsed().as_secs_f64() * 1e3;

        let start = Instant::now();
        let mut mosaic = Mosaic {
            model,
            options,
            recipe: Preprocess {
                resize: Resize::None,
                pad: None,
                ..recipe.clone()
            },
            picture: resized.as_ref().unwrap_or(picture),
            labels: vec![0; width * height],
            probability: options.probability.then(|| vec![0.0; width * height]),
            below: Vec::new(),
        };
        let columns = self.along(width);
        for rows in self.along(height) {
            mosaic.row(&rows, &columns)?;
        }
        let stages = Stages {
            prepare_ms,
            network_ms: start.elapsed().as_secs_f64() * 1e3,
            labels_ms: 0.0,
        };
        let Mosaic {
            labels,
            probability,
            ..
        } = mosaic;
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
}

/// A picture being segmented tile by tile, from the top left.
struct Mosaic<'a> {
    model: &'a Model,
    options: &'a SegmentOptions,
    recipe: Preprocess,
    picture: &'a Picture,
    labels: Vec<u8>,
    probability: Option<Vec<f32>>,
    /// What the tiles above say of the seam below them: `[class][row of the seam][column]`.
    below: Vec<f32>,
}

impl Mosaic<'_> {
    fn row(&mut self, rows: &Span, columns: &[Span]) -> Result<(), Error> {
        // What the tile to the left says of the seam between: `[class][row][column of the seam]`.
        let mut beside = Vec::new();
        for columns in columns {
            let logits = self.logits(rows, columns)?;
            let classes = logits.shape.channels;
            let mut part = Part::cut(&logits, rows, columns);
            part.fade_columns(columns, &mut beside);
            let width = self.picture.width();
            self.below
                .resize(classes * rows.before.max(rows.after) * width, 0.0);
            part.fade_rows(rows, columns.finished(), &mut self.below, width);
            self.finish(&part, rows.finished().start, columns.finished().start);
        }
        Ok(())
    }

    /// The logits of one tile.
    fn logits(&self, rows: &Span, columns: &Span) -> Result<Tensor, Error> {
        let area = Rect::new(
            columns.tile.start,
            rows.tile.start,
            columns.tile.len(),
            rows.tile.len(),
        );
        let tile = self.picture.crop(area)?;
        let (geometries, batch) = together(vec![self.recipe.apply(&tile)]);
        let mut logits = self.model.forward(&batch)?;
        if self.options.flip {
            let mirrored = self.recipe.apply(&tile.flip_horizontal());
            let (_, batch) = together(vec![mirrored]);
            average_mirrored(&mut logits, &self.model.forward(&batch)?, &geometries);
        }
        Ok(logits)
    }

    /// Labels of a part that is final.
    fn finish(&mut self, part: &Part, top: usize, left: usize) {
        let logits = Logits {
            values: &part.values,
            classes: part.classes,
            height: part.rows,
            width: part.columns,
            valid: [0, 0, part.columns, part.rows],
        };
        let size = [part.rows, part.columns];
        let width = self.picture.width();
        let at = |row: usize| (top + row) * width + left;
        let labels = self.model.engine().labels(logits, size);
        for (row, labels) in labels.chunks_exact(part.columns).enumerate() {
            self.labels[at(row)..][..part.columns].copy_from_slice(labels);
        }
        if let Some(whole) = &mut self.probability {
            let scores = self.model.engine().winning_probability(logits, size);
            for (row, scores) in scores.chunks_exact(part.columns).enumerate() {
                whole[at(row)..][..part.columns].copy_from_slice(scores);
            }
        }
    }
}

/// Logits of a part of the picture, `[class][row][column]`.
struct Part {
    values: Vec<f32>,
    classes: usize,
    rows: usize,
    columns: usize,
}

/// The share of the later tile at a pixel of a seam.
fn share(pixel: usize, seam: usize) -> f32 {
    (pixel as f32 + 0.5) / seam as f32
}

impl Part {
    /// The part of a tile's logits that is used.
    fn cut(logits: &Tensor, rows: &Span, columns: &Span) -> Self {
        let inside =
            |span: &Span| span.used.start - span.tile.start..span.used.end - span.tile.start;
        let (ys, xs) = (inside(rows), inside(columns));
        let mut values = Vec::with_capacity(logits.shape.channels * ys.len() * xs.len());
        for plane in logits.data.chunks_exact(logits.shape.pixels()) {
            for row in plane
                .chunks_exact(logits.shape.width)
                .skip(ys.start)
                .take(ys.len())
            {
                values.extend_from_slice(&row[xs.clone()]);
            }
        }
        Self {
            values,
            classes: logits.shape.channels,
            rows: ys.len(),
            columns: xs.len(),
        }
    }

    /// Adds what the tile to the left said, and keeps for the one to the right what it shares.
    fn fade_columns(&mut self, span: &Span, beside: &mut Vec<f32>) {
        let said = std::mem::take(beside);
        let kept = self.columns - span.after;
        let mut values = Vec::with_capacity(self.classes * self.rows * kept);
        for (index, row) in self.values.chunks_exact_mut(self.columns).enumerate() {
            let said = said.iter().skip(index * span.before);
            for (x, (value, said)) in row[..span.before].iter_mut().zip(said).enumerate() {
                *value = said + *value * share(x, span.before);
            }
            let (finished, shared) = row.split_at(kept);
            values.extend_from_slice(finished);
            let fading = shared.iter().enumerate();
            beside.extend(fading.map(|(x, value)| value * (1.0 - share(x, span.after))));
        }
        self.values = values;
        self.columns = kept;
    }

    /// The same with the tiles above and below, whose seam runs across the whole picture.
    fn fade_rows(&mut self, span: &Span, xs: Range<usize>, below: &mut [f32], width: usize) {
        let seam_rows = span.before.max(span.after);
        let kept = self.rows - span.after;
        let mut values = Vec::with_capacity(self.classes * kept * self.columns);
        for (class, plane) in self
            .values
            .chunks_exact_mut(self.rows * self.columns)
            .enumerate()
        {
            let at = |y: usize| (class * seam_rows + y) * width + xs.start;
            for (y, row) in plane
                .chunks_exact_mut(self.columns)
                .take(span.before)
                .enumerate()
            {
                for (value, said) in row.iter_mut().zip(&below[at(y)..]) {
                    *value = said + *value * share(y, span.before);
                }
            }
            let (finished, shared) = plane.split_at(kept * self.columns);
            values.extend_from_slice(finished);
            for (y, row) in shared.chunks_exact(self.columns).enumerate() {
                for (said, value) in below[at(y)..].iter_mut().zip(row) {
                    *said = value * (1.0 - share(y, span.after));
                }
            }
        }
        self.values = values;
        self.rows = kept;
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
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tiles_cover_a_side_and_only_neighbours_meet(
            size in 3_usize..200,
            overlap in 0_usize..60,
            side in 1_usize..2000,
        ) {
            prop_assume!(overlap <= size / 3);
            let spans = Tiles::new(size, overlap).unwrap().along(side);
            let mut covered = 0;
            for (i, span) in spans.iter().enumerate() {
                prop_assert_eq!(span.finished().start, covered);
                covered = span.finished().end;
                prop_assert!(span.tile.start <= span.used.start && span.used.end <= span.tile.end);
                prop_assert!(span.before + span.after <= span.used.len(), "seams of tile {} meet", i);
                prop_assert!(span.tile.len() <= size && span.tile.end <= side);
            }
            prop_assert_eq!(covered, side);
        }
    }

    #[test]
    fn an_overlap_of_half_a_tile_is_refused() {
        let error = Tiles::new(100, 50).unwrap_err().to_string();
        assert!(error.contains("here 33"), "{error}");
    }
}
