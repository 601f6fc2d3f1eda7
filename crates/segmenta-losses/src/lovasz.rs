//! Lovász losses: `LovaszLoss` of segmentation_models_pytorch.
//!
//! The loss is a sum over pixels of an error times a weight; the weight depends on the pixel's rank among the errors
//! and has no gradient. Ranking is what takes the time: a radix sort of the errors' bits.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::definition::Definition;
use super::overlap::clear_ignored;
use super::{LossError, Mode, Target};

/// The Lovász extension of the Jaccard loss: Lovász-Softmax over the classes that occur for label maps, the Lovász
/// hinge over all values together for masks. Berman et al., "The Lovász-Softmax loss", 2018.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lovasz {
    /// The mean over images instead of one set of pixels.
    pub per_image: bool,
}

impl Definition for Lovasz {
    const NAME: &'static str = "lovasz";

    fn check(&self, _mode: Mode, _classes: usize) -> Result<(), LossError> {
        Ok(())
    }

    fn compute(&self, batch: &Batch<'_>, factor: f64, gradient: &mut [f32]) -> f64 {
        match batch.target.mode() {
            Mode::Multiclass => self.softmax(batch, factor, gradient),
            Mode::Binary | Mode::Multilabel => self.hinge(batch, factor, gradient),
        }
    }
}

impl Lovasz {
    /// Errors are `1 − p` where the class is, `p` where it is not.
    fn softmax(&self, batch: &Batch<'_>, factor: f64, gradient: &mut [f32]) -> f64 {
        let target = batch.target;
        batch.by_pixels(gradient, |mut strip| {
            batch.softmax(&mut strip, &mut []);
            let labels = batch.labels(&strip);
            for plane in &mut strip.planes {
                clear_ignored(plane, labels, target.ignored());
            }
        });
        let p = &*gradient;
        let ranked = self.ranked(target, |at, is| if is { 1.0 - p[at] } else { p[at] });
        let loss = ranked.iter().map(|set| set.loss).sum();
        let pixels = batch.shape().pixels();
        // The weights of each plane; none of a class that does not occur.
        let mut weights: Vec<&[f32]> = vec![&[]; target.len() / pixels];
        for set in &ranked {
            for (&plane, of_plane) in set.planes.iter().zip(set.weights.chunks_exact(pixels)) {
                weights[plane] = of_plane;
            }
        }
        let (classes, factor) = (target.classes(), factor as f32);
        batch.by_pixels(gradient, |mut strip| {
            let labels = batch.labels(&strip);
            let of_class = |class: usize| {
                let plane = weights[strip.image * classes + class];
                plane.get(strip.first..strip.first + labels.len())
            };
            // An error grows with p, but where the class is.
            let slope = |class: usize, i: usize, weight: f32| {
                let is = usize::from(labels[i]) == class;
                if is {
                    -weight * factor
                } else {
                    weight * factor
                }
            };
            let mut means = vec![0.0_f32; labels.len()];
            for (class, plane) in strip.planes.iter().enumerate() {
                for (i, &weight) in of_class(class).unwrap_or_default().iter().enumerate() {
                    means[i] += plane[i] * slope(class, i, weight);
                }
            }
            for (class, plane) in strip.planes.iter_mut().enumerate() {
                let Some(of_class) = of_class(class) else {
                    plane
                        .iter_mut()
                        .zip(&means)
                        .for_each(|(p, mean)| *p *= -mean);
                    continue;
                };
                for (i, p) in plane.iter_mut().enumerate() {
                    *p *= slope(class, i, of_class[i]) - means[i];
                }
            }
        });
        loss
    }

    /// Errors are what a logit lacks to 1 on its own side of 0.
    fn hinge(&self, batch: &Batch<'_>, factor: f64, gradient: &mut [f32]) -> f64 {
        let (target, logits) = (batch.target, batch.logits);
        let error = |at: usize, is: bool| {
            let lacks = if is {
                1.0 - logits[at]
            } else {
                1.0 + logits[at]
            };
            if lacks < 0.0 { 0.0 } else { lacks }
        };
        let ranked = self.ranked(target, error);
        let (pixels, factor) = (batch.shape().pixels(), factor as f32);
        for set in &ranked {
            for (&plane, weights) in set.planes.iter().zip(set.weights.chunks_exact(pixels)) {
                let to = &mut gradient[plane * pixels..][..pixels];
                let masks = &target.values()[plane * pixels..][..pixels];
                for (i, (to, &weight)) in to.iter_mut().zip(weights).enumerate() {
                    let is = masks[i] == 1;
                    let bends = error(plane * pixels + i, is) == 0.0;
                    *to = match (bends, is) {
                        (true, _) => 0.0,
                        (_, true) => -weight * factor,
                        (_, false) => weight * factor,
                    };
                }
            }
        }
        ranked.iter().map(|set| set.loss).sum()
    }

    /// What the error of each value is multiplied by, `[image][class][row][column]`, all means included; 0 for what does
    /// not count. `errors` lie in the same order. Devices, too, rank errors by it.
    pub fn weights(&self, errors: &[f32], target: &Target) -> Vec<f32> {
        let [.., height, width] = target.shape();
        let pixels = height * width;
        let mut weights = vec![0.0; errors.len()];
        for set in self.ranked(target, |at, _| errors[at]) {
            for (&plane, of_plane) in set.planes.iter().zip(set.weights.chunks_exact(pixels)) {
                weights[plane * pixels..][..pixels].copy_from_slice(of_plane);
            }
        }
        weights
    }

    /// Ranks the errors of what is ranked together: a class or all of them, in an image or in all.
    fn ranked(&self, target: &Target, error: impl Fn(usize, bool) -> f32 + Sync) -> Vec<Ranked> {
        let [images, classes, ..] = target.shape();
        let image_sets: Vec<_> = if self.per_image {
            (0..images).map(|image| image..image + 1).collect()
        } else {
            vec![0..images; 1]
        };
        let mut sets = Vec::new();
        for set in &image_sets {
            let class_sets: Vec<_> = if target.mode() == Mode::Multiclass {
                let occurs =
                    |&class: &usize| set.clone().any(|i| target.positives_in(i)[class] > 0);
                (0..classes)
                    .filter(occurs)
                    .map(|class| class..class + 1)
                    .collect()
            } else {
                vec![0..classes; 1]
            };
            let share = 1.0 / (image_sets.len() * class_sets.len().max(1)) as f64;
            sets.extend(class_sets.into_iter().map(|chosen| {
                let planes = set
                    .clone()
                    .flat_map(|i| chosen.clone().map(move |c| i * classes + c));
                (planes.collect::<Vec<_>>(), share)
            }));
        }
        let rank = |(planes, share)| ranks(target, planes, share, &error);
        sets.into_par_iter().map(rank).collect()
    }
}

/// Values that were ranked together.
struct Ranked {
    /// `image · classes + class` of each plane.
    planes: Vec<usize>,
    /// Of each pixel of these planes, one after the other; 0 for what does not count.
    weights: Vec<f32>,
    /// The sum of errors times weights.
    loss: f64,
}

/// The gradient of the Lovász extension (Berman et al., algorithm 1): by how much the Jaccard loss grows when a value
/// joins those with larger errors. Equal errors keep their order.
fn ranks(
    target: &Target,
    planes: Vec<usize>,
    share: f64,
    error: impl Fn(usize, bool) -> f32,
) -> Ranked {
    let [_, classes, height, width] = target.shape();
    let pixels = height * width;
    let is_multiclass = target.mode() == Mode::Multiclass;
    let (mut items, mut positives) = (Vec::with_capacity(planes.len() * pixels), 0_u64);
    for (place, &plane) in planes.iter().enumerate() {
        let (truth, one) = if is_multiclass {
            (plane / classes * pixels, plane % classes)
        } else {
            (plane * pixels, 1)
        };
        for (i, &value) in target.values()[truth..][..pixels].iter().enumerate() {
            if Some(value) == target.ignored() {
                continue;
            }
            let is = usize::from(value) == one;
            positives += u64::from(is);
            items.push(Item::new(
                error(plane * pixels + i, is),
                place * pixels + i,
                is,
            ));
        }
    }
    sort(&mut items);
    let (positives, mut missed, mut mistaken, mut before) = (positives as f64, 0.0, 0.0, 0.0);
    let mut ranked = Ranked {
        weights: vec![0.0; planes.len() * pixels],
        planes,
        loss: 0.0,
    };
    for item in items {
        if item.is() {
            missed += 1.0;
        } else {
            mistaken += 1.0;
        }
        let jaccard = 1.0 - (positives - missed) / (positives + mistaken);
        let weight = (jaccard - before) * share;
        before = jaccard;
        ranked.weights[item.at()] = weight as f32;
        ranked.loss += weight * f64::from(item.error());
    }
    ranked
}

/// An error with its place and whether the value is of the class, in a number that is the smaller the larger the error,
/// then by place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Item(u64);

impl Item {
    /// `at` below 2³¹: more values than that, of one class, are 8 GiB of logits.
    fn new(error: f32, at: usize, is: bool) -> Self {
        let bits = error.to_bits();
        // IEEE 754's total order, turned round.
        let key = if bits >> 31 == 1 {
            bits
        } else {
            !(bits | 1 << 31)
        };
        Self(u64::from(key) << 32 | (at as u64) << 1 | u64::from(is))
    }

    fn error(self) -> f32 {
        let key = (self.0 >> 32) as u32;
        f32::from_bits(if key >> 31 == 1 {
            key
        } else {
            !key & !(1 << 31)
        })
    }

    fn at(self) -> usize {
        (self.0 as u32 >> 1) as usize
    }

    fn is(self) -> bool {
        self.0 & 1 == 1
    }
}

/// In ascending order: a radix sort by the 32 bits of the error, which keeps the order of places.
fn sort(items: &mut Vec<Item>) {
    const BITS: u32 = 11;
    if items.len() < 1 << BITS {
        items.sort_unstable();
        return;
    }
    let mut other = vec![Item(0); items.len()];
    for shift in [32, 32 + BITS, 32 + 2 * BITS] {
        let digit = |item: Item| (item.0 >> shift) as usize & ((1 << BITS) - 1);
        let mut places = [0_usize; 1 << BITS];
        items.iter().for_each(|&item| places[digit(item)] += 1);
        let mut next = 0;
        for place in &mut places {
            next += std::mem::replace(place, next);
        }
        for &item in &*items {
            let place = &mut places[digit(item)];
            other[*place] = item;
            *place += 1;
        }
        std::mem::swap(items, &mut other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_ordered_as_the_total_order_has_them() {
        let special = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            -f32::NAN,
        ];
        let mut bits = 1_u32;
        let mut errors = special.to_vec();
        errors.extend((0..5000).map(|_| {
            bits = bits.wrapping_mul(0x9E37_79B9) ^ bits >> 15;
            f32::from_bits(bits | 1)
        }));
        // Some twice, for equal ones keep their order.
        errors.extend(errors.clone());
        for count in [errors.len(), 20] {
            let places = errors[..count].iter().enumerate();
            let mut items: Vec<Item> = places
                .map(|(at, &error)| Item::new(error, at, at % 3 == 0))
                .collect();
            sort(&mut items);
            let mut expected: Vec<usize> = (0..count).collect();
            expected.sort_by(|&a, &b| errors[b].total_cmp(&errors[a]));
            for (item, at) in items.iter().zip(expected) {
                assert_eq!((item.at(), item.is()), (at, at % 3 == 0));
                assert_eq!(item.error().to_bits(), errors[at].to_bits());
            }
        }
    }
}
