//! How fast optimisers step: bytes read and written a second.

use divan::counter::BytesCount;
use segmenta_kernels::optim::{
    AdamStep, MomentumStep, Take, adam_step, momentum_step, moving_average, sum_of_squares,
};
use segmenta_kernels::{Isa, Threads};

/// As many values as a U-Net with EfficientNet-B3 has.
const LEN: usize = 13_000_000;
const THREADS: [usize; 2] = [1, 2];

fn main() {
    divan::main();
}

fn values() -> Vec<f32> {
    (0..LEN)
        .map(|i| (i % 1013) as f32 / 1013.0 + 0.01)
        .collect()
}

/// Times `work` on these threads; it moves `passes` times the memory of a parameter.
fn measure(
    bencher: divan::Bencher<'_, '_>,
    threads: usize,
    passes: usize,
    mut work: impl FnMut() + Send,
) {
    let threads = Threads::new(threads).unwrap();
    bencher
        .counter(BytesCount::of_many::<f32>(passes * LEN))
        .bench_local(|| threads.run(&mut work));
}

#[divan::bench(args = THREADS)]
fn average(bencher: divan::Bencher<'_, '_>, threads: usize) {
    let (from, mut to) = (values(), values());
    measure(bencher, threads, 3, || {
        moving_average(Isa::fastest(), 1.0, &from, &mut to);
    });
}

#[divan::bench(args = THREADS)]
fn sgd_with_momentum(bencher: divan::Bencher<'_, '_>, threads: usize) {
    let (gradient, mut x, mut buffer) = (values(), values(), values());
    let rule = MomentumStep {
        lr: 1e-6,
        weight_decay: 1e-4,
        momentum: 0.9,
        enter: 1.0,
        nesterov: false,
    };
    measure(bencher, threads, 5, || {
        momentum_step(
            Isa::fastest(),
            rule,
            Take::default(),
            &gradient,
            &mut x,
            &mut buffer,
        );
    });
}

#[divan::bench(args = THREADS)]
fn adam(bencher: divan::Bencher<'_, '_>, threads: usize) {
    let (gradient, mut x, mut mean, mut square) = (values(), values(), values(), values());
    let rule = AdamStep {
        lr: 1e-6,
        betas: [0.9, 0.999],
        eps: 1e-8,
        weight_decay: 0.0,
        shrink: 1.0,
        corrections: [0.5, 0.5],
    };
    measure(bencher, threads, 7, || {
        adam_step(
            Isa::fastest(),
            rule,
            Take::default(),
            &gradient,
            &mut x,
            [&mut mean, &mut square],
        );
    });
}

#[divan::bench(args = THREADS)]
fn norm(bencher: divan::Bencher<'_, '_>, threads: usize) {
    let gradient = values();
    measure(bencher, threads, 1, || {
        divan::black_box(sum_of_squares(Isa::fastest(), &gradient));
    });
}
