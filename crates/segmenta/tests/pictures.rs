//! Any picture, any batch, any tiles, any threads: the label map has the picture's size, and how
//! the work was cut changes nothing but rounding.

use proptest::prelude::*;
use segmenta::{
    LabelMap, Model, ModelOptions, Picture, Preprocess, Resize, SegmentOptions, Segmentation, Tiles,
};
use segmenta_graph::Parameter;
use segmenta_zoo::Options;

/// Deterministic pseudo-random numbers in −1..1.
fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Weights that keep activations in range, different for every parameter.
fn fill(parameter: &Parameter) -> Vec<f32> {
    let seed = parameter
        .name
        .bytes()
        .fold(7, |h: u64, b| h.wrapping_mul(31) + u64::from(b));
    let fan_in: usize = parameter.shape.iter().skip(1).product();
    let values = noise(seed, parameter.len());
    let scale = |v: f32| match parameter.shape.len() {
        4 => v * (6.0 / fan_in as f32).sqrt(),
        _ => 0.9 + 0.1 * v,
    };
    values.into_iter().map(scale).collect()
}

fn model_with(options: &ModelOptions) -> Model {
    let build = Options {
        width: 0.1,
        ..Options::new(5)
    };
    let model = Model::untrained("deeplabv3_mobilenet_v2", &build, options, fill).unwrap();
    model
        .with_preprocess(Preprocess {
            resize: Resize::None,
            ..Preprocess::torchvision(1)
        })
        .unwrap()
}

fn model(threads: usize) -> Model {
    model_with(&ModelOptions::new().threads(threads))
}

fn picture(seed: u64, width: usize, height: usize) -> Picture {
    let bytes = noise(seed, 3 * width * height)
        .into_iter()
        .map(|v| (v * 127.0 + 128.0) as u8);
    Picture::from_rgb(width, height, bytes.collect()).unwrap()
}

/// Ties that rounding breaks the other way are few.
fn assert_alike(a: &Segmentation, b: &Segmentation, what: &str) {
    let (a, b): (&LabelMap, &LabelMap) = (a.labels(), b.labels());
    assert_eq!(a.size(), b.size());
    let differ = a.ids().iter().zip(b.ids()).filter(|(a, b)| a != b).count();
    assert!(
        differ * 1000 <= a.ids().len(),
        "{what}: {differ} of {} pixels differ",
        a.ids().len()
    );
}

proptest! {
    #![proptest_config(segmenta_properties::cases(24))]

    #[test]
    fn labels_have_the_pictures_size_and_batches_change_nothing(
        sizes in prop::collection::vec((1_usize..90, 1_usize..70), 1..6),
        alike: bool,
        resize in prop::sample::select(vec!["none", "37", "long:48", "20x33"]),
        threads in 1_usize..4,
    ) {
        let preprocess = Preprocess { resize: resize.parse().unwrap(), ..Preprocess::torchvision(1) };
        let model = model(threads).with_preprocess(preprocess).unwrap();
        let size = |i: usize| if alike { sizes[0] } else { sizes[i] };
        let pictures: Vec<Picture> =
            (0..sizes.len()).map(|i| picture(i as u64, size(i).0, size(i).1)).collect();
        let batch: Vec<&Picture> = pictures.iter().collect();
        let together = model.segment_batch(&batch, &SegmentOptions::default()).unwrap();
        for (picture, together) in pictures.iter().zip(&together) {
            prop_assert_eq!(together.labels().size(), picture.size());
            let alone = model.segment(picture).unwrap();
            prop_assert_eq!(alone.labels().ids(), together.labels().ids());
        }
    }

    #[test]
    fn one_tile_is_the_whole_picture(width in 1_usize..60, height in 1_usize..60, flip: bool) {
        let model = model(2);
        let picture = picture(3, width, height);
        let options = |tiles| SegmentOptions::new().flip(flip).tiles(tiles);
        let whole = model.segment_with(&picture, &options(None)).unwrap();
        let tiled = model.segment_with(&picture, &options(Some(Tiles::new(60, 7).unwrap()))).unwrap();
        prop_assert_eq!(whole.labels().ids(), tiled.labels().ids());
    }

    #[test]
    fn tiles_give_every_pixel_a_label(
        width in 1_usize..150,
        height in 1_usize..150,
        size in 9_usize..80,
        overlap in 0_usize..20,
        probability: bool,
    ) {
        prop_assume!(overlap <= size / 3);
        let tiles = Some(Tiles::new(size, overlap).unwrap());
        let options = SegmentOptions::new().tiles(tiles).probability(probability);
        let picture = picture(5, width, height);
        let tiled = model(2).segment_with(&picture, &options).unwrap();
        prop_assert_eq!(tiled.labels().size(), picture.size());
        prop_assert!(tiled.labels().ids().iter().all(|&id| id < 5));
        if let Some(scores) = tiled.probability() {
            prop_assert_eq!(scores.len(), width * height);
            prop_assert!(scores.iter().all(|s| (0.2 - 1e-4..=1.0).contains(s)));
        }
    }
}

#[test]
fn threads_change_not_one_bit() {
    let picture = picture(11, 201, 143);
    let options = SegmentOptions::new().probability(true);
    let one = model(1).segment_with(&picture, &options).unwrap();
    for threads in [2, 3, 7] {
        let many = model(threads).segment_with(&picture, &options).unwrap();
        assert_eq!(one.labels().ids(), many.labels().ids(), "{threads} threads");
        assert_eq!(one.probability(), many.probability(), "{threads} threads");
    }
}

#[test]
fn instruction_sets_differ_by_rounding_alone() {
    let picture = picture(13, 120, 77);
    let on = |isa| {
        let options = ModelOptions::new().isa(isa);
        model_with(&options).segment(&picture).unwrap()
    };
    let all = segmenta_runtime::Isa::available();
    let fastest = on(all[0]);
    for isa in &all[1..] {
        assert_alike(&fastest, &on(*isa), &isa.to_string());
    }
}

#[cfg(feature = "ndarray")]
#[test]
fn scores_are_seen_as_arrays() {
    let model = model(2);
    let photo = picture(3, 40, 30);
    let scores = model.scores(&photo).unwrap();
    let map = scores.map_view();
    let shape = scores.tensor().shape;
    assert_eq!(map.dim(), (5, shape.height, shape.width));
    assert_eq!(scores.tensor().view().unwrap().dim().0, 1);
    let probabilities = scores
        .probabilities(segmenta::Resolution::Photograph)
        .unwrap();
    let probabilities = probabilities.view().unwrap();
    assert_eq!(probabilities.dim(), (1, 5, 30, 40));
    let logits = scores.logits(segmenta::Resolution::Photograph).unwrap();
    let logits = logits.view().unwrap();
    // The likeliest class of a pixel is its label in every view.
    let found = model.segment_with(&photo, &SegmentOptions::new().probability(true));
    let found = found.unwrap();
    let sure = found.probability_view().unwrap();
    assert_eq!(sure.dim(), (30, 40));
    for ((row, column), &id) in found.labels().view().indexed_iter() {
        let of = |class: usize| probabilities[[0, class, row, column]];
        assert!((of(id.into()) - sure[[row, column]]).abs() < 1e-5);
        let best = (0..5).map(|class| logits[[0, class, row, column]]);
        let best = best.fold(f32::MIN, f32::max);
        assert!(logits[[0, id.into(), row, column]] >= best - 1e-4);
    }
}

#[test]
fn a_recipe_that_is_none_is_refused() {
    let recipe = Preprocess {
        center_crop: Some([0, 10]),
        ..Preprocess::torchvision(1)
    };
    let error = model(1).with_preprocess(recipe).unwrap_err().to_string();
    assert!(error.contains(" · center_crop · "), "{error}");
}

#[test]
fn a_centre_crop_leaves_the_rest_void() {
    let model = model(2)
        .with_preprocess(Preprocess {
            resize: Resize::None,
            center_crop: Some([20, 10]),
            ..Preprocess::torchvision(1)
        })
        .unwrap();
    let result = model.segment(&picture(1, 40, 30)).unwrap();
    let counts = result.labels().counts();
    assert_eq!(counts[255], 40 * 30 - 20 * 10);
    let shares: f64 = result.shares().iter().map(|s| s.share).sum();
    assert!(
        (shares - 1.0).abs() < 1e-9,
        "shares are of the pixels that have a class"
    );
}
