//! A model as an ONNX file.

use std::path::{Path, PathBuf};

use segmenta_image::ChannelOrder;
use segmenta_onnx::{Bytes, Dynamic, ExportOptions, export};
use segmenta_weights::Progress;
use segmenta_zoo::Answer;
use serde_json::json;

use crate::error::Error;
use crate::model::{ModelOptions, Weights, result_of};
use crate::resolve::{Resolved, resolve};

/// What the file is to be.
#[derive(Clone, Debug)]
pub struct OnnxOptions {
    /// Version of ONNX's operations, 17 to 21.
    pub opset: i64,
    /// Extents of the input that are left open.
    pub dynamic: Dynamic,
    /// Rows and columns of the input, where they are not left open.
    pub size: [usize; 2],
    /// Take pictures of bytes, N×H×W×3, and normalise them in the file.
    pub preprocessing: bool,
    /// Give labels of bytes, N×H×W at the input's size, instead of the result.
    pub labels: bool,
    /// Write weights to a file beside, as is always done above 2 GB.
    pub external_data: bool,
}

impl Default for OnnxOptions {
    /// Opset 18, all sizes.
    fn default() -> Self {
        Self {
            opset: 18,
            dynamic: Dynamic {
                batch: true,
                height: true,
                width: true,
            },
            size: [512; 2],
            preprocessing: false,
            labels: false,
            external_data: false,
        }
    }
}

/// A file that was written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OnnxFile {
    /// Where it is.
    pub path: PathBuf,
    /// The file of weights beside it, if there is one.
    pub data: Option<PathBuf>,
    /// What the file does not do of what the model says.
    pub notes: Vec<String>,
}

/// Writes the model that `options` name as an ONNX file, in single precision, with classes, colours and preprocessing
/// in its metadata. Results are [`ModelOptions::outputs`], the main one if there are none.
///
/// # Errors
/// A model that cannot be loaded, a network that cannot be written so (naming the node), labels of a result that is
/// no map, a file that cannot be written.
pub fn export_onnx(
    options: &ModelOptions,
    onnx: &OnnxOptions,
    path: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<OnnxFile, Error> {
    let weights = Weights::of(options, progress)?;
    let Resolved {
        mut description,
        graph,
        found,
    } = resolve(
        &weights.dict,
        weights.card.clone(),
        weights.row,
        &weights.source,
        &weights.options,
    )?;
    let result = result_of(&graph, options);
    description.set_answer(&graph, &result, weights.card.as_ref(), options.threshold)?;
    let preprocess = &description.preprocess;
    let labels = match &description.answer {
        Answer::PerPixel(answer) => onnx.labels.then(|| answer.threshold_value()),
        _ if onnx.labels => return Err(Error::NoLabels { result }),
        _ => None,
    };
    let card = description.card();
    let colours = 0..description.class_names().len();
    let colours: Vec<[u8; 3]> = colours
        .map(|id| description.palette.color(id as u8))
        .collect();
    let said = [
        ("classes", json!(description.class_names())),
        ("palette", json!(colours)),
        ("preprocessing", json!(card.preprocessing)),
        ("segmenta", json!(card)),
    ];
    let export_options = ExportOptions {
        opset: onnx.opset,
        dynamic: onnx.dynamic,
        size: onnx.size,
        results: options.outputs.clone(),
        bytes: onnx.preprocessing.then_some(Bytes {
            mean: preprocess.mean,
            std: preprocess.std,
            blue_first: preprocess.pixels.order == ChannelOrder::Bgr,
        }),
        labels,
        metadata: said
            .map(|(key, value)| (key.into(), value.to_string()))
            .into(),
    };
    let network = export(&graph, &export_options, |parameter| {
        found.weights.read_f32(&parameter.name).map_err(Error::from)
    })?;
    let mut notes = weights.notes.clone();
    if onnx.preprocessing {
        notes.push(
            "the file normalises pictures; whoever calls it gives them their size, as its metadata say".into(),
        );
    }
    if description.windows {
        notes.push("the model cuts pictures into windows: the file computes one window".into());
    }
    let data = network.save(path, onnx.external_data)?;
    Ok(OnnxFile {
        path: path.into(),
        data,
        notes,
    })
}
