//! From a picture to its label map.

use std::path::Path;
use std::time::Instant;

use segmenta_graph::Shape;
use segmenta_image::{Geometry, LabelMap, Palette, Picture, Prepared, VOID};
use segmenta_runtime::{Logits, Tensor};

use crate::error::Error;
use crate::model::Model;
use crate::tiles::Tiles;

/// How a picture is segmented.
#[derive(Clone, Debug, Default)]
pub struct SegmentOptions {
    /// Average the logits of the picture and of its mirror image.
    pub flip: bool,
    /// Cut the picture into overlapping tiles, so that memory is bounded by a tile.
    pub tiles: Option<Tiles>,
    /// Also say how sure the network is of each pixel.
    pub probability: bool,
}

/// Milliseconds that each part of the work took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stages {
    /// Resize and normalise.
    pub prepare_ms: f64,
    /// The network, for this picture's share of its batch.
    pub network_ms: f64,
    /// Logits to labels at the photograph's size.
    pub labels_ms: f64,
}

/// A picture as the network reads it: what [`Model::prepare`] makes of one.
#[derive(Clone, Debug)]
pub struct PreparedPicture {
    seen: Prepared,
    /// Its mirror image, where both are to be averaged.
    mirrored: Option<Prepared>,
    milliseconds: f64,
}

impl PreparedPicture {
    /// Pictures whose kind is the same can be one batch.
    fn kind(&self) -> (usize, usize, bool) {
        (self.seen.width, self.seen.height, self.mirrored.is_some())
    }
}

/// What a network says of a picture.
#[derive(Clone, Debug)]
pub struct Segmentation {
    labels: LabelMap,
    probability: Option<Vec<f32>>,
    names: Vec<String>,
    palette: Palette,
    stages: Stages,
}

/// A class's share of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassShare {
    /// Its id in the label map.
    pub id: u8,
    /// Its name.
    pub name: String,
    /// Its colour.
    pub color: [u8; 3],
    /// Pixels.
    pub pixels: u64,
    /// Share of the pixels that have a class, 0 to 1.
    pub share: f64,
}

impl Segmentation {
    /// The class of each pixel of the photograph; 255 (void) where the network did not look, as
    /// outside a centre crop.
    pub fn labels(&self) -> &LabelMap {
        &self.labels
    }

    /// How sure the network is of each pixel's class, 0 to 1, where it was asked for.
    pub fn probability(&self) -> Option<&[f32]> {
        self.probability.as_deref()
    }

    /// How long it took.
    pub fn stages(&self) -> Stages {
        self.stages
    }

    /// The palette of the classes.
    pub fn palette(&self) -> &Palette {
        &self.palette
    }

    /// The classes that occur, largest first.
    pub fn shares(&self) -> Vec<ClassShare> {
        let counts = self.labels.counts();
        let total: u64 = counts[..usize::from(VOID)].iter().sum();
        let mut shares: Vec<ClassShare> = (0..VOID)
            .filter(|&id| counts[usize::from(id)] > 0)
            .map(|id| ClassShare {
                id,
                name: self.names.get(usize::from(id)).cloned().unwrap_or_default(),
                color: self.palette.color(id),
                pixels: counts[usize::from(id)],
                share: counts[usize::from(id)] as f64 / total as f64,
            })
            .collect();
        shares.sort_by_key(|share| std::cmp::Reverse(share.pixels));
        shares
    }

    /// The photograph with the classes' colours over it, six tenths strong; see
    /// [`Segmentation::overlay_with`].
    ///
    /// # Panics
    /// If the picture is not the one that was segmented, but one of another size.
    pub fn overlay(&self, picture: &Picture) -> Picture {
        let overlay = self.overlay_with(picture, 0.6);
        overlay.expect("the picture that was segmented")
    }

    /// The photograph with the classes' colours over it, `alpha` (0 to 1) strong.
    ///
    /// # Errors
    /// If the picture has another size than the one that was segmented.
    pub fn overlay_with(&self, picture: &Picture, alpha: f64) -> Result<Picture, Error> {
        Ok(self.labels.overlay(picture, &self.palette, alpha)?)
    }

    /// Writes the label map as a palette PNG of class ids.
    ///
    /// # Errors
    /// If the file cannot be written; it is there whole or not at all.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(self.labels.save(path, &self.palette)?)
    }
}

impl Model {
    /// The class of every pixel of a picture of any size.
    ///
    /// # Errors
    /// If the picture is too large for memory or too small for the network.
    pub fn segment(&self, picture: &Picture) -> Result<Segmentation, Error> {
        self.segment_with(picture, &SegmentOptions::default())
    }

    /// As [`Model::segment`], as `options` say.
    ///
    /// # Errors
    /// As [`Model::segment`].
    pub fn segment_with(
        &self,
        picture: &Picture,
        options: &SegmentOptions,
    ) -> Result<Segmentation, Error> {
        match &options.tiles {
            Some(tiles) => tiles.segment(self, picture, options),
            None => {
                let mut batch = self.segment_batch(&[picture], options)?;
                Ok(batch.remove(0))
            }
        }
    }

    /// Several pictures; those that follow each other and have one size after preprocessing go
    /// through the network together.
    ///
    /// # Errors
    /// As [`Model::segment`].
    pub fn segment_batch(
        &self,
        pictures: &[&Picture],
        options: &SegmentOptions,
    ) -> Result<Vec<Segmentation>, Error> {
        if options.tiles.is_some() {
            return pictures
                .iter()
                .map(|p| self.segment_with(p, options))
                .collect();
        }
        let recipe = &self.description().preprocess;
        let size = |p: &&Picture| recipe.size_of(p.width(), p.height());
        let mut done = Vec::with_capacity(pictures.len());
        for alike in pictures.chunk_by(|a, b| size(a) == size(b)) {
            let prepared = alike.iter().map(|p| self.prepare(p, options)).collect();
            self.segment_alike(prepared, options, &mut done)?;
        }
        Ok(done)
    }

    /// The part of [`Model::segment`] that comes before the network. A program with many pictures
    /// does it for the next one beside the network, on another thread. Tiles are not prepared.
    pub fn prepare(&self, picture: &Picture, options: &SegmentOptions) -> PreparedPicture {
        let start = Instant::now();
        let recipe = &self.description().preprocess;
        let seen = recipe.apply(picture);
        let mirrored = options
            .flip
            .then(|| recipe.apply(&picture.flip_horizontal()));
        PreparedPicture {
            seen,
            mirrored,
            milliseconds: start.elapsed().as_secs_f64() * 1e3,
        }
    }

    /// The rest of [`Model::segment_batch`], with the options that the pictures were prepared with.
    ///
    /// # Errors
    /// As [`Model::segment`].
    pub fn segment_prepared(
        &self,
        pictures: Vec<PreparedPicture>,
        options: &SegmentOptions,
    ) -> Result<Vec<Segmentation>, Error> {
        let mut done = Vec::with_capacity(pictures.len());
        let mut rest = pictures.into_iter().peekable();
        while let Some(first) = rest.next() {
            let kind = first.kind();
            let mut alike = vec![first];
            alike.extend(std::iter::from_fn(|| rest.next_if(|p| p.kind() == kind)));
            self.segment_alike(alike, options, &mut done)?;
        }
        Ok(done)
    }

    /// Pictures of one [`PreparedPicture::kind`].
    fn segment_alike(
        &self,
        pictures: Vec<PreparedPicture>,
        options: &SegmentOptions,
        done: &mut Vec<Segmentation>,
    ) -> Result<(), Error> {
        let count = pictures.len();
        let share = |milliseconds: f64| milliseconds / count as f64;
        let prepare_ms = share(pictures.iter().map(|p| p.milliseconds).sum());

        let start = Instant::now();
        let (seen, mirrored): (Vec<_>, Vec<_>) =
            pictures.into_iter().map(|p| (p.seen, p.mirrored)).unzip();
        let mirrored: Vec<Prepared> = mirrored.into_iter().flatten().collect();
        let (geometries, batch) = together(seen);
        let mut logits = self.forward(&batch)?;
        if !mirrored.is_empty() {
            let (_, batch) = together(mirrored);
            average_mirrored(&mut logits, &self.forward(&batch)?, &geometries);
        }
        let network_ms = share(start.elapsed().as_secs_f64() * 1e3);

        let image = logits.shape.len() / count;
        for (values, geometry) in logits.data.chunks_exact(image).zip(&geometries) {
            let start = Instant::now();
            let valid = geometry.valid;
            let logits = Logits {
                values,
                classes: logits.shape.channels,
                height: logits.shape.height,
                width: logits.shape.width,
                valid: [valid.x, valid.y, valid.width, valid.height],
            };
            let seen = [geometry.covers.height, geometry.covers.width];
            let labels = self.engine().labels(logits, seen);
            let probability = options
                .probability
                .then(|| self.engine().winning_probability(logits, seen));
            let (labels, probability) = on_photograph(geometry, labels, probability)?;
            let stages = Stages {
                prepare_ms,
                network_ms,
                labels_ms: start.elapsed().as_secs_f64() * 1e3,
            };
            done.push(self.segmentation(labels, probability, stages));
        }
        Ok(())
    }

    pub(crate) fn segmentation(
        &self,
        labels: LabelMap,
        probability: Option<Vec<f32>>,
        stages: Stages,
    ) -> Segmentation {
        let description = self.description();
        Segmentation {
            labels,
            probability,
            names: description
                .class_names()
                .into_iter()
                .map(Into::into)
                .collect(),
            palette: description.palette.clone(),
            stages,
        }
    }

    /// The main result for a batch of prepared pictures.
    pub(crate) fn forward(&self, batch: &Tensor) -> Result<Tensor, Error> {
        let mut results = self.engine().forward(&batch.data, batch.shape)?;
        Ok(results.swap_remove(0))
    }
}

/// Prepared pictures of one size as a batch.
pub(crate) fn together(pictures: Vec<Prepared>) -> (Vec<Geometry>, Tensor) {
    let count = pictures.len();
    let mut data = Vec::new();
    let mut geometries = Vec::with_capacity(count);
    let (mut width, mut height) = (0, 0);
    for prepared in pictures {
        (width, height) = (prepared.width, prepared.height);
        geometries.push(prepared.geometry);
        if data.is_empty() {
            data = prepared.tensor;
            data.reserve_exact(data.len() * (count - 1));
        } else {
            data.extend_from_slice(&prepared.tensor);
        }
    }
    let shape = Shape::new(count, 3, height, width);
    (geometries, Tensor { shape, data })
}

/// The mean of logits and of those of the mirrored pictures, mirrored back. Pictures are mirrored,
/// not canvases, so only the part that shows picture is.
pub(crate) fn average_mirrored(logits: &mut Tensor, mirrored: &Tensor, geometries: &[Geometry]) {
    let shape = logits.shape;
    let planes = logits.data.chunks_exact_mut(shape.pixels());
    let mirrored = mirrored.data.chunks_exact(shape.pixels());
    for (index, (plane, mirrored)) in planes.zip(mirrored).enumerate() {
        let valid = geometries[index / shape.channels].valid;
        let rows = plane
            .chunks_exact_mut(shape.width)
            .zip(mirrored.chunks_exact(shape.width));
        for (row, mirrored) in rows.skip(valid.y).take(valid.height) {
            let seen = valid.x..valid.right();
            let back = mirrored[seen.clone()].iter().rev();
            for (value, other) in row[seen].iter_mut().zip(back) {
                *value = 0.5 * (*value + other);
            }
        }
    }
}

/// Labels of the part of the photograph that was seen, at their place; void around them.
fn on_photograph(
    geometry: &Geometry,
    labels: Vec<u8>,
    probability: Option<Vec<f32>>,
) -> Result<(LabelMap, Option<Vec<f32>>), Error> {
    let (width, height) = geometry.picture;
    let seen = geometry.covers;
    if (seen.width, seen.height) == (width, height) {
        return Ok((LabelMap::new(width, height, labels)?, probability));
    }
    fn place<T: Copy>(part: &[T], seen: segmenta_image::Rect, whole: &mut [T], width: usize) {
        for (row, values) in part.chunks_exact(seen.width).enumerate() {
            whole[(seen.y + row) * width + seen.x..][..seen.width].copy_from_slice(values);
        }
    }
    let mut ids = vec![VOID; width * height];
    place(&labels, seen, &mut ids, width);
    let probability = probability.map(|part| {
        let mut whole = vec![0.0; width * height];
        place(&part, seen, &mut whole, width);
        whole
    });
    Ok((LabelMap::new(width, height, ids)?, probability))
}
