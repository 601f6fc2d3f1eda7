//! All of it: there is no device without a feature for one.

mod attention;
mod engine;
mod error;
mod layers;
mod losses;
mod norms;
mod numbers;
mod place;
mod positions;
mod rows;
mod rules;
mod sides;
mod tape;
mod windows;

pub use engine::{Engine, Setup, Timing};
pub use error::{DeviceError, OpenError, Pass};
pub use losses::value_and_gradient;
pub use numbers::Numbers;
pub use place::{Kind, Place};
