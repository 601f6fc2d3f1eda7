//! Against Pillow's and torchvision's own values (`conformance/README.md`).

use std::path::PathBuf;

use safetensors::SafeTensors;
use segmenta_image::{
    Filter, LabelMap, Palette, Picture, Preprocess, Resize, make_grid_normalised,
};

const SIZES: [(usize, usize); 4] = [(224, 224), (64, 48), (280, 180), (33, 77)];

/// The reference tensors, from the folder that `SEGMENTA_CONFORMANCE` names or the project's own.
struct Reference(Vec<u8>);

impl Reference {
    fn read() -> Self {
        let folder = std::env::var_os("SEGMENTA_CONFORMANCE").map_or_else(
            || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../conformance")),
            PathBuf::from,
        );
        Self(std::fs::read(folder.join("pieces/pictures.safetensors")).unwrap())
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        let tensors = SafeTensors::deserialize(&self.0).unwrap();
        tensors.tensor(name).unwrap().data().to_vec()
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        let bytes = self.bytes(name);
        let (values, _) = bytes.as_chunks::<4>();
        values.iter().map(|&v| f32::from_le_bytes(v)).collect()
    }

    fn picture(&self) -> Picture {
        Picture::from_rgb(140, 90, self.bytes("image")).unwrap()
    }

    fn mask(&self) -> LabelMap {
        LabelMap::new(140, 90, self.bytes("mask")).unwrap()
    }
}

#[test]
fn pillow_resizes() {
    let reference = Reference::read();
    let picture = reference.picture();
    for (w, h) in SIZES {
        for (filter, name) in [(Filter::Bilinear, "bilinear"), (Filter::Bicubic, "bicubic")] {
            let wanted = reference.bytes(&format!("{name}_{w}x{h}"));
            let got = picture.resize(w, h, filter);
            assert!(got.pixels() == wanted, "{name} {w}×{h}");
        }
        let wanted = reference.bytes(&format!("nearest_mask_{w}x{h}"));
        assert_eq!(
            reference.mask().resize_nearest(w, h).ids(),
            wanted,
            "nearest {w}×{h}"
        );
    }
}

fn assert_close(got: &[f32], wanted: &[f32]) {
    assert_eq!(got.len(), wanted.len());
    for (i, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        assert!((got - wanted).abs() <= 1e-6, "at {i}: {got} and {wanted}");
    }
}

#[test]
fn torchvision_classification_recipe() {
    let reference = Reference::read();
    let recipe = Preprocess {
        resize: Resize::ShortSide(64),
        center_crop: Some([56, 56]),
        ..Preprocess::torchvision(0)
    };
    let prepared = recipe.apply(&reference.picture());
    assert_close(
        &prepared.tensor,
        &reference.floats("resize64_crop56_normalised"),
    );
}

#[test]
fn torchvision_segmentation_preset() {
    let reference = Reference::read();
    let prepared = Preprocess::torchvision(520).apply(&reference.picture());
    assert_eq!((prepared.width, prepared.height), (808, 520));
    let rows = prepared.tensor.chunks_exact(808).step_by(8);
    let eighth: Vec<f32> = rows
        .flat_map(|row| row.iter().step_by(8))
        .copied()
        .collect();
    assert_close(&eighth, &reference.floats("preset_resize520_normalised"));
}

/// Interleaved pixels as torch's planes.
fn planar(picture: &Picture) -> Vec<u8> {
    let plane = |c| picture.pixels().iter().skip(c).step_by(3).copied();
    (0..3).flat_map(plane).collect()
}

#[test]
fn torchvision_overlay() {
    let reference = Reference::read();
    // The reference drew without colours of its own: torchvision's palette is (2²⁵ − 1, 2¹⁵ − 1, 2²¹ − 1)·i mod 255.
    let colour =
        |i: u64| [(1 << 25) - 1, (1 << 15) - 1, (1 << 21) - 1].map(|p: u64| (i * p % 255) as u8);
    let colours: Vec<[u8; 3]> = (0..21).map(colour).collect();
    let palette = Palette::from_colors(&colours);
    let overlay = reference
        .mask()
        .overlay(&reference.picture(), &palette, 0.6)
        .unwrap();
    assert_eq!(planar(&overlay), reference.bytes("overlay_alpha0.6"));
}

#[test]
fn torchvision_grid() {
    let unit = |i: u64| {
        // conformance/formula.py: splitmix64 over the FNV-1a of the name.
        let name = b"grid".iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, &b| {
            (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let mut z = name.wrapping_add(i).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / 16_777_216.0
    };
    let batch: Vec<f32> = (0..5 * 3 * 20 * 30)
        .map(|i| (unit(i) - 0.5) * 3.4641016)
        .collect();
    let tensors: Vec<&[f32]> = batch.chunks_exact(3 * 20 * 30).collect();
    let grid = make_grid_normalised(&tensors, 30, 20, 4, 2).unwrap();
    assert_eq!(grid.size(), (130, 46));
    assert_eq!(
        planar(&grid),
        Reference::read().bytes("grid_nrow4_normalised")
    );
}

#[test]
fn voc_palette() {
    let wanted = Reference::read().bytes("voc_palette");
    assert_eq!(Palette::voc().colors().as_flattened(), wanted);
}
