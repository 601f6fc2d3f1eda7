//! From a picture to its label map.

use std::ops::ControlFlow;
use std::time::Instant;

use segmenta_graph::{Node, Shape};
use segmenta_image::{Geometry, LabelMap, Picture, Prepared};
use segmenta_runtime::{Engine, Logits, Tensor};
use segmenta_zoo::{Answer, PerPixel};

use crate::error::Error;
use crate::model::Model;
use crate::options::{Progress, SegmentOptions, Watched, unwatched};
use crate::part::average_mirrored;
use crate::scores::{Resolution, Scores, View};
use crate::segmentation::{Segmentation, Stages};
use crate::windows::windowed;

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

/// What the network says of pictures of one size, before anything is made of it.
struct Said {
    answer: PerPixel,
    /// A map a picture.
    maps: Tensor,
    geometries: Vec<Geometry>,
    /// Width and height of the input.
    input: (usize, usize),
    prepare_ms: f64,
    network_ms: f64,
}

impl Model {
    /// The class of every pixel of a picture of any size.
    ///
    /// # Errors
    /// If the picture is too large for memory or too small for the network, if the network's result is no map, or if
    /// a NaN or an infinity comes out of it.
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
        self.segment_watched(picture, options, &mut unwatched)
    }

    /// As [`Model::segment_with`]; `watch` hears before the first run of the network and after each how far it is,
    /// and says whether to go on. Tiles are a run each.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), segmenta::Error> {
    /// use std::ops::ControlFlow;
    /// use segmenta::{Model, Picture, SegmentOptions, Tiles};
    /// let model = Model::pretrained("fcn_resnet50")?;
    /// let options = SegmentOptions::new().tiles(Tiles::new(512, 64)?);
    /// let field = Picture::open("field.tif")?;
    /// let labels = model.segment_watched(&field, &options, &mut |progress| {
    ///     println!("{} of {} tiles", progress.done, progress.total);
    ///     ControlFlow::Continue(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Model::segment`]; [`Error::Cancelled`] if `watch` said to stop.
    pub fn segment_watched(
        &self,
        picture: &Picture,
        options: &SegmentOptions,
        watch: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Segmentation, Error> {
        if let Some(tiles) = &options.tiles {
            options.check_tiles()?;
            return tiles.segment(self, picture, options, watch);
        }
        let prepared = vec![self.prepare(picture, options)];
        let mut watched = Watched::new(1 + usize::from(options.flip), watch);
        let mut done = Vec::with_capacity(1);
        self.segment_alike(prepared, options, &mut watched, &mut done)?;
        Ok(done.remove(0))
    }

    /// What the network says of a picture before each pixel gets a class: values, logits and probabilities at any
    /// size.
    ///
    /// # Errors
    /// As [`Model::segment`].
    pub fn scores(&self, picture: &Picture) -> Result<Scores<'_>, Error> {
        self.scores_with(picture, &SegmentOptions::default())
    }

    /// As [`Model::scores`], as `options` say. With tiles the map is as large as the model's recipe resizes the
    /// picture to, and held in memory whole.
    ///
    /// # Errors
    /// As [`Model::segment`].
    pub fn scores_with(
        &self,
        picture: &Picture,
        options: &SegmentOptions,
    ) -> Result<Scores<'_>, Error> {
        if let Some(tiles) = &options.tiles {
            return tiles.scores(self, picture, options);
        }
        let prepared = vec![self.prepare(picture, options)];
        let mut unwatched = unwatched;
        let said = self.ask(prepared, &mut Watched::new(2, &mut unwatched))?;
        let stages = Stages {
            prepare_ms: said.prepare_ms,
            network_ms: said.network_ms,
            labels_ms: 0.0,
        };
        Ok(Scores {
            model: self,
            answer: said.answer,
            map: said.maps,
            geometry: said.geometries[0],
            input: said.input,
            stages,
        })
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
            let mut unwatched = unwatched;
            let mut watched = Watched::new(2, &mut unwatched);
            self.segment_alike(prepared, options, &mut watched, &mut done)?;
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
            let mut unwatched = unwatched;
            let mut watched = Watched::new(2, &mut unwatched);
            self.segment_alike(alike, options, &mut watched, &mut done)?;
        }
        Ok(done)
    }

    /// Pictures of one [`PreparedPicture::kind`].
    fn segment_alike(
        &self,
        pictures: Vec<PreparedPicture>,
        options: &SegmentOptions,
        watched: &mut Watched<'_>,
        done: &mut Vec<Segmentation>,
    ) -> Result<(), Error> {
        let said = self.ask(pictures, watched)?;
        let shape = said.maps.shape;
        let maps = said.maps.data.chunks_exact(shape.len() / shape.batch);
        for (values, geometry) in maps.zip(&said.geometries) {
            let start = Instant::now();
            let view = View {
                model: self,
                answer: &said.answer,
                values,
                size: [shape.height, shape.width],
                geometry,
                input: said.input,
            };
            let labels = view.labels(options.size)?;
            let probability = options
                .probability
                .then(|| view.winning_probability(options.size));
            let stages = Stages {
                prepare_ms: said.prepare_ms,
                network_ms: said.network_ms,
                labels_ms: start.elapsed().as_secs_f64() * 1e3,
            };
            let mut made = self.segmentation(labels, probability.transpose()?, stages);
            if options.network {
                made.network = Some(view.labels(Resolution::Network)?);
            }
            if options.logits {
                made.logits = Some(view.logit_values(options.size)?);
            }
            if options.probabilities {
                made.probabilities = Some(view.probabilities(options.size)?);
            }
            done.push(made);
        }
        Ok(())
    }

    /// Pictures of one [`PreparedPicture::kind`] through the network, averaged with their mirror images where there
    /// are any. Times are a picture's share.
    fn ask(
        &self,
        pictures: Vec<PreparedPicture>,
        watched: &mut Watched<'_>,
    ) -> Result<Said, Error> {
        let answer = *self.per_pixel()?;
        watched.tell()?;
        let count = pictures.len();
        let share = |milliseconds: f64| milliseconds / count as f64;
        let prepare_ms = share(pictures.iter().map(|p| p.milliseconds).sum());

        let start = Instant::now();
        let (seen, mirrored): (Vec<_>, Vec<_>) =
            pictures.into_iter().map(|p| (p.seen, p.mirrored)).unzip();
        let mirrored: Vec<Prepared> = mirrored.into_iter().flatten().collect();
        let (geometries, batch) = together(seen);
        let input = (batch.shape.width, batch.shape.height);
        let mut maps = self.forward(&batch)?;
        watched.advance()?;
        if !mirrored.is_empty() {
            let (_, batch) = together(mirrored);
            average_mirrored(&mut maps, &self.forward(&batch)?, &geometries, input);
            watched.advance()?;
        }
        Ok(Said {
            answer,
            maps,
            geometries,
            input,
            prepare_ms,
            network_ms: share(start.elapsed().as_secs_f64() * 1e3),
        })
    }

    /// Shows what every step computes of a picture; see [`Engine::watch`](segmenta_runtime::Engine::watch).
    pub(crate) fn watch(
        &self,
        picture: PreparedPicture,
        see: impl FnMut(Node, Shape, &[f32]) + Send,
    ) -> Result<(), Error> {
        watch(self.engine(), picture, see)
    }

    /// What the result says of each pixel.
    pub(crate) fn per_pixel(&self) -> Result<&PerPixel, Error> {
        match &self.description().answer {
            Answer::PerPixel(answer) => Ok(answer),
            _ => Err(Error::NoMap {
                result: self.result().into(),
            }),
        }
    }

    pub(crate) fn segmentation(
        &self,
        labels: LabelMap,
        probability: Option<Vec<f32>>,
        stages: Stages,
    ) -> Segmentation {
        let description = self.description();
        let names = description.class_names().into_iter();
        Segmentation {
            labels,
            probability,
            network: None,
            logits: None,
            probabilities: None,
            names: names.map(Into::into).collect(),
            palette: description.palette.clone(),
            stages,
        }
    }

    /// The main result for a batch of prepared pictures, whose values are numbers.
    pub(crate) fn forward(&self, batch: &Tensor) -> Result<Tensor, Error> {
        if self.description().windows {
            return windowed(batch, |window| self.forward_window(window));
        }
        self.forward_whole(batch)
    }

    fn forward_whole(&self, batch: &Tensor) -> Result<Tensor, Error> {
        let mut results = self.engine().forward_finite(&batch.data, batch.shape)?;
        Ok(results.swap_remove(0))
    }

    /// As large as what it shows, so that windows can be laid side by side.
    fn forward_window(&self, window: &Tensor) -> Result<Tensor, Error> {
        let map = self.forward_whole(window)?;
        let shape = map.shape;
        let (from, to) = (
            [shape.height, shape.width],
            [window.shape.height, window.shape.width],
        );
        if from == to {
            return Ok(map);
        }
        let pictures = map.data.chunks_exact(shape.len() / shape.batch);
        let mut data = Vec::new();
        for values in pictures {
            let logits = Logits::whole(values, shape.channels, from);
            data.extend(self.engine().class_scores(logits, to)?);
        }
        Ok(Tensor {
            shape: Shape::new(shape.batch, shape.channels, to[0], to[1]),
            data,
        })
    }
}

/// As [`Model::watch`].
pub(crate) fn watch(
    engine: &Engine,
    picture: PreparedPicture,
    see: impl FnMut(Node, Shape, &[f32]) + Send,
) -> Result<(), Error> {
    let (_, batch) = together(vec![picture.seen]);
    engine.watch(&batch.data, batch.shape, see)?;
    Ok(())
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
