//! Softmax and cross entropy over classes (PyTorch's `CrossEntropyLoss`, reduction `mean`).
//!
//! Contract: labels are read first, and refused whole if one is no class; then each logit is read once
//! from memory and each gradient written once, with `classes` × 16 vectors held beside. The loss is summed
//! in f64, in the order of the pixels; a gradient is that of a softmax, whose error [`mod@crate::softmax`]
//! states. A NaN or ∞ among a pixel's logits makes its gradients and the loss NaN.

use std::ops::Range;

use thiserror::Error;

use crate::exp::exp;
use crate::isa::{Isa, Kernel};
use crate::map::MapShape;
use crate::shared::{Shared, in_parallel};
use crate::simd::Simd;

use super::TASK;

/// How pixels and classes count.
#[derive(Clone, Copy, Debug, Default)]
pub struct CrossEntropy<'a> {
    /// What each class counts for; empty for 1.
    pub class_weights: &'a [f32],
    /// A label whose pixels do not count.
    pub ignore_index: Option<u8>,
    /// The share of the target that is spread evenly over all classes, 0 to 1.
    pub label_smoothing: f32,
}

/// A label that is no class and not the one to ignore.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("label {label} at pixel {pixel} of picture {image}, where labels are below {classes}")]
pub struct LabelOutOfRange {
    /// Its value.
    pub label: u8,
    /// The picture of the batch.
    pub image: usize,
    /// `row · width + column`.
    pub pixel: usize,
    /// How many classes there are.
    pub classes: usize,
}

/// The loss of `logits`, `[batch][classes][height][width]`, for `labels`, `[batch][height][width]`, and
/// `factor` times its gradient. A loss over no pixels is NaN, as PyTorch's; its gradient is 0.
///
/// # Errors
/// If a label is out of range; nothing has been computed then.
///
/// # Panics
/// If the slices do not have the lengths of the shape, or there are not as many weights as classes.
pub fn cross_entropy(
    isa: Isa,
    loss: CrossEntropy<'_>,
    logits: &[f32],
    shape: MapShape,
    labels: &[u8],
    factor: f32,
    gradient: &mut [f32],
) -> Result<f32, LabelOutOfRange> {
    let (pixels, classes) = (shape.pixels(), shape.channels);
    let len = shape.batch_len();
    assert_eq!(logits.len(), len, "a batch of {shape:?}");
    assert_eq!(gradient.len(), len, "a batch of {shape:?}");
    assert_eq!(labels.len(), shape.batch * pixels, "labels of {shape:?}");
    assert!(
        [0, classes].contains(&loss.class_weights.len()),
        "one weight a class"
    );
    let mut counts = [0_u64; 256];
    for &label in labels {
        counts[usize::from(label)] += 1;
    }
    let ignored = |label: usize| loss.ignore_index.map(usize::from) == Some(label);
    if let Some(label) = (classes..256).find(|&label| counts[label] > 0 && !ignored(label)) {
        let at = labels.iter().position(|&l| usize::from(l) == label);
        let at = at.unwrap_or_default();
        return Err(LabelOutOfRange {
            label: label as u8,
            image: at / pixels,
            pixel: at % pixels,
            classes,
        });
    }
    let weight = |class: usize| loss.class_weights.get(class).copied().unwrap_or(1.0);
    let counted = (0..classes).filter(|&class| !ignored(class));
    let total: f64 = counted
        .map(|class| counts[class] as f64 * f64::from(weight(class)))
        .sum();

    // What a label's own class and every class count for, per label.
    let smoothing = f64::from(loss.label_smoothing);
    let all: f64 = (0..classes).map(|class| f64::from(weight(class))).sum();
    let mut of_label = [[0.0_f32; 2]; 256];
    if total > 0.0 {
        for (label, of_label) in of_label.iter_mut().enumerate().take(classes) {
            if !ignored(label) {
                let own = (1.0 - smoothing) * f64::from(weight(label)) / total;
                let even = smoothing / classes as f64 / total;
                *of_label = [own as f32, (own + even * all) as f32];
            }
        }
    }
    let even: Vec<f32> = (0..classes)
        .map(|class| (smoothing / classes as f64 * f64::from(weight(class)) / total) as f32)
        .collect();

    let cuts = pixels.div_ceil(TASK);
    let mut sums = vec![0.0_f64; shape.batch * cuts];
    let out = Shared::new(gradient);
    let each = Sums(sums.as_mut_ptr());
    in_parallel(shape.batch * cuts, |task| {
        let (image, first) = (task / cuts, task % cuts * TASK);
        let range = first..(first + TASK).min(pixels);
        let sum = isa.run(Strips {
            logits: &logits[image * shape.planar_len()..][..shape.planar_len()],
            labels: &labels[image * pixels..][..pixels],
            // SAFETY: pixels of a picture are written by the one task whose range they are in.
            gradient: unsafe { out.at(image * shape.planar_len()) },
            classes,
            plane: pixels,
            pixels: range,
            of_label: &of_label,
            ignore: loss.ignore_index,
            even: if smoothing > 0.0 { &even } else { &[] },
            factor,
        });
        // SAFETY: a sum is written by the one task that has its number.
        unsafe { each.set(task, sum) }
    });
    if total == 0.0 {
        return Ok(f32::NAN);
    }
    Ok(sums.iter().sum::<f64>() as f32)
}

/// Sums that each are written by one task.
#[derive(Clone, Copy)]
pub(super) struct Sums(pub(super) *mut f64);

// SAFETY: whoever calls `set` sees to it that no two threads have one index.
unsafe impl Send for Sums {}
// SAFETY: as above.
unsafe impl Sync for Sums {}

impl Sums {
    /// # Safety
    /// `index` is inside, and no other thread has it.
    pub(super) unsafe fn set(self, index: usize, sum: f64) {
        // SAFETY: inside, as the caller vouches.
        unsafe {
            *self.0.add(index) = sum;
        }
    }
}

/// Some pixels of one picture.
struct Strips<'a> {
    logits: &'a [f32],
    labels: &'a [u8],
    gradient: *mut f32,
    classes: usize,
    plane: usize,
    pixels: Range<usize>,
    /// For each label, what its class counts for, and what all classes together do.
    of_label: &'a [[f32; 2]; 256],
    ignore: Option<u8>,
    /// What each class counts for at every pixel; empty without smoothing.
    even: &'a [f32],
    factor: f32,
}

/// Vectors worked on together.
const STRIP: usize = 8;

impl Kernel for Strips<'_> {
    type Output = f64;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> f64 {
        // SAFETY: the strip held beside has whole vectors for every class; the gradient has the pixels that
        // the logits' slice, as long, was asked for before.
        unsafe {
            let width = STRIP * S::LANES;
            let mut held = vec![0.0_f32; self.classes * width];
            // For each pixel: the largest logit, the sum of exponentials, what all classes count for.
            let mut largest = [0.0_f32; STRIP * 16];
            let mut sums = [0.0_f32; STRIP * 16];
            let mut shares = [0.0_f32; STRIP * 16];
            let mut loss = 0.0_f64;
            for first in self.pixels.clone().step_by(width) {
                let count = width.min(self.pixels.end - first);
                let labels = &self.labels[first..][..count];
                for class in 0..self.classes {
                    let from = &self.logits[class * self.plane + first..][..count];
                    held[class * width..][..count].copy_from_slice(from);
                }
                let held_at = |class: usize, v: usize| class * width + v * S::LANES;
                let start = held.as_mut_ptr();
                for v in 0..STRIP {
                    let mut most = S::splat(f32::NEG_INFINITY);
                    for class in 0..self.classes {
                        let x = S::load(start.add(held_at(class, v)));
                        most = S::select_larger(x, most, x, most);
                    }
                    S::store(largest.as_mut_ptr().add(v * S::LANES), most);
                    let mut sum = S::zero();
                    for class in 0..self.classes {
                        let at = start.add(held_at(class, v));
                        let x = exp::<S>(S::sub(S::load(at), most));
                        sum = S::add(sum, x);
                        S::store(at, x);
                    }
                    S::store(sums.as_mut_ptr().add(v * S::LANES), sum);
                }
                for (i, &label) in labels.iter().enumerate() {
                    let [own, all] = self.of_label[usize::from(label)];
                    shares[i] = all * self.factor / sums[i];
                    if self.ignore == Some(label) {
                        continue;
                    }
                    // −log p of a class is `log_sum − x`.
                    let log_sum = f64::from(sums[i]).ln() + f64::from(largest[i]);
                    let x = |class: usize| f64::from(self.logits[class * self.plane + first + i]);
                    loss += f64::from(own) * (log_sum - x(usize::from(label)));
                    for (class, &even) in self.even.iter().enumerate() {
                        loss += f64::from(even) * (log_sum - x(class));
                    }
                }
                for class in 0..self.classes {
                    let even = self.even.get(class).map_or(0.0, |even| even * self.factor);
                    for v in 0..STRIP {
                        let at = start.add(held_at(class, v));
                        let share = S::load(shares.as_ptr().add(v * S::LANES));
                        S::store(at, S::mul_add(S::load(at), share, S::splat(-even)));
                    }
                }
                for (i, &label) in labels.iter().enumerate() {
                    if self.ignore == Some(label) {
                        for class in 0..self.classes {
                            held[class * width + i] = 0.0;
                        }
                    } else {
                        let [own, _] = self.of_label[usize::from(label)];
                        held[usize::from(label) * width + i] -= own * self.factor;
                    }
                }
                for class in 0..self.classes {
                    let to = self.gradient.add(class * self.plane + first);
                    let from = held[class * width..][..count].as_ptr();
                    to.copy_from_nonoverlapping(from, count);
                }
            }
            loss
        }
    }
}
