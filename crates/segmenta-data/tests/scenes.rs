//! What every generated scene promises.

use segmenta_data::{SCENE_CLASSES, SCENE_COLOURS, Scene};

/// FNV-1a, 64 bits.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, &b| {
        (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The demonstration's figures hold for these very bytes: who changes them trains its network again.
#[test]
fn a_seed_means_the_same_bytes_everywhere() {
    let scene = Scene::generate(0, 320, 240).unwrap();
    let hashes = (hash(scene.picture.pixels()), hash(scene.labels.ids()));
    assert_eq!(hashes, (0xac15_0feb_a317_f7df, 0xf9ff_26f2_baa1_fff5));
}

#[test]
fn every_class_appears_and_no_other_id() {
    let mut scenes_with = [0; SCENE_CLASSES.len()];
    for seed in 0..50 {
        let counts = Scene::generate(seed, 80, 60).unwrap().labels.counts();
        assert_eq!(counts[..SCENE_CLASSES.len()].iter().sum::<u64>(), 80 * 60);
        for (class, with) in scenes_with.iter_mut().enumerate() {
            *with += usize::from(counts[class] > 0);
        }
    }
    assert!(
        scenes_with.iter().all(|&n| n >= 40),
        "{SCENE_CLASSES:?} are in {scenes_with:?} of 50 scenes"
    );
}

#[test]
fn any_size_is_painted() {
    for (width, height) in [
        (1, 1),
        (1, 50),
        (50, 1),
        (2, 3),
        (33, 17),
        (301, 7),
        (7, 301),
        (97, 65),
    ] {
        for seed in 0..8 {
            let scene = Scene::generate(seed, width, height).unwrap();
            assert_eq!(scene.picture.size(), (width, height));
            assert_eq!(scene.labels.size(), (width, height));
            assert!(
                scene
                    .labels
                    .ids()
                    .iter()
                    .all(|&id| usize::from(id) < SCENE_CLASSES.len())
            );
        }
    }
    assert!(Scene::generate(0, 0, 5).is_err());
    assert!(Scene::generate(0, 5, 0).is_err());
}

#[test]
fn seeds_differ() {
    let of = |seed| Scene::generate(seed, 32, 24).unwrap().picture;
    assert!(of(1) != of(2));
}

/// A larger picture shows the same scene.
#[test]
fn size_does_not_change_the_scene() {
    let small = Scene::generate(3, 80, 60).unwrap().labels;
    let large = Scene::generate(3, 320, 240)
        .unwrap()
        .labels
        .resize_nearest(80, 60);
    let same = small
        .ids()
        .iter()
        .zip(large.ids())
        .filter(|(a, b)| a == b)
        .count();
    assert!(same as f64 > 0.93 * (80.0 * 60.0), "{same} of 4800");
}

#[test]
fn each_class_has_a_colour_of_its_own() {
    let palette = Scene::palette();
    assert_eq!(palette.classes(), SCENE_CLASSES.len());
    for (class, colour) in SCENE_COLOURS.iter().enumerate() {
        assert_eq!(palette.color(class as u8), *colour);
        assert!(!SCENE_COLOURS[..class].contains(colour));
    }
}
