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
//!
//! With the feature `ndarray` pictures, label maps, tensors and scores have views as arrays; with `train` networks learn.

mod builder;
mod cancel;
mod compare;
mod custom;
mod data_sets;
mod describe;
mod encoder_weights;
mod error;
mod evaluate;
mod hub;
mod inputs;
mod job;
mod model;
mod model_options;
#[cfg(feature = "ndarray")]
mod nd;
pub mod npy;
mod onnx;
mod options;
mod part;
mod pipeline;
mod quantize;
pub mod recipes;
mod resolve;
mod scores;
mod segment;
mod segmentation;
mod tiles;
#[cfg(feature = "train")]
pub mod train;
mod windows;

pub use builder::ModelBuilder;
pub use cancel::Cancel;
pub use compare::{ClassDifference, Compared, Comparison, Difference, PictureDifference};
pub use data_sets::{Archive, DataSetError, PublishedData};
pub use describe::Description;
pub use encoder_weights::EncoderFile;
pub use error::{Error, Failure, InputError, ModelError, OutputError};
pub use evaluate::{
    Analysis, Bin, ClassScores, EvaluateError, EvaluateEvent, EvaluateOptions, Evaluation,
    EvaluationSettings, Learned, NamedScore, OfSize, Part, Shown, Tally, WantedPart,
};
pub use hub::{HubModel, SavedFolder, save_pretrained};
pub use inputs::{Input, Inputs};
pub use job::{
    ClassRecord, Event, Job, Milliseconds, ModelRecord, Outcome, PictureRecord, Report,
    SettingsRecord, ShareRecord, SheetsWritten, What, check_folder, prepare_folder,
};
pub use model::{Model, ModelOptions, published_file};
pub use onnx::{OnnxFile, OnnxOptions, export_onnx};
pub use options::{Progress, SegmentOptions};
pub use pipeline::{Ended, Pipeline, Segmented};
pub use quantize::{
    CalibrationData, LayerRecord, QuantizeError, QuantizeEvent, QuantizeOptions, QuantizeReport,
    Quantized, RangeBy, TrialRecord,
};
pub use resolve::{Names, Nearest, Recognised};
pub use scores::{Resolution, Scores};
pub use segment::PreparedPicture;
pub use segmentation::{ClassShare, Segmentation, Stages};
pub use tiles::Tiles;

// The rooms, so that every type that a signature here mentions can be named without another dependency.
pub use segmenta_data as data;
pub use segmenta_graph as graph;
pub use segmenta_hub as hub_files;
pub use segmenta_image as image;
pub use segmenta_metrics as metrics;
pub use segmenta_onnx::Dynamic;
#[cfg(feature = "train")]
pub use segmenta_report as report;
pub use segmenta_runtime as runtime;
pub use segmenta_weights as weights;
pub use segmenta_zoo as zoo;

// What is met most.
pub use segmenta_data::{
    Classes, ClassesDiffer, DataError, Dataset, Kind, MaskMeaning, MaskRule, MatchBy, Open,
    RuleOrigin, Split,
};
pub use segmenta_graph::{Graph, Parameter};
pub use segmenta_image::{
    ChannelOrder, LabelMap, Notice, Pad, Palette, Picture, PictureError, Pixels, Preprocess,
    Resize, VOID,
};
pub use segmenta_metrics::{Confusion, Protocol, Score};
pub use segmenta_runtime::{Engine, Isa, LowEngine, Precision, RuntimeError, Tensor, WeightMemory};
pub use segmenta_zoo::{Answer, PerPixel, PerQuery, ThresholdError, Values};
