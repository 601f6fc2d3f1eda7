//! What a photograph costs on its way in and out: `cargo bench -p segmenta-image`.

use divan::{Bencher, black_box};
use segmenta_image::{
    Filter, LabelMap, Palette, Picture, Preprocess, Resize, cutout, save_probability,
};

const SIZES: [(usize, usize); 2] = [(500, 375), (4000, 3000)];

fn main() {
    divan::main();
}

/// Soft shapes, edges and sensor noise: as hard to encode as a photograph.
fn photograph((width, height): (usize, usize)) -> Picture {
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 28)
    };
    let mut pixels = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            let (u, v) = (x as f64 / 97.0, y as f64 / 61.0);
            let shade = if (u.sin() + v.cos()) > 0.4 { 40.0 } else { 0.0 };
            pixels.extend([0.0, 0.7, 1.9].map(|phase| {
                let value = 110.0 + 60.0 * (u * 0.6 + phase).sin() * (v * 0.8).cos();
                (value + shade + noise()) as u8
            }));
        }
    }
    Picture::from_rgb(width, height, pixels).expect("the sides fit")
}

/// Blobs of 21 classes.
fn labels((width, height): (usize, usize)) -> LabelMap {
    let id = |i: usize| {
        let (x, y) = ((i % width) as f64 / 60.0, (i / width) as f64 / 45.0);
        (((x.sin() + y.cos() + 2.0) * 2.5) as u8 * 5) % 21
    };
    LabelMap::new(width, height, (0..width * height).map(id).collect()).expect("the sides fit")
}

#[divan::bench(args = SIZES)]
fn decode_jpeg(bencher: Bencher, size: (usize, usize)) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("photograph.jpg");
    photograph(size).save(&path).expect("written");
    let bytes = std::fs::read(path).expect("read");
    bencher.bench(|| Picture::decode(black_box(&bytes)));
}

#[divan::bench(args = SIZES)]
fn resize_bilinear_to_520(bencher: Bencher, size: (usize, usize)) {
    let picture = photograph(size);
    let (width, height) = Resize::ShortSide(520).size_of(size.0, size.1);
    bencher.bench(|| picture.resize(width, height, Filter::Bilinear));
}

#[divan::bench(args = SIZES)]
fn normalise(bencher: Bencher, size: (usize, usize)) {
    let picture = photograph(size);
    let recipe = Preprocess {
        resize: Resize::None,
        ..Preprocess::torchvision(0)
    };
    bencher.bench(|| recipe.apply(&picture));
}

#[divan::bench(args = SIZES)]
fn overlay(bencher: Bencher, size: (usize, usize)) {
    let (picture, map) = (photograph(size), labels(size));
    bencher.bench(|| map.overlay(&picture, &Palette::voc(), 0.5));
}

#[divan::bench(args = SIZES)]
fn encode_overlay(bencher: Bencher, size: (usize, usize)) {
    let overlay = labels(size).overlay(&photograph(size), &Palette::voc(), 0.5);
    let overlay = overlay.expect("one size");
    bencher.bench(|| overlay.to_png());
}

#[divan::bench(args = SIZES)]
fn encode_labels(bencher: Bencher, size: (usize, usize)) {
    let map = labels(size);
    bencher.bench(|| map.to_png(&Palette::voc()));
}

#[divan::bench(args = SIZES)]
fn encode_cutout(bencher: Bencher, size: (usize, usize)) {
    let (picture, map) = (photograph(size), labels(size));
    bencher.bench(|| cutout(&picture, &map, &|id| id == 5));
}

#[divan::bench(args = SIZES)]
fn write_probability(bencher: Bencher, size: (usize, usize)) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sure.png");
    let values: Vec<f32> = photograph(size)
        .pixels()
        .iter()
        .step_by(3)
        .map(|&v| f32::from(v) / 255.0)
        .collect();
    bencher.bench(|| save_probability(&path, size.0, size.1, &values));
}
