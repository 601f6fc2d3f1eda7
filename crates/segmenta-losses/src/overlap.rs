//! How far predicted and true regions overlap: the sums that Dice, Jaccard, Tversky, soft IoU and Matthews losses are
//! made of, and the gradient that follows from theirs.
//!
//! Probabilities are written to where the gradient will be, and turned into it there: two passes over memory.

use segmenta_kernels::sigmoids;

use super::Mode;
use super::batch::{Batch, sum};

/// Of one class in one image, over the pixels that count.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Overlap {
    /// `Σ p·t`.
    pub(crate) both: f64,
    /// `Σ p`.
    pub(crate) found: f64,
}

/// What a loss changes by with the two sums of one class in one image.
pub(crate) type Slopes = Overlap;

/// Writes class probabilities, by softmax or sigmoids as the target's mode says; 0 where a pixel does not count.
/// Gives the sums of each class in each image, `[image][class]`.
pub(crate) fn overlaps(batch: &Batch<'_>, p: &mut [f32]) -> Vec<Overlap> {
    let target = batch.target;
    let classes = target.classes();
    let [images, ..] = target.shape();
    let mut all = vec![Overlap::default(); images * classes];
    let mut add = |at: usize, part: &Overlap| {
        all[at].both += part.both;
        all[at].found += part.found;
    };
    match target.mode() {
        Mode::Multiclass => {
            let parts = batch.by_pixels(p, |mut strip| {
                batch.softmax(&mut strip, &mut []);
                let labels = batch.labels(&strip);
                let mut parts = vec![Overlap::default(); classes];
                for (part, plane) in parts.iter_mut().zip(&mut strip.planes) {
                    clear_ignored(plane, labels, target.ignored());
                    part.found = sum(plane);
                }
                for (i, &label) in labels.iter().enumerate() {
                    if let Some(plane) = strip.planes.get(usize::from(label)) {
                        parts[usize::from(label)].both += f64::from(plane[i]);
                    }
                }
                (strip.image, parts)
            });
            for (image, parts) in &parts {
                let of_image = parts.iter().enumerate();
                of_image.for_each(|(class, part)| add(image * classes + class, part));
            }
        }
        Mode::Binary | Mode::Multilabel => {
            let parts = batch.by_planes(p, |strip, plane| {
                let (logits, mask) = batch.masked(&strip, plane.len());
                sigmoids(batch.isa, logits, plane, &mut []);
                clear_ignored(plane, mask, target.ignored());
                (strip.image, of_mask(plane, mask))
            });
            parts.iter().for_each(|(at, part)| add(*at, part));
        }
    }
    all
}

/// The sums of some values of one plane.
pub(crate) fn of_mask(p: &[f32], mask: &[u8]) -> Overlap {
    let of_class = p.iter().zip(mask).filter(|&(_, &value)| value == 1);
    Overlap {
        both: of_class.map(|(&p, _)| f64::from(p)).sum(),
        found: sum(p),
    }
}

/// Sets values to 0 where a pixel does not count.
pub(crate) fn clear_ignored(values: &mut [f32], truth: &[u8], ignored: Option<u8>) {
    let Some(ignored) = ignored else { return };
    for (x, &value) in values.iter_mut().zip(truth) {
        *x = if value == ignored { 0.0 } else { *x };
    }
}

/// Turns the probabilities that [`overlaps`] wrote into the gradient by the logits: a probability's slope is
/// `found + both · t`, `[image][class]`.
pub(crate) fn gradient(batch: &Batch<'_>, slopes: &[Slopes], values: &mut [f32]) {
    let classes = batch.target.classes();
    match batch.target.mode() {
        Mode::Multiclass => {
            batch.by_pixels(values, |mut strip| {
                let slopes = &slopes[strip.image * classes..][..classes];
                let labels = batch.labels(&strip);
                through_softmax(&mut strip.planes, labels, slopes);
            });
        }
        Mode::Binary | Mode::Multilabel => {
            batch.by_planes(values, |strip, plane| {
                let (_, mask) = batch.masked(&strip, plane.len());
                let slopes = slopes[strip.image];
                let of_value = [slopes.found as f32, (slopes.found + slopes.both) as f32];
                for (p, &value) in plane.iter_mut().zip(mask) {
                    let slope = if value == 1 { of_value[1] } else { of_value[0] };
                    *p *= (1.0 - *p) * slope;
                }
            });
        }
    }
}

/// `p_c (g_c − Σ_k p_k g_k)`, where `g_c` is `found_c`, and at the pixel's own class `both_c` more.
fn through_softmax(planes: &mut [&mut [f32]], labels: &[u8], slopes: &[Slopes]) {
    let mut means = vec![0.0_f32; labels.len()];
    let mut own = vec![0.0_f32; labels.len()];
    for (plane, slopes) in planes.iter().zip(slopes) {
        let slope = slopes.found as f32;
        means
            .iter_mut()
            .zip(&**plane)
            .for_each(|(mean, p)| *mean += p * slope);
    }
    for (i, &label) in labels.iter().enumerate() {
        let label = usize::from(label);
        if let (Some(plane), Some(slopes)) = (planes.get(label), slopes.get(label)) {
            own[i] = plane[i] * slopes.both as f32;
            means[i] += own[i];
        }
    }
    for (plane, slopes) in planes.iter_mut().zip(slopes) {
        let slope = slopes.found as f32;
        plane
            .iter_mut()
            .zip(&means)
            .for_each(|(p, mean)| *p *= slope - mean);
    }
    for (i, &label) in labels.iter().enumerate() {
        if let Some(plane) = planes.get_mut(usize::from(label)) {
            plane[i] += own[i];
        }
    }
}
