//! What a network says before a class is chosen: values, logits and probabilities of a picture at any size.

use segmenta_graph::Shape;
use segmenta_image::{Geometry, LabelMap, MAX_PIXELS, Rect, VOID};
use segmenta_runtime::{Logits, Tensor, ToProbability};
use segmenta_zoo::{PerPixel, Values};

use crate::error::Error;
use crate::model::Model;
use crate::part::Part;
use crate::segmentation::{Segmentation, Stages};

/// At which size an answer is wanted.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resolution {
    /// The network's own pixels that show picture, none of them interpolated.
    Network,
    /// The photograph's.
    #[default]
    Photograph,
    /// As if the photograph had been resized to this.
    Size {
        /// Pixels across.
        width: usize,
        /// Pixels down.
        height: usize,
    },
}

/// What a network says of a picture, before each pixel gets a class: [`Model::scores`].
///
/// ```no_run
/// # fn main() -> Result<(), segmenta::Error> {
/// use segmenta::{Model, Picture, Resolution};
/// let model = Model::pretrained("fcn_resnet50")?;
/// let scores = model.scores(&Picture::open("photo.jpg")?)?;
/// let probabilities = scores.probabilities(Resolution::Photograph)?;
/// let cat = &probabilities.data[8 * probabilities.shape.pixels()..][..probabilities.shape.pixels()];
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Scores<'m> {
    pub(crate) model: &'m Model,
    pub(crate) answer: PerPixel,
    pub(crate) map: Tensor,
    pub(crate) geometry: Geometry,
    /// Size of the input that the map shows.
    pub(crate) input: (usize, usize),
    pub(crate) stages: Stages,
}

/// One picture's map, wherever it lies.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) model: &'a Model,
    pub(crate) answer: &'a PerPixel,
    /// `[class][row][column]`.
    pub(crate) values: &'a [f32],
    /// Rows and columns.
    pub(crate) size: [usize; 2],
    pub(crate) geometry: &'a Geometry,
    pub(crate) input: (usize, usize),
}

/// A grid of pixels on which an answer is wanted.
struct Grid {
    /// Its width and height.
    whole: (usize, usize),
    /// Where on it the part is that the network saw.
    seen: Rect,
    /// That part of the map, in its pixels.
    valid: [f64; 4],
}

impl Scores<'_> {
    /// The network's own map as it came, 1×classes×rows×columns: with whatever canvas the picture stood on, and
    /// values that are what [`Scores::answer`] says.
    pub fn tensor(&self) -> &Tensor {
        &self.map
    }

    /// What the values are.
    pub fn answer(&self) -> &PerPixel {
        &self.answer
    }

    /// The part of the photograph that the network saw: all of it without a centre crop.
    pub fn seen(&self) -> Rect {
        self.geometry.covers
    }

    /// The network's values at a size, interpolated linearly: 1×classes×height×width; what they are says
    /// [`Scores::answer`]. 0 where the network did not look, as outside a centre crop.
    ///
    /// # Errors
    /// A size of no pixels, of more than 2²⁸ or of more than there is memory for.
    pub fn values(&self, at: Resolution) -> Result<Tensor, Error> {
        self.view().values(at)
    }

    /// Logits at a size: 1×classes×height×width, any number. Of probabilities they are logarithms, but for a constant
    /// common to all classes; infinite where a probability is rounded to 0, or of one class to 1. 0 where the network
    /// did not look.
    ///
    /// # Errors
    /// As [`Scores::values`].
    pub fn logits(&self, at: Resolution) -> Result<Tensor, Error> {
        self.view().logit_values(at)
    }

    /// The probability of each class at a size, 0 to 1: 1×ids×height×width, ids being those of
    /// [`Description::class_names`](crate::Description::class_names): of a network of one class the background and
    /// it. They add up to 1 at each pixel, unless the network judges each of its classes by itself. 0 where the
    /// network did not look.
    ///
    /// # Errors
    /// As [`Scores::values`].
    pub fn probabilities(&self, at: Resolution) -> Result<Tensor, Error> {
        self.view().probabilities(at)
    }

    /// The class of each pixel at a size; 255 (void) where the network did not look.
    ///
    /// # Errors
    /// As [`Scores::values`].
    pub fn labels(&self, at: Resolution) -> Result<LabelMap, Error> {
        self.view().labels(at)
    }

    /// What [`Model::segment`] gives, with the probability of each pixel's class.
    ///
    /// # Errors
    /// As [`Scores::values`].
    pub fn segmentation(&self) -> Result<Segmentation, Error> {
        let view = self.view();
        let labels = view.labels(Resolution::Photograph)?;
        let probability = view.winning_probability(Resolution::Photograph)?;
        Ok(self
            .model
            .segmentation(labels, Some(probability), self.stages))
    }

    fn view(&self) -> View<'_> {
        View {
            model: self.model,
            answer: &self.answer,
            values: &self.map.data,
            size: [self.map.shape.height, self.map.shape.width],
            geometry: &self.geometry,
            input: self.input,
        }
    }
}

impl View<'_> {
    fn grid(&self, at: Resolution) -> Result<Grid, Error> {
        let part = Part::new(self.geometry.valid, self.input, self.size);
        let covers = self.geometry.covers;
        let whole = match at {
            Resolution::Network => {
                let whole = (part.columns().len(), part.rows().len());
                return Ok(Grid {
                    whole,
                    seen: Rect::new(0, 0, whole.0, whole.1),
                    valid: part.pixels(),
                });
            }
            Resolution::Photograph => self.geometry.picture,
            Resolution::Size { width, height } => (width, height),
        };
        let pixels = (whole.0 as u64).checked_mul(whole.1 as u64);
        if !pixels.is_some_and(|pixels| (1..=MAX_PIXELS).contains(&pixels)) {
            return Err(Error::Setting(format!(
                "an answer of {}×{} pixels · it takes 1 to {MAX_PIXELS} of them · ask for another size",
                whole.0, whole.1
            )));
        }
        let (picture, valid) = (self.geometry.picture, part.valid);
        let [x, width] = scaled(covers.x, covers.width, picture.0, whole.0);
        let [y, height] = scaled(covers.y, covers.height, picture.1, whole.1);
        Ok(Grid {
            whole,
            seen: Rect::new(x, y, width, height),
            valid,
        })
    }

    fn logits(&self, valid: [f64; 4]) -> Logits<'_> {
        Logits {
            values: self.values,
            classes: self.answer.classes,
            height: self.size[0],
            width: self.size[1],
            valid,
            threshold: self.answer.threshold_value(),
        }
    }

    pub(crate) fn labels(&self, at: Resolution) -> Result<LabelMap, Error> {
        let grid = self.grid(at)?;
        let seen = [grid.seen.height, grid.seen.width];
        let labels = self.model.engine().labels(self.logits(grid.valid), seen);
        let (width, height) = grid.whole;
        Ok(LabelMap::new(width, height, grid.place(labels, 1, VOID))?)
    }

    pub(crate) fn winning_probability(&self, at: Resolution) -> Result<Vec<f32>, Error> {
        let grid = self.grid(at)?;
        let seen = [grid.seen.height, grid.seen.width];
        let (logits, how) = (self.logits(grid.valid), to_probability(self.answer));
        let scores = self.model.engine().winning_probability(logits, how, seen);
        Ok(grid.place(scores, 1, 0.0))
    }

    /// As [`Scores::logits`].
    pub(crate) fn logit_values(&self, at: Resolution) -> Result<Tensor, Error> {
        let mut tensor = self.values(at)?;
        let is_binary = self.answer.is_binary();
        let logit: fn(f32) -> f32 = match self.answer.values {
            Values::Scores if is_binary => |s| s.min(1.0).ln() - (-s.min(1.0)).ln_1p(),
            Values::Probabilities if is_binary => |p| p.ln() - (-p).ln_1p(),
            Values::Probabilities | Values::Scores => f32::ln,
            Values::LogProbabilities if is_binary => |l| l - (-l.exp_m1()).ln(),
            Values::Tangents => f32::atanh,
            Values::Logits | Values::LogProbabilities => return Ok(tensor),
        };
        let grid = self.grid(at)?;
        let shape = tensor.shape;
        for plane in tensor.data.chunks_exact_mut(shape.pixels()) {
            let rows = plane.chunks_exact_mut(shape.width);
            for row in rows.skip(grid.seen.y).take(grid.seen.height) {
                let seen = &mut row[grid.seen.x..grid.seen.right()];
                seen.iter_mut().for_each(|value| *value = logit(*value));
            }
        }
        Ok(tensor)
    }

    fn values(&self, at: Resolution) -> Result<Tensor, Error> {
        let grid = self.grid(at)?;
        let seen = [grid.seen.height, grid.seen.width];
        let logits = self.logits(grid.valid);
        let values = self.model.engine().class_scores(logits, seen)?;
        Ok(grid.tensor(values, self.answer.classes))
    }

    pub(crate) fn probabilities(&self, at: Resolution) -> Result<Tensor, Error> {
        let grid = self.grid(at)?;
        let seen = [grid.seen.height, grid.seen.width];
        let (classes, engine) = (self.answer.classes, self.model.engine());
        let values = engine.class_scores(self.logits(grid.valid), seen)?;
        let shares = engine.label_probabilities(values, classes, to_probability(self.answer));
        Ok(grid.tensor(shares, classes.max(2)))
    }
}

impl Grid {
    /// Planes of what was seen at their place, `nothing` around them.
    fn place<T: Copy>(&self, planes: Vec<T>, count: usize, nothing: T) -> Vec<T> {
        let (width, height) = self.whole;
        let seen = self.seen;
        if (seen.width, seen.height) == self.whole {
            return planes;
        }
        let mut whole = vec![nothing; count * width * height];
        for (index, row) in planes.chunks_exact(seen.width).enumerate() {
            let (plane, y) = (index / seen.height, seen.y + index % seen.height);
            whole[(plane * height + y) * width + seen.x..][..seen.width].copy_from_slice(row);
        }
        whole
    }

    fn tensor(&self, planes: Vec<f32>, count: usize) -> Tensor {
        Tensor {
            shape: Shape::new(1, count, self.whole.1, self.whole.0),
            data: self.place(planes, count, 0.0),
        }
    }
}

/// A stretch of a side of `from` pixels on one of `to`: first pixel and count, edges rounded, at least one.
fn scaled(start: usize, count: usize, from: usize, to: usize) -> [usize; 2] {
    let edge = |at: usize| (at as f64 * to as f64 / from as f64).round() as usize;
    let first = edge(start).min(to - 1);
    [first, edge(start + count).clamp(first + 1, to) - first]
}

/// How the kernels make probabilities of an answer's values.
pub(crate) fn to_probability(answer: &PerPixel) -> ToProbability {
    match (answer.values, answer.is_binary()) {
        (Values::Probabilities, _) => ToProbability::Identity,
        (Values::Scores, _) => ToProbability::Share,
        (Values::LogProbabilities, true) => ToProbability::Exp,
        (Values::Tangents, true) => ToProbability::SigmoidOfArtanh,
        (Values::Tangents, false) => ToProbability::SoftmaxOfArtanh,
        (Values::Logits, true) => ToProbability::Sigmoid,
        // Log-probabilities are logits, too: their softmax is the probabilities.
        (Values::Logits | Values::LogProbabilities, false) => ToProbability::Softmax,
    }
}
