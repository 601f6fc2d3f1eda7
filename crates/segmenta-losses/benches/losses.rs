//! How fast losses and their gradients are: the median of a batch, on all cores.

use segmenta_kernels::{Isa, Threads};
use segmenta_losses::{LossSpec, Target};

fn main() {
    divan::main();
}

/// A batch of label maps of 21 classes.
const SHAPE: [usize; 4] = [4, 21, 224, 224];
/// A batch of masks.
const MASKS: [usize; 4] = [8, 1, 256, 192];

fn measure(bencher: divan::Bencher<'_, '_>, loss: &str, target: &Target) {
    let loss: LossSpec = loss.parse().unwrap();
    let mut bits = 1_u32;
    let mut value = || {
        bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Nearly normal: the sum of two that are even.
        (bits >> 20) as f32 / 1024.0 + (bits >> 8 & 0xFFF) as f32 / 1024.0 - 4.0
    };
    let logits: Vec<f32> = (0..target.len()).map(|_| value()).collect();
    let (isa, threads) = (Isa::fastest(), Threads::new(0).unwrap());
    bencher.bench_local(|| {
        let work = || loss.value_and_gradient(isa, &logits, target.shape(), target, 1.0);
        threads.run(work).unwrap()
    });
}

#[divan::bench(args = ["cross_entropy", "soft_cross_entropy", "ohem_cross_entropy", "dice", "jaccard", "tversky", "soft_iou", "focal", "lovasz"])]
fn label_maps(bencher: divan::Bencher<'_, '_>, loss: &str) {
    let [n, classes, h, w] = SHAPE;
    let labels = (0..n * h * w).map(|i| {
        if i % 29 == 0 {
            255
        } else {
            (i / 31 % classes) as u8
        }
    });
    let target = Target::labels(labels.collect(), [n, h, w], classes, Some(255)).unwrap();
    measure(bencher, loss, &target);
}

#[divan::bench(args = ["bce_with_logits", "soft_bce_with_logits", "dice", "jaccard", "tversky", "soft_iou", "mcc", "focal", "lovasz"])]
fn masks(bencher: divan::Bencher<'_, '_>, loss: &str) {
    let masks = (0..MASKS.iter().product()).map(|i: usize| u8::from((i / 37).is_multiple_of(3)));
    let target = Target::masks(masks.collect(), MASKS, None).unwrap();
    measure(bencher, loss, &target);
}
