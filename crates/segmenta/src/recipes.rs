//! The recipes that come along, by name: TOML, as a file of one's own would have it.

macro_rules! recipes {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../recipes/", $name, ".toml")))),*]
    };
}

/// Of training: name and text.
pub const TRAIN: &[(&str, &str)] = recipes!(
    "camvid-unet",
    "nuclei-unet",
    "person-unet",
    "pets-segnet",
    "pets-segnet-separable",
    "pets-vit",
    "torchvision-reference",
    "voc-deeplab",
    "voc-fcn",
    "voc-fcn8s",
    "voc-unet",
);

/// Of `predict`: options under the names of its flags.
pub const PREDICT: &[(&str, &str)] = recipes!("fcn-deeplab-voc", "torch-hub-fcn");

/// What the demo trains with.
pub const DEMO: &str = include_str!("../recipes/demo.toml");
