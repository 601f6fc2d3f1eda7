//! A real network in the form of a repository, on real photographs.

use std::path::Path;

use segmenta::{LabelMap, Model, ModelOptions, Picture, Preprocess, Resize};

use crate::shared;

/// Share of pixels that must be equal, for each picture.
const EQUAL: f64 = 0.999;

/// The labels that the library gives are of the middle that its processor cuts.
fn compare(model: Model, folder: &Path, photographs: &Path) {
    let recipe = model.description().preprocess.clone();
    let [width, height] = recipe.center_crop.unwrap();
    let plain = Preprocess {
        resize: Resize::None,
        center_crop: None,
        ..recipe.clone()
    };
    let model = model.with_preprocess(plain).unwrap();
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let reference = entry.unwrap().path();
        if reference.extension().is_none_or(|end| end != "png") {
            continue;
        }
        let stem = reference.file_stem().unwrap().to_str().unwrap();
        let photograph = Picture::open(photographs.join(format!("{stem}.jpg"))).unwrap();
        let (w, h) = recipe
            .resize
            .size_of(photograph.width(), photograph.height());
        let resized = photograph.resize(w, h, recipe.pixels.filter);
        let (left, top) = ((w - width) / 2, (h - height) / 2);
        let rows = resized.pixels().chunks_exact(3 * w).skip(top).take(height);
        let middle: Vec<u8> = rows
            .flat_map(|row| &row[3 * left..3 * (left + width)])
            .copied()
            .collect();
        let middle = Picture::from_rgb(width, height, middle).unwrap();
        let got = model.segment(&middle).unwrap();
        let expected = LabelMap::open(&reference).unwrap();
        assert_eq!(got.labels().size(), expected.size());
        let pairs = got.labels().ids().iter().zip(expected.ids());
        let equal = pairs.filter(|(a, b)| a == b).count() as f64 / expected.ids().len() as f64;
        println!("{stem}: {equal:.5}");
        assert!(equal >= EQUAL, "{stem}: {equal}");
        count += 1;
    }
    assert!(count >= 7, "{count} photographs");
}

#[test]
fn photographs_are_labelled_as_transformers_labels_them() {
    let Some(folder) = shared("weights/huggingface-deeplabv3-mobilenet-v2") else {
        return;
    };
    let Some(photographs) = shared("data/voc/JPEGImages") else {
        return;
    };
    let options = ModelOptions::new().architecture(folder.to_str().unwrap());
    let model = Model::open(&options, &mut |_| {}).unwrap();
    assert_eq!(model.description().classes[15], "person");
    compare(model, &folder, &photographs);
}
