//! How long a scene takes to paint.

use segmenta_data::Scene;

fn main() {
    divan::main();
}

#[divan::bench(args = [(320, 240), (640, 480)])]
fn generate(bencher: divan::Bencher<'_, '_>, (width, height): (usize, usize)) {
    let seeds = std::sync::atomic::AtomicU64::new(0);
    bencher.bench(|| {
        let seed = seeds.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 50;
        Scene::generate(seed, width, height)
    });
}
