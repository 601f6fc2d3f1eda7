//! A batch's logits and their truth, worked on in strips of pixels.

use std::borrow::Cow;

use rayon::prelude::*;
use segmenta_kernels::{Isa, MapShape, class_probabilities};

use super::{Mode, Target};

/// Pixels of a strip: small enough that a strip of 21 classes stays in the second-level cache, and fixed, so that
/// sums do not depend on threads.
const STRIP: usize = 1024;

/// Logits, `[image][class][row][column]`, that have the target's shape.
#[derive(Clone, Copy)]
pub(crate) struct Batch<'a> {
    pub(crate) isa: Isa,
    pub(crate) logits: &'a [f32],
    pub(crate) target: &'a Target,
}

/// Some pixels of a picture in all its classes, or of one plane.
pub(crate) struct Strip<'a> {
    /// The picture; where planes are by themselves, `image · classes + class`.
    pub(crate) image: usize,
    /// Where its first pixel lies in a plane.
    pub(crate) first: usize,
    /// What is written: one slice a class.
    pub(crate) planes: Vec<&'a mut [f32]>,
}

impl Strip<'_> {
    pub(crate) fn len(&self) -> usize {
        self.planes.first().map_or(0, |plane| plane.len())
    }
}

impl Batch<'_> {
    pub(crate) fn shape(&self) -> MapShape {
        let [batch, classes, height, width] = self.target.shape();
        MapShape::new(batch, classes, height, width)
    }

    fn plane(&self) -> usize {
        self.shape().pixels()
    }

    /// Does `work` on strips of whole pixels: all classes of a picture at once. What it gives, in order.
    pub(crate) fn by_pixels<R: Send>(
        &self,
        values: &mut [f32],
        work: impl Fn(Strip<'_>) -> R + Sync,
    ) -> Vec<R> {
        in_strips(values, self.target.classes(), self.plane(), work)
    }

    /// Does `work` on strips of single planes, each a class of a picture. What it gives, in order.
    pub(crate) fn by_planes<R: Send>(
        &self,
        values: &mut [f32],
        work: impl Fn(Strip<'_>, &mut [f32]) -> R + Sync,
    ) -> Vec<R> {
        in_strips(values, 1, self.plane(), |mut strip| {
            let plane = std::mem::take(&mut strip.planes).swap_remove(0);
            work(strip, plane)
        })
    }

    /// The labels of a strip of whole pixels.
    pub(crate) fn labels(&self, strip: &Strip<'_>) -> &[u8] {
        &self.target.values()[strip.image * self.plane() + strip.first..][..strip.len()]
    }

    /// Logits and mask of `len` pixels of a plane.
    pub(crate) fn masked(&self, strip: &Strip<'_>, len: usize) -> (&[f32], &[u8]) {
        let at = strip.image * self.plane() + strip.first;
        (
            &self.logits[at..][..len],
            &self.target.values()[at..][..len],
        )
    }

    /// As [`Batch::masked`]; of label maps, the mask of the plane's class. What is ignored is neither 0 nor 1.
    pub(crate) fn masked_as(&self, strip: &Strip<'_>, len: usize) -> (&[f32], Cow<'_, [u8]>) {
        if self.target.mode() != Mode::Multiclass {
            let (logits, mask) = self.masked(strip, len);
            return (logits, mask.into());
        }
        let (plane, classes) = (self.plane(), self.target.classes());
        let (image, class) = (strip.image / classes, strip.image % classes);
        let labels = &self.target.values()[image * plane + strip.first..][..len];
        let ignored = self.target.ignored();
        let is = |&label: &u8| match label {
            label if Some(label) == ignored => u8::MAX,
            label => u8::from(usize::from(label) == class),
        };
        let mask: Vec<u8> = labels.iter().map(is).collect();
        (
            &self.logits[strip.image * plane + strip.first..][..len],
            mask.into(),
        )
    }

    /// The logit of a class at a pixel of a strip; none where there is no such class.
    pub(crate) fn logit(&self, strip: &Strip<'_>, class: usize, pixel: usize) -> Option<f32> {
        let (classes, plane) = (strip.planes.len(), self.plane());
        let at = (strip.image * classes + class) * plane + strip.first + pixel;
        (class < classes).then(|| self.logits[at])
    }

    /// Writes the softmax of a strip's logits; `log_sums` as for [`class_probabilities`].
    pub(crate) fn softmax(&self, strip: &mut Strip<'_>, log_sums: &mut [f32]) {
        let (len, plane) = (strip.len(), self.plane());
        let picture = strip.image * strip.planes.len() * plane + strip.first;
        let logits: Vec<&[f32]> = (0..strip.planes.len())
            .map(|class| &self.logits[picture + class * plane..][..len])
            .collect();
        class_probabilities(self.isa, &logits, &mut strip.planes, log_sums);
    }

    /// The loss of a batch that teaches nothing: 0 with a gradient of 0; NaN where logits are no numbers, which must
    /// not go unseen.
    pub(crate) fn nothing(&self, gradient: &mut [f32]) -> f64 {
        gradient.fill(0.0);
        let are_numbers = self.logits.iter().all(|x| x.is_finite());
        if are_numbers { 0.0 } else { f64::NAN }
    }
}

fn in_strips<R: Send>(
    values: &mut [f32],
    classes: usize,
    plane: usize,
    work: impl Fn(Strip<'_>) -> R + Sync,
) -> Vec<R> {
    let cuts = plane.div_ceil(STRIP);
    let mut strips = Vec::with_capacity(values.len() / (classes * plane) * cuts);
    for (image, picture) in values.chunks_exact_mut(classes * plane).enumerate() {
        let begin = strips.len();
        strips.extend((0..cuts).map(|cut| Strip {
            image,
            first: cut * STRIP,
            planes: Vec::with_capacity(classes),
        }));
        for plane in picture.chunks_exact_mut(plane) {
            for (strip, part) in strips[begin..].iter_mut().zip(plane.chunks_mut(STRIP)) {
                strip.planes.push(part);
            }
        }
    }
    strips.into_par_iter().map(&work).collect()
}

/// The sum in f64: of runs of 16 values in f32 lane by lane, so that the loop is one of vectors.
pub(crate) fn sum(values: &[f32]) -> f64 {
    let mut lanes = [0.0_f32; 16];
    let runs = values.chunks_exact(16);
    let rest: f64 = runs.remainder().iter().map(|&x| f64::from(x)).sum();
    for run in runs {
        lanes.iter_mut().zip(run).for_each(|(lane, x)| *lane += x);
    }
    lanes.iter().map(|&x| f64::from(x)).sum::<f64>() + rest
}

/// `x`, or `least` where it is smaller, and the slope of that; a NaN stays one.
pub(crate) fn clamp_min(x: f64, least: f64) -> (f64, f64) {
    if x < least { (least, 0.0) } else { (x, 1.0) }
}
