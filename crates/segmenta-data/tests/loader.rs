//! What batches promise: the same for any number of workers, each picture once, able to go on anywhere.

use segmenta_data::augment::{Augmentation, Transform};
use segmenta_data::{
    Batch, Classes, Dataset, Loader, LoaderOptions, SCENE_CLASSES, Sample, Scene, Split,
};
use segmenta_image::{ChannelOrder, Pixels};

fn scenes(count: u64, size: impl Fn(u64) -> (usize, usize)) -> Dataset {
    let sample = |seed| {
        let (width, height) = size(seed);
        let scene = Scene::generate(seed, width, height).unwrap();
        (
            format!("scene {seed}"),
            Sample::new(scene.picture, scene.labels).unwrap(),
        )
    };
    let classes = Classes::with_palette(SCENE_CLASSES, Scene::palette());
    Dataset::from_samples((0..count).map(sample), classes, Some(Split::Train))
}

fn augmentation() -> Augmentation {
    let list = r#"[
        { "name": "resize", "size": "40x30" },
        { "name": "horizontal_flip" },
        { "name": "color_jitter", "p": 0.7 },
        { "name": "shift_scale_rotate" }
    ]"#;
    Augmentation::new(serde_json::from_str::<Vec<Transform>>(list).unwrap()).unwrap()
}

fn options() -> LoaderOptions {
    LoaderOptions {
        batch: 4,
        seed: 9,
        ..LoaderOptions::default()
    }
}

fn loader(options: LoaderOptions) -> Loader {
    let size = |seed| (50 + seed as usize, 40);
    Loader::new(scenes(11, size), augmentation(), options).unwrap()
}

fn batches(loader: &Loader, epoch: u64, first: usize) -> Vec<Batch> {
    loader
        .epoch(epoch, first)
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

#[test]
fn batches_do_not_depend_on_workers_or_cache() {
    let with = |workers, cache_bytes, prefetch| {
        let loader = loader(LoaderOptions {
            workers,
            cache_bytes,
            prefetch,
            ..options()
        });
        // The second epoch is the one that finds samples kept.
        [batches(&loader, 0, 0), batches(&loader, 1, 0)]
    };
    let reference = with(1, 0, 0);
    assert_eq!(reference, with(2, 1 << 30, 2));
    assert_eq!(reference, with(5, 20_000, 1));
}

#[test]
fn planes_come_in_the_order_that_is_asked_for() {
    let with = |order| {
        let pixels = Pixels {
            order,
            ..Pixels::default()
        };
        let plain = LoaderOptions {
            mean: [0.0; 3],
            std: [1.0; 3],
            pixels,
            ..options()
        };
        batches(&loader(plain), 0, 0)
    };
    let (rgb, bgr) = (with(ChannelOrder::Rgb), with(ChannelOrder::Bgr));
    for (one, other) in rgb.iter().zip(&bgr) {
        let plane = one.width * one.height;
        let pictures = one.pictures.chunks(3 * plane);
        for (one, other) in pictures.zip(other.pictures.chunks(3 * plane)) {
            assert_ne!(one[..plane], other[..plane]);
            assert_eq!(one[..plane], other[2 * plane..]);
            assert_eq!(one[plane..2 * plane], other[plane..2 * plane]);
        }
        assert_eq!(one.labels, other.labels);
    }
}

#[test]
fn an_epoch_has_each_picture_once_in_an_order_of_its_own() {
    let loader = loader(options());
    let items = |epoch| -> Vec<usize> {
        batches(&loader, epoch, 0)
            .into_iter()
            .flat_map(|batch| batch.items)
            .collect()
    };
    let (first, second) = (items(0), items(1));
    assert_ne!(first, second);
    for mut items in [first, second] {
        items.sort_unstable();
        assert_eq!(items, (0..11).collect::<Vec<_>>());
    }
    assert_eq!(loader.batches(), 3);
}

#[test]
fn an_epoch_goes_on_where_it_was_left() {
    let loader = loader(options());
    let whole = batches(&loader, 5, 0);
    for first in 0..=3 {
        assert_eq!(whole[first..], batches(&loader, 5, first));
    }
}

#[test]
fn the_last_batch_is_kept_or_dropped() {
    let sizes = |drop_last| -> Vec<usize> {
        let loader = loader(LoaderOptions {
            drop_last,
            shuffle: false,
            ..options()
        });
        assert_eq!(loader.batches(), batches(&loader, 0, 0).len());
        batches(&loader, 0, 0).iter().map(Batch::len).collect()
    };
    assert_eq!((sizes(false), sizes(true)), (vec![4, 4, 3], vec![4, 4]));
}

#[test]
fn values_are_normalised_and_labels_are_ids() {
    let plain = LoaderOptions {
        mean: [0.5; 3],
        std: [0.25; 3],
        shuffle: false,
        batch: 2,
        ..options()
    };
    let dataset = scenes(2, |_| (6, 5));
    let loader = Loader::new(dataset.clone(), Augmentation::default(), plain).unwrap();
    let batch = &batches(&loader, 0, 0)[0];
    assert_eq!((batch.width, batch.height, batch.len()), (6, 5, 2));
    for (n, item) in [0, 1].into_iter().enumerate() {
        let sample = dataset.sample(item).unwrap();
        assert_eq!(batch.labels[n * 30..(n + 1) * 30], *sample.labels().ids());
        for (i, pixel) in sample.picture().pixels().chunks(3).enumerate() {
            for (c, &value) in pixel.iter().enumerate() {
                let wanted = (f32::from(value) / 255.0 - 0.5) / 0.25;
                assert_eq!(batch.pictures[n * 90 + c * 30 + i], wanted);
            }
        }
    }
}

#[test]
fn two_sizes_in_a_batch_are_an_error_that_names_them() {
    let dataset = scenes(2, |seed| (8 + seed as usize, 8));
    let loader = Loader::new(dataset, Augmentation::default(), options()).unwrap();
    let error = loader
        .epoch(0, 0)
        .unwrap()
        .next()
        .unwrap()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("in one batch") && error.contains("scene 1"),
        "{error}"
    );
}

#[test]
fn a_consumer_that_leaves_stops_the_workers() {
    let loader = loader(options());
    let mut epoch = loader.epoch(0, 0).unwrap();
    assert!(epoch.next().unwrap().is_ok());
    drop(epoch);
    assert_eq!(batches(&loader, 0, 0).len(), 3);
}

#[test]
fn what_cannot_be_loaded_is_refused_at_once() {
    let refused = |dataset, options| Loader::new(dataset, Augmentation::default(), options).err();
    let none = refused(scenes(0, |_| (1, 1)), options()).unwrap();
    assert!(none.to_string().contains("no pictures"), "{none}");
    for wrong in [0, 1_000_000_000] {
        for (setting, options) in [
            (
                "batch",
                LoaderOptions {
                    batch: wrong,
                    ..options()
                },
            ),
            (
                "workers",
                LoaderOptions {
                    workers: wrong,
                    ..options()
                },
            ),
            (
                "prefetch",
                LoaderOptions {
                    prefetch: wrong,
                    ..options()
                },
            ),
        ] {
            let refused = refused(scenes(1, |_| (1, 1)), options);
            if (setting, wrong) == ("prefetch", 0) {
                assert!(
                    refused.is_none(),
                    "each batch may be made when it is asked for"
                );
                continue;
            }
            let text = refused.unwrap().to_string();
            assert!(
                text.starts_with(&format!("{setting} = {wrong} · ")),
                "{text}"
            );
            assert!(text.contains(" to "), "{text}");
        }
    }
}
