//! How fast pixels are counted: runs of one class, as pictures have them, and noise.

use divan::counter::ItemsCount;
use segmenta_metrics::Confusion;

const PIXELS: usize = 1 << 20;

fn main() {
    divan::main();
}

#[divan::bench(args = [1, 64])]
fn add(bencher: divan::Bencher<'_, '_>, run: usize) {
    let ids = |factor: usize| -> Vec<u8> {
        (0..PIXELS)
            .map(|i| ((i / run).wrapping_mul(factor) >> 7) as u8 % 21)
            .collect()
    };
    let (truth, prediction) = (ids(2_654_435_761), ids(2_246_822_519));
    let mut confusion = Confusion::new(21, Some(255)).unwrap();
    bencher
        .counter(ItemsCount::new(PIXELS))
        .bench_local(|| confusion.add(&truth, &prediction));
}
