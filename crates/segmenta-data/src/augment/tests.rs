//! What holds for every transform, and the references of `tools/augment_references.py`.

use std::path::Path;

use proptest::prelude::*;
use safetensors::SafeTensors;
use segmenta_image::{LabelMap, Picture, VOID};

use super::*;

/// A picture with slopes and edges, and blocks of ids as its mask: the script has the same formula.
pub(super) fn gradient(width: usize, height: usize) -> Sample {
    let place = |i: usize| (i % width, i / width);
    let pixel = |i: usize| {
        let (x, y) = place(i);
        let block = if (x / 8 + y / 6) % 2 == 0 { 40 } else { 0 };
        [
            (x * 4) % 256,
            (y * 5 + block) % 256,
            (x * y + 3 * block) % 256,
        ]
        .map(|v| v as u8)
    };
    let id = |i: usize| {
        let (x, y) = place(i);
        ((x / 7 + y / 5) % 5) as u8
    };
    let count = width * height;
    let pixels: Vec<[u8; 3]> = (0..count).map(pixel).collect();
    let picture = Picture::from_rgb(width, height, pixels.into_flattened()).unwrap();
    Sample::pair(
        picture,
        LabelMap::new(width, height, (0..count).map(id).collect()).unwrap(),
    )
}

/// Bytes of the reference.
pub(super) struct Reference {
    name: String,
    bytes: Vec<u8>,
}

pub(super) fn reference(name: &str) -> Reference {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = path.join("../../conformance/pieces/augment.safetensors");
    let file = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let bytes = tensors.tensor(name).unwrap().data().to_vec();
    Reference {
        name: name.into(),
        bytes,
    }
}

impl Reference {
    /// At most `off` apart anywhere, and equal in this share at least.
    #[track_caller]
    pub(super) fn assert_close(&self, got: &[u8], off: u8, equal: f64) {
        assert_eq!(got.len(), self.bytes.len(), "{}", self.name);
        let pairs = || got.iter().zip(&self.bytes);
        let same = pairs().filter(|(a, b)| a == b).count() as f64 / got.len() as f64;
        let most = pairs().map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(
            most <= off && same >= equal,
            "{}: {most} off, {same:.4} equal",
            self.name
        );
    }

    pub(super) fn mean_difference(&self, got: &[u8]) -> f64 {
        assert_eq!(got.len(), self.bytes.len(), "{}", self.name);
        let sum: f64 = got
            .iter()
            .zip(&self.bytes)
            .map(|(a, b)| f64::from(a.abs_diff(*b)))
            .sum();
        sum / got.len() as f64
    }
}

/// Every transform that moves pixels, none that colours them, always applied.
const MOVES: &str = r#"
augment = [
  { name = "random_scale", scale_limit = 0.4, p = 1 },
  { name = "shift_scale_rotate", p = 1, fill = [200, 200, 200] },
  { name = "rotate", limit = 30, p = 1, fill = [200, 200, 200] },
  { name = "perspective", p = 1, fill = [200, 200, 200] },
  { name = "horizontal_flip" },
  { name = "vertical_flip" },
  { name = "random_crop", size = "40x56", fill = [200, 200, 200] },
]
"#;

/// All others.
const COLOURS: &str = r#"
augment = [
  { name = "color_jitter", p = 1 },
  { name = "brightness_contrast", p = 1 },
  { name = "gamma", p = 1 },
  { name = "blur", p = 1 },
  { name = "gaussian_blur", p = 1 },
  { name = "gauss_noise", p = 1 },
  { name = "clahe", p = 1 },
  { name = "coarse_dropout", p = 1 },
  { name = "one_of", p = 1, transforms = [{ name = "grayscale" }, { name = "gauss_noise", per_channel = false }] },
]
"#;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipe {
    augment: Augmentation,
}

fn list(text: &str) -> Augmentation {
    let recipe: Recipe = toml::from_str(text).unwrap();
    recipe.augment.check().unwrap();
    recipe.augment
}

fn draw(seed: u64) -> Draw {
    Draw {
        seed,
        epoch: 3,
        item: 17,
    }
}

/// A picture whose every pixel says its id: 10 times it, 200 where there is none.
fn told(labels: &LabelMap) -> Vec<u8> {
    let value = |&id: &u8| if id == VOID { 200 } else { id * 10 };
    labels.ids().iter().flat_map(|id| [value(id); 3]).collect()
}

proptest! {
    #![proptest_config(segmenta_properties::cases(64))]

    #[test]
    fn ids_are_never_invented(width in 1usize..70, height in 1usize..70, seed: u64) {
        let sample = list(MOVES).apply(gradient(width, height), draw(seed));
        prop_assert_eq!(sample.size(), (40, 56));
        prop_assert!(sample.labels().ids().iter().all(|&id| id < 5 || id == VOID));
    }

    /// Each alone: where the mask says one id all around, the picture says the same. Near edges a bilinear pixel lies
    /// between two ids.
    #[test]
    fn picture_and_mask_stay_aligned(width in 40usize..80, height in 40usize..80, seed: u64, which in 0usize..7) {
        let transform = list(MOVES).transforms()[which].clone();
        // Blocks large enough that something of them is left inside.
        let block = |i: usize| ((i % width / 20 + i / width / 17) % 5) as u8;
        let labels = LabelMap::new(width, height, (0..width * height).map(block).collect()).unwrap();
        let picture = Picture::from_rgb(width, height, told(&labels)).unwrap();
        let alone = Augmentation::new(vec![transform.clone()]).unwrap();
        let moved = alone.apply(Sample::pair(picture, labels), draw(seed));
        let ((w, h), ids) = (moved.size(), moved.labels().ids());
        let wanted = told(moved.labels());
        let (mut inner, mut flat) = (0, 0);
        for (x, y) in (2..h.saturating_sub(2)).flat_map(|y| (2..w.saturating_sub(2)).map(move |x| (x, y))) {
            let i = y * w + x;
            inner += 1;
            if (y - 2..=y + 2).all(|y| (x - 2..=x + 2).all(|x| ids[y * w + x] == ids[i])) {
                flat += 1;
                let off = wanted[3 * i].abs_diff(moved.picture().pixels()[3 * i]);
                prop_assert!(off <= 1, "{} ({}, {}): {} off", transform.name(), x, y, off);
            }
        }
        prop_assert!(inner > 0 && flat > 0, "nothing was compared");
    }

    #[test]
    fn flips_and_crops_move_both_exactly(width in 1usize..40, height in 1usize..40, seed: u64) {
        let exact = r#"augment = [
            { name = "vertical_flip" }, { name = "random_crop", size = "20x13", fill = [200, 200, 200] },
            { name = "horizontal_flip" }, { name = "center_crop", size = "25x10", fill = [200, 200, 200] }]"#;
        let labels = gradient(width, height).into_parts().1;
        let picture = Picture::from_rgb(width, height, told(&labels)).unwrap();
        let moved = list(exact).apply(Sample::pair(picture, labels), draw(seed));
        prop_assert_eq!(moved.picture().pixels(), told(moved.labels()));
    }

    #[test]
    fn colours_leave_the_mask_alone(width in 1usize..40, height in 1usize..40, seed: u64) {
        let sample = gradient(width, height);
        let changed = list(COLOURS).apply(sample.clone(), draw(seed));
        prop_assert_eq!(changed.labels(), sample.labels());
    }
}

#[test]
fn the_same_draw_gives_the_same_bytes_and_another_does_not() {
    for text in [MOVES, COLOURS] {
        let list = list(text);
        let of = |draw| list.apply(gradient(61, 47), draw).into_parts();
        assert_eq!(of(draw(1)), of(draw(1)));
        for other in [
            draw(2),
            Draw {
                epoch: 4,
                ..draw(1)
            },
            Draw {
                item: 18,
                ..draw(1)
            },
        ] {
            assert_ne!(of(draw(1)).0, of(other).0, "{other:?}");
        }
    }
}

#[test]
fn a_list_is_written_as_it_is_read() {
    for text in [MOVES, COLOURS] {
        let recipe = list(text);
        let json = serde_json::to_string(&recipe).unwrap();
        assert_eq!(serde_json::from_str::<Augmentation>(&json).unwrap(), recipe);
    }
    let sizes =
        r#"augment = [{ name = "resize", size = 256 }, { name = "resize", size = "320x240" }]"#;
    let json = serde_json::to_string(&list(sizes)).unwrap();
    assert_eq!(
        json,
        r#"[{"name":"resize","size":256},{"name":"resize","size":"320x240"}]"#
    );
}

#[test]
fn what_is_kept_is_what_draws_nothing() {
    let fixed = |text: &str| list(text).fixed();
    assert_eq!(
        fixed(r#"augment = [{ name = "resize", size = 9 }, { name = "horizontal_flip" }]"#),
        1
    );
    assert_eq!(
        fixed(r#"augment = [{ name = "horizontal_flip" }, { name = "resize", size = 9 }]"#),
        0
    );
    let text =
        r#"augment = [{ name = "resize", size = "20x30" }, { name = "color_jitter", p = 1 }]"#;
    let list = list(text);
    let half = list.apply_fixed(gradient(50, 40));
    assert_eq!(
        list.apply_from(1, half, draw(4)),
        list.apply(gradient(50, 40), draw(4))
    );
    assert_eq!(list.size(), Some((20, 30)));
}

#[test]
fn wrong_settings_are_named() {
    let read = |text: &str| -> String {
        match toml::from_str::<Recipe>(&format!("augment = [{{ {text} }}]")) {
            Err(error) => error.to_string(),
            Ok(recipe) => recipe.augment.check().unwrap_err().to_string(),
        }
    };
    for (text, said) in [
        ("name = 'rotat'", "unknown variant `rotat`"),
        ("name = 'rotate', limits = 3", "unknown field `limits`"),
        (
            "name = 'rotate', limit = 1e9",
            "augment, rotate · give degrees",
        ),
        ("name = 'rotate', p = 1.5", "p = 1.5"),
        ("name = 'resize', size = '0x5'", "none"),
        (
            "name = 'random_crop', size = 0",
            "a size of 0×0 has no pixels",
        ),
        (
            "name = 'random_crop', size = 9000",
            "9000×9000 is too large",
        ),
        (
            "name = 'resize', size = '1000000x1'",
            "1000000×1 is too large",
        ),
        (
            "name = 'resize', size = 1000000",
            "a side of 1000000 is too long",
        ),
        (
            "name = 'random_resize', min_size = 5, max_size = 5",
            "min_size",
        ),
        (
            "name = 'random_resize', min_size = 5, max_size = 1000000000",
            "min_size",
        ),
        ("name = 'random_scale', scale_limit = 9.5", "scale_limit"),
        ("name = 'random_scale', scale_limit = 1e9", "scale_limit"),
        (
            "name = 'random_scale', scale_limit = [-1.0, 0.1]",
            "at most 9",
        ),
        (
            "name = 'gaussian_blur', kernel_size = 4",
            "give an odd side",
        ),
        ("name = 'color_jitter', hue = 0.6", "hue = [-0.6, 0.6]"),
        ("name = 'color_jitter', brightness = -0.2", "brightness"),
        (
            "name = 'clahe', clip_limit = [4.0, 1.0]",
            "clip_limit = [4.0, 1.0]",
        ),
        ("name = 'one_of', transforms = []", "transforms"),
        (
            "name = 'one_of', transforms = [{ name = 'rotate', p = -1 }, { name = 'rotate' }]",
            "p = -1",
        ),
        (
            "name = 'coarse_dropout', num_holes_range = [2, 1]",
            "num_holes_range",
        ),
    ] {
        let message = read(text);
        assert!(message.contains(said), "{text}: {message}");
    }
}

/// Each transform of a choice comes up as often as its `p` says.
#[test]
fn a_choice_follows_its_weights() {
    let text = r#"augment = [{ name = "one_of", p = 1, transforms = [
        { name = "center_crop", size = 1 }, { name = "center_crop", size = 2 },
        { name = "grayscale", p = 0.5 }] }]"#;
    let list = list(text);
    let mut widths = [0; 10];
    for seed in 0..500 {
        widths[list.apply(gradient(9, 9), draw(seed)).size().0] += 1;
    }
    assert!(
        (160..240).contains(&widths[1]) && (160..240).contains(&widths[2]),
        "{widths:?}"
    );
    assert_eq!(widths[1] + widths[2] + widths[9], 500);
}
