//! How fast losses and their gradients are, on the CPU.

use burn::tensor::{Device, Distribution, Tensor};
use segmenta_train::loss::{LossSpec, Target};

fn main() {
    divan::main();
}

/// A batch of label maps of 21 classes.
const SHAPE: [usize; 4] = [4, 21, 224, 224];
/// A batch of masks.
const MASKS: [usize; 4] = [8, 1, 256, 192];

fn measure(bencher: divan::Bencher<'_, '_>, loss: &str, target: &Target, device: &Device) {
    let loss: LossSpec = loss.parse().unwrap();
    let logits = Tensor::<4>::random(target.shape(), Distribution::Normal(0.0, 1.0), device);
    bencher.bench_local(|| {
        let logits = logits.clone().require_grad();
        let value = loss.forward(&logits, target).unwrap();
        logits.grad(&value.backward()).unwrap()
    });
}

#[divan::bench(args = ["cross_entropy", "soft_cross_entropy", "ohem_cross_entropy", "dice", "jaccard", "tversky", "soft_iou", "focal", "lovasz"])]
fn label_maps(bencher: divan::Bencher<'_, '_>, loss: &str) {
    let device = Device::flex().autodiff();
    let [n, classes, h, w] = SHAPE;
    let labels = (0..n * h * w).map(|i| {
        if i % 29 == 0 {
            255
        } else {
            (i / 31 % classes) as u8
        }
    });
    let target = Target::labels(labels.collect(), [n, h, w], classes, Some(255), &device).unwrap();
    measure(bencher, loss, &target, &device);
}

#[divan::bench(args = ["bce_with_logits", "soft_bce_with_logits", "dice", "jaccard", "tversky", "soft_iou", "mcc", "focal", "lovasz"])]
fn masks(bencher: divan::Bencher<'_, '_>, loss: &str) {
    let device = Device::flex().autodiff();
    let masks = (0..MASKS.iter().product()).map(|i: usize| u8::from((i / 37).is_multiple_of(3)));
    let target = Target::masks(masks.collect(), MASKS, None, &device).unwrap();
    measure(bencher, loss, &target, &device);
}
