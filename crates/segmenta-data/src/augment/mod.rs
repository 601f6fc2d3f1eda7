//! Pictures and masks changed together, at random but the same on every run.
//!
//! An [`Augmentation`] is a list of [`Transform`]s as a configuration says it, applied from first to last. What each
//! draws belongs to (seed, epoch, item, place in the list): neither the number of workers nor where a run was taken
//! up again changes it. Masks are only ever moved by the nearest pixel; what comes in from outside a picture is
//! class-less in its mask ([`segmenta_image::VOID`]) unless `fill_mask` says otherwise.
//!
//! Geometry is Pillow's, which torchvision calls for PIL pictures; it is checked against it, as are colours and blurs.

mod blur;
mod clahe;
mod colour;
mod crop;
mod dropout;
mod flip;
mod jitter;
mod noise;
mod one_of;
mod resize;
mod setting;
mod tone;
mod turn;
mod warp;

use serde::{Deserialize, Serialize};

use crate::random::Random;
use crate::{DataError, Sample};

pub use blur::{Blur, GaussianBlur};
pub use clahe::Clahe;
pub use crop::{CenterCrop, RandomCrop};
pub use dropout::CoarseDropout;
pub use flip::{HorizontalFlip, VerticalFlip};
pub use jitter::ColorJitter;
pub use noise::GaussNoise;
pub use one_of::OneOf;
pub use resize::{RandomResize, RandomScale, Resize};
pub use setting::{Limit, Sides, SizeRule};
pub use tone::{Gamma, Grayscale, RandomBrightnessContrast};
pub use turn::{Perspective, Rotate, ShiftScaleRotate};

/// Transforms in the order in which they are applied; in TOML a list of tables with `name`:
///
/// ```toml
/// augment = [
///   { name = "random_resize", min_size = 260, max_size = 1040 },
///   { name = "random_crop", size = 480 },
///   { name = "horizontal_flip", p = 0.5 },
/// ]
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Augmentation {
    transforms: Vec<Transform>,
}

/// One change. Every name is that of the class in torchvision or albumentations whose definition and defaults it has;
/// where both have one, the documentation says which. Unknown settings are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
#[allow(missing_docs, reason = "each is documented where it is defined")]
pub enum Transform {
    Resize(Resize),
    RandomResize(RandomResize),
    RandomScale(RandomScale),
    RandomCrop(RandomCrop),
    CenterCrop(CenterCrop),
    HorizontalFlip(HorizontalFlip),
    VerticalFlip(VerticalFlip),
    Rotate(Rotate),
    ShiftScaleRotate(ShiftScaleRotate),
    Perspective(Perspective),
    ColorJitter(ColorJitter),
    #[serde(alias = "random_brightness_contrast")]
    BrightnessContrast(RandomBrightnessContrast),
    #[serde(alias = "random_gamma")]
    Gamma(Gamma),
    Grayscale(Grayscale),
    Blur(Blur),
    GaussianBlur(GaussianBlur),
    GaussNoise(GaussNoise),
    Clahe(Clahe),
    CoarseDropout(CoarseDropout),
    OneOf(OneOf),
}

/// What a transform is and does.
trait Step {
    /// How often it is applied, 0 to 1.
    fn p(&self) -> f64;

    /// Whether its settings make sense; `p` is looked at elsewhere.
    fn check(&self) -> Result<(), Wrong>;

    /// The sample changed. Settings have been checked.
    fn apply(&self, sample: Sample, random: &mut Random) -> Sample;

    /// The size of what it makes, where that is always the same.
    fn size(&self) -> Option<(usize, usize)> {
        None
    }

    /// Whether it can change a sample's size.
    fn resizes(&self) -> bool {
        false
    }

    /// Whether it draws nothing: its result may be kept.
    fn is_fixed(&self) -> bool {
        false
    }
}

/// A setting that cannot be.
struct Wrong {
    setting: &'static str,
    value: String,
    remedy: &'static str,
}

impl Wrong {
    fn new(setting: &'static str, value: impl std::fmt::Debug, remedy: &'static str) -> Self {
        let value = format!("{value:?}");
        Self {
            setting,
            value,
            remedy,
        }
    }
}

/// What chance belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// The run's seed.
    pub seed: u64,
    /// The epoch, counted from 0.
    pub epoch: u64,
    /// The item's index in its data set.
    pub item: usize,
}

impl Transform {
    fn step(&self) -> &dyn Step {
        match self {
            Self::Resize(step) => step,
            Self::RandomResize(step) => step,
            Self::RandomScale(step) => step,
            Self::RandomCrop(step) => step,
            Self::CenterCrop(step) => step,
            Self::HorizontalFlip(step) => step,
            Self::VerticalFlip(step) => step,
            Self::Rotate(step) => step,
            Self::ShiftScaleRotate(step) => step,
            Self::Perspective(step) => step,
            Self::ColorJitter(step) => step,
            Self::BrightnessContrast(step) => step,
            Self::Gamma(step) => step,
            Self::Grayscale(step) => step,
            Self::Blur(step) => step,
            Self::GaussianBlur(step) => step,
            Self::GaussNoise(step) => step,
            Self::Clahe(step) => step,
            Self::CoarseDropout(step) => step,
            Self::OneOf(step) => step,
        }
    }

    /// Its name in configurations.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Resize(_) => "resize",
            Self::RandomResize(_) => "random_resize",
            Self::RandomScale(_) => "random_scale",
            Self::RandomCrop(_) => "random_crop",
            Self::CenterCrop(_) => "center_crop",
            Self::HorizontalFlip(_) => "horizontal_flip",
            Self::VerticalFlip(_) => "vertical_flip",
            Self::Rotate(_) => "rotate",
            Self::ShiftScaleRotate(_) => "shift_scale_rotate",
            Self::Perspective(_) => "perspective",
            Self::ColorJitter(_) => "color_jitter",
            Self::BrightnessContrast(_) => "brightness_contrast",
            Self::Gamma(_) => "gamma",
            Self::Grayscale(_) => "grayscale",
            Self::Blur(_) => "blur",
            Self::GaussianBlur(_) => "gaussian_blur",
            Self::GaussNoise(_) => "gauss_noise",
            Self::Clahe(_) => "clahe",
            Self::CoarseDropout(_) => "coarse_dropout",
            Self::OneOf(_) => "one_of",
        }
    }

    fn check(&self) -> Result<(), DataError> {
        if let Self::OneOf(one_of) = self {
            one_of.transforms.iter().try_for_each(Self::check)?;
        }
        let p = self.step().p();
        let p = if (0.0..=1.0).contains(&p) {
            Ok(())
        } else {
            Err(Wrong::new("p", p, "give a probability from 0 to 1"))
        };
        p.and_then(|()| self.step().check()).map_err(|wrong| {
            let Wrong {
                setting,
                value,
                remedy,
            } = wrong;
            let what = format!("{setting} = {value}");
            DataError::setting(what, format!("augment, {}", self.name()), remedy)
        })
    }

    fn apply(&self, sample: Sample, random: &mut Random) -> Sample {
        let step = self.step();
        if random.unit_f64() < step.p() {
            step.apply(sample, random)
        } else {
            sample
        }
    }
}

impl Augmentation {
    /// A list of transforms.
    ///
    /// # Errors
    /// The first setting that cannot be.
    pub fn new(transforms: Vec<Transform>) -> Result<Self, DataError> {
        let list = Self { transforms };
        list.check()?;
        Ok(list)
    }

    /// Whether every setting can be; to be asked of a list that a configuration gave.
    ///
    /// # Errors
    /// The first setting that cannot be.
    pub fn check(&self) -> Result<(), DataError> {
        self.transforms.iter().try_for_each(Transform::check)
    }

    /// The transforms.
    pub fn transforms(&self) -> &[Transform] {
        &self.transforms
    }

    /// A sample changed by all transforms. The same arguments give the same bytes.
    pub fn apply(&self, sample: Sample, draw: Draw) -> Sample {
        self.apply_from(0, sample, draw)
    }

    /// As [`Augmentation::apply`] for a sample that the first transforms have been applied to.
    pub(crate) fn apply_from(&self, first: usize, sample: Sample, draw: Draw) -> Sample {
        let Draw { seed, epoch, item } = draw;
        let places = self.transforms.iter().enumerate().skip(first);
        places.fold(sample, |sample, (place, transform)| {
            let mut random = Random::at(&[seed, epoch, item as u64, place as u64]);
            transform.apply(sample, &mut random)
        })
    }

    /// How many of the first transforms draw nothing: what they make can be kept.
    pub(crate) fn fixed(&self) -> usize {
        let fixed = |transform: &&Transform| transform.step().is_fixed();
        self.transforms.iter().take_while(fixed).count()
    }

    /// The first transforms, as [`Augmentation::fixed`] counts them.
    pub(crate) fn apply_fixed(&self, sample: Sample) -> Sample {
        let first = &self.transforms[..self.fixed()];
        // They draw nothing, so any chance will do.
        first.iter().fold(sample, |sample, t| {
            t.step().apply(sample, &mut Random::new(0))
        })
    }

    /// The `(width, height)` of every sample that comes out, where the list fixes it: what batches need.
    pub fn size(&self) -> Option<(usize, usize)> {
        let last = self.transforms.iter().rev().find(|t| t.step().resizes())?;
        (last.step().p() >= 1.0)
            .then(|| last.step().size())
            .flatten()
    }
}

#[cfg(test)]
mod tests;
