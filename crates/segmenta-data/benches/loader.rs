//! What an epoch of batches costs one worker: 32 road scenes of 480×360 from disk as batches of 8 at 256×256, flipped
//! and jittered. The network must take longer for a batch than its share of this.

use divan::Bencher;
use segmenta_data::augment::{Augmentation, Transform};
use segmenta_data::{Dataset, Loader, LoaderOptions, Scene};

const PICTURES: u64 = 32;
const AUGMENT: &str = r#"[{ "name": "resize", "size": "256x256" }, { "name": "horizontal_flip" },
    { "name": "color_jitter", "p": 0.2 }]"#;

fn main() {
    divan::main();
}

/// Every picture is decoded anew, or found in memory as all epochs but the first find it.
#[divan::bench(args = ["decoded", "kept"])]
fn epoch(bencher: Bencher<'_, '_>, how: &str) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["images", "masks"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    for seed in 0..PICTURES {
        let scene = Scene::generate(seed, 480, 360).unwrap();
        scene
            .picture
            .save(folder.path().join(format!("images/{seed}.jpg")))
            .unwrap();
        let mask = folder.path().join(format!("masks/{seed}.png"));
        scene.labels.save(mask, &Scene::palette()).unwrap();
    }
    let transforms: Vec<Transform> = serde_json::from_str(AUGMENT).unwrap();
    let options = LoaderOptions {
        workers: 1,
        cache_bytes: if how == "kept" { 1 << 30 } else { 0 },
        ..LoaderOptions::default()
    };
    let dataset = Dataset::open(folder.path()).unwrap();
    let loader = Loader::new(dataset, Augmentation::new(transforms).unwrap(), options).unwrap();
    let all = |epoch| {
        loader
            .epoch(epoch, 0)
            .unwrap()
            .map(|batch| batch.unwrap().len())
            .sum::<usize>()
    };
    all(0);
    bencher
        .counter(divan::counter::ItemsCount::new(PICTURES))
        .bench(|| all(1));
}
