//! Semantic segmentation in two lines: a network gives every pixel of a picture a class.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let model = segmenta::Model::load("deeplabv3_mobilenet_v2", "voc.safetensors")?;
//! let picture = segmenta::Picture::open("photo.jpg")?;
//! let labels = model.segment(&picture)?;
//! labels.overlay(&picture).save("photo.overlay.png")?;
//! labels.save("photo.mask.png")?;
//! # Ok(())
//! # }
//! ```
//!
//! *In*: the name of an architecture and a file of weights as PyTorch writes it, or a model file
//! that holds its own description; pictures of any size. *Out*: [`Segmentation`]s. This crate joins
//! the rooms of the workspace and adds what needs several of them: choosing and loading a model,
//! test-time augmentation, tiles for pictures of any size.

mod builder;
mod describe;
mod error;
mod evaluate;
mod model;
mod options;
mod part;
pub mod recipes;
mod resolve;
mod scores;
mod segment;
mod segmentation;
mod tiles;
#[cfg(feature = "train")]
pub mod train;

pub use builder::ModelBuilder;
pub use describe::Description;
pub use error::Error;
pub use evaluate::{
    ClassScores, EvaluateError, EvaluateEvent, EvaluateOptions, Evaluation, NamedScore,
};
pub use model::{Model, ModelOptions, published_file};
pub use options::{Progress, SegmentOptions};
pub use resolve::{Names, Nearest, Recognised};
pub use scores::{Resolution, Scores};
pub use segment::PreparedPicture;
pub use segmenta_data::{
    Classes, ClassesDiffer, DataError, Dataset, Kind, MaskMeaning, MaskRule, MatchBy, Open,
    RuleOrigin, Split,
};
pub use segmenta_image::{LabelMap, Palette, Picture, Preprocess, Resize};
pub use segmenta_metrics::{Confusion, Protocol, Score};
pub use segmenta_runtime::{Tensor, WeightMemory};
pub use segmenta_zoo::{Answer, PerPixel, ThresholdError, Values};
pub use segmentation::{ClassShare, Segmentation, Stages};
pub use tiles::Tiles;
