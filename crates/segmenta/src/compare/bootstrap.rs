//! Whether a difference is more than chance, which is what another draw of pictures would have brought: pictures are drawn again with
//! replacement, both models' counts of the same pictures together (a paired bootstrap; Efron and Tibshirani, An Introduction to the
//! Bootstrap, 1993), and the scores of each such draw are compared.

use segmenta_metrics::{Counts, Metric};
use serde::Serialize;

/// Draws of pictures.
pub(super) const DRAWS: usize = 10_000;
/// Fewer where counts are so many that they would take longer than seconds.
const MOST_SUMS: usize = 1_500_000_000;
/// What fewer pictures have cannot be told from chance: draws of one picture are all alike.
const LEAST_PICTURES: usize = 5;
/// The seed of the draws: the same data give the same answer.
const SEED: u64 = 0x5e6d_e27a;

/// A score of both, and how far apart they are.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// The first model's.
    pub a: Option<f64>,
    /// The second's.
    pub b: Option<f64>,
    /// The second's less the first's.
    pub difference: Option<f64>,
    /// Where 95 of 100 draws of the pictures have the difference; `None` for what fewer than five pictures have.
    pub interval: Option<[f64; 2]>,
    /// How likely a difference as far from 0 would be by the draw of pictures alone (two-sided).
    pub p: Option<f64>,
}

impl Difference {
    /// Whether the interval leaves 0 out.
    pub fn is_more_than_chance(&self) -> bool {
        self.interval
            .is_some_and(|[low, high]| low > 0.0 || high < 0.0)
    }
}

/// Counts of a picture, or of a draw: for each class of each model.
pub(super) type Sums = [Vec<Counts>; 2];

fn iou(counts: Counts) -> Option<f64> {
    Metric::Iou.of(counts)
}

fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let (sum, count) = values
        .flatten()
        .fold((0.0, 0_usize), |(sum, count), value| {
            (sum + value, count + 1)
        });
    (count > 0).then(|| sum / count as f64)
}

/// Right pixels of all.
fn accuracy(counts: &[Counts]) -> Option<f64> {
    let right: u64 = counts.iter().map(|counts| counts.true_positives).sum();
    let all = counts.first().map_or(0, Counts::pixels);
    (all > 0).then(|| right as f64 / all as f64)
}

/// mIoU, accuracy, and IoU of every class, of one model.
pub(super) fn scores(counts: &[Counts]) -> Vec<Option<f64>> {
    let classes = counts.iter().map(|&counts| iou(counts));
    let mut scores = vec![mean(classes.clone()), accuracy(counts)];
    scores.extend(classes);
    scores
}

pub(super) fn add(sums: &mut Sums, of: &Sums) {
    for (sums, counts) in sums.iter_mut().zip(of) {
        for (sum, counts) in sums.iter_mut().zip(counts) {
            *sum += *counts;
        }
    }
}

/// What came of the draws.
pub(super) struct Bootstrap {
    /// How many there were.
    pub(super) draws: usize,
    /// Counts of all pictures.
    pub(super) all: Sums,
    /// Of mIoU, of pixel accuracy, and of each class's IoU.
    pub(super) differences: Vec<Difference>,
}

/// Draws pictures again and again.
pub(super) fn bootstrap(pictures: &[&Sums], classes: usize) -> Bootstrap {
    let none = || -> Sums { [(); 2].map(|()| vec![Counts::default(); classes]) };
    let mut all = none();
    pictures.iter().for_each(|picture| add(&mut all, picture));
    let count = pictures.len();
    let sums = 8 * count.max(1) * classes;
    let draws = DRAWS.min(MOST_SUMS / sums).max(100);
    // Differences of each draw, a list a score.
    let mut drawn: Vec<Vec<f64>> = vec![Vec::with_capacity(draws); classes + 2];
    let mut random = SEED;
    let mut sums = none();
    for _ in 0..draws {
        sums.iter_mut()
            .flatten()
            .for_each(|sum| *sum = Counts::default());
        for _ in 0..count {
            add(&mut sums, pictures[below(&mut random, count)]);
        }
        let [a, b] = [scores(&sums[0]), scores(&sums[1])];
        for ((list, a), b) in drawn.iter_mut().zip(a).zip(b) {
            list.extend(a.zip(b).map(|(a, b)| b - a));
        }
    }
    let [a, b] = [scores(&all[0]), scores(&all[1])];
    // How many pictures each score has something of.
    let seen = |class: usize| {
        let has = |counts: &Vec<Counts>| iou(counts[class]).is_some();
        pictures.iter().filter(|of| of.iter().any(has)).count()
    };
    let seen = [count; 2].into_iter().chain((0..classes).map(seen));
    let differences: Vec<Difference> = a
        .into_iter()
        .zip(b)
        .zip(drawn)
        .zip(seen)
        .map(|(((a, b), drawn), seen)| {
            let drawn = if seen < LEAST_PICTURES {
                Vec::new()
            } else {
                drawn
            };
            difference(a, b, drawn)
        })
        .collect();
    Bootstrap {
        draws,
        all,
        differences,
    }
}

fn difference(a: Option<f64>, b: Option<f64>, mut drawn: Vec<f64>) -> Difference {
    drawn.sort_by(f64::total_cmp);
    let at = |share: f64| {
        drawn.get(((drawn.len() as f64 * share) as usize).min(drawn.len().saturating_sub(1)))
    };
    let interval = at(0.025).zip(at(0.975)).map(|(&low, &high)| [low, high]);
    // The smaller of the two sides, doubled; never less than one draw can tell.
    let p = (!drawn.is_empty()).then(|| {
        let below = drawn.iter().filter(|&&value| value <= 0.0).count();
        let above = drawn.iter().filter(|&&value| value >= 0.0).count();
        let tail = (below.min(above).max(1)) as f64 / drawn.len() as f64;
        (2.0 * tail).min(1.0)
    });
    Difference {
        a,
        b,
        difference: a.zip(b).map(|(a, b)| b - a),
        interval,
        p,
    }
}

/// A whole number below `end`, by SplitMix64 (Steele, Lea and Flood 2014).
fn below(state: &mut u64, end: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    ((u128::from(z) * end as u128) >> 64) as usize
}
