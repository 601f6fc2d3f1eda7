//! What comes back: a segmentation in the form that was asked for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use segmenta::image::{Region, compress_run_lengths, mark_result, probability_png};
use segmenta::{Segmentation, Tensor};
use serde::Serialize;

use super::ask::{Ask, Output};
use crate::pool::Segmented;
use crate::problem::Problem;

/// A segmentation for programs.
#[derive(Debug, Serialize)]
pub(crate) struct Document {
    model: String,
    /// Pixels.
    width: usize,
    height: usize,
    /// The classes that occur, largest first.
    classes: Vec<Class>,
    mask: Mask,
    /// How sure the network is of each pixel, a grey PNG in base64: black 0 to white 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    probability: Option<String>,
    milliseconds: Milliseconds,
}

#[derive(Debug, Serialize)]
struct Class {
    id: u8,
    name: String,
    /// Red, green, blue.
    color: [u8; 3],
    pixels: u64,
    /// Of the pixels that have a class, 0 to 1.
    share: f64,
    /// Mean probability of the class at its pixels, 0 to 1.
    score: Option<f64>,
    /// x, y, width, height in pixels.
    r#box: [u32; 4],
    /// A region each: its outer ring, then its holes; corners of pixels, x and y.
    #[serde(skip_serializing_if = "Option::is_none")]
    polygons: Option<Vec<Vec<Vec<[u32; 2]>>>>,
    /// As COCO has it.
    rle: RunLengths,
}

#[derive(Debug, Serialize)]
struct RunLengths {
    /// Height, width.
    size: [usize; 2],
    counts: String,
}

#[derive(Debug, Serialize)]
struct Mask {
    /// A palette PNG of class ids in base64.
    png: String,
    /// Names of all ids; 255 is void.
    classes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Milliseconds {
    queue: f64,
    read: f64,
    network: f64,
    labels: f64,
}

/// The bytes, of the content type that the output has.
///
/// # Errors
/// What the library says of it.
pub(crate) fn make(segmented: &Segmented, ask: &Ask, model: &str) -> Result<Vec<u8>, Problem> {
    let Segmented {
        picture,
        segmentation,
        ..
    } = segmented;
    let labels = segmentation.labels();
    let failed = |error: segmenta::Error| Problem::of_picture(&error);
    let picture_failed = |error: segmenta::PictureError| Problem::of_picture(&error.into());
    Ok(match ask.output {
        Output::Mask => mask(segmentation),
        Output::Overlay => {
            let overlay = segmentation
                .overlay_with(picture, ask.alpha)
                .map_err(failed)?;
            mark_result(&overlay.to_png(), "overlay")
        }
        Output::Probability => {
            let probability = segmentation.probability().unwrap_or_default();
            probability_png(labels.width(), labels.height(), probability).map_err(picture_failed)?
        }
        Output::Cutout => segmentation.cutout(picture).map_err(failed)?,
        Output::Json => {
            let mut document = document(segmented, ask, model);
            if let Some(probability) = segmentation.probability().filter(|_| ask.probability) {
                let png = probability_png(labels.width(), labels.height(), probability);
                document.probability = Some(STANDARD.encode(png.map_err(picture_failed)?));
            }
            serde_json::to_vec(&document).map_err(|error| {
                let status = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
                Problem::of_text(status, &error.to_string())
            })?
        }
        Output::Npy => {
            let shape = [labels.height(), labels.width()];
            npy("|u1", &shape, labels.ids().iter().copied())
        }
        Output::Scores => {
            let nothing = || {
                Problem::bad(
                    "no probabilities",
                    "the network's result",
                    "ask for the mask",
                )
            };
            let scores: &Tensor = segmentation.probabilities().ok_or_else(nothing)?;
            let shape = [
                scores.shape.channels,
                scores.shape.height,
                scores.shape.width,
            ];
            let bytes = scores.data.iter().flat_map(|value| value.to_le_bytes());
            npy("<f4", &shape, bytes)
        }
    })
}

/// A palette PNG of the class ids, marked as a result.
fn mask(segmentation: &Segmentation) -> Vec<u8> {
    let png = segmentation.labels().to_png(segmentation.palette());
    mark_result(&png, "mask")
}

/// numpy.lib.format, version 1.
fn npy(kind: &str, shape: &[usize], bytes: impl Iterator<Item = u8>) -> Vec<u8> {
    let shape: Vec<String> = shape.iter().map(ToString::to_string).collect();
    let header = format!(
        "{{'descr': '{kind}', 'fortran_order': False, 'shape': ({}), }}",
        shape.join(", ")
    );
    // What follows begins at a multiple of 64 bytes, after a line's end.
    let before = b"\x93NUMPY\x01\x00".len() + 2;
    let padded = (before + header.len() + 1).next_multiple_of(64) - before;
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend_from_slice(&(padded as u16).to_le_bytes());
    file.extend_from_slice(format!("{header:<width$}\n", width = padded - 1).as_bytes());
    file.extend(bytes);
    file
}

fn document(segmented: &Segmented, ask: &Ask, model: &str) -> Document {
    let segmentation = &segmented.segmentation;
    let labels = segmentation.labels();
    let (width, height) = labels.size();
    let names = segmentation.class_names();
    let mut lengths = labels.run_lengths(names.len());
    let mut regions: Vec<Vec<Region>> = names.iter().map(|_| Vec::new()).collect();
    for region in labels.regions() {
        if let Some(of_class) = regions.get_mut(usize::from(region.id)) {
            of_class.push(region);
        }
    }
    let scores = mean_probabilities(segmentation);
    let classes = segmentation.shares().into_iter().map(|share| {
        let id = usize::from(share.id);
        let regions = regions.get_mut(id).map(std::mem::take).unwrap_or_default();
        Class {
            id: share.id,
            name: share.name,
            color: share.color,
            pixels: share.pixels,
            share: share.share,
            score: scores.get(id).copied().flatten(),
            r#box: around(&regions),
            polygons: ask.polygons.then(|| {
                let rings = |region: Region| {
                    let mut rings = vec![region.exterior];
                    rings.extend(region.holes);
                    rings
                };
                regions.into_iter().map(rings).collect()
            }),
            rle: RunLengths {
                size: [height, width],
                counts: compress_run_lengths(
                    &lengths.get_mut(id).map(std::mem::take).unwrap_or_default(),
                ),
            },
        }
    });
    let classes = classes.collect();
    let milliseconds = |time: std::time::Duration| time.as_secs_f64() * 1e3;
    Document {
        model: model.into(),
        width,
        height,
        classes,
        mask: Mask {
            png: STANDARD.encode(mask(segmentation)),
            classes: names.to_vec(),
        },
        probability: None,
        milliseconds: Milliseconds {
            queue: milliseconds(segmented.waited),
            read: milliseconds(segmented.read),
            network: segmentation.stages().network_ms,
            labels: segmentation.stages().labels_ms,
        },
    }
}

/// The rectangle around all of them.
fn around(regions: &[Region]) -> [u32; 4] {
    let bounds = regions.iter().map(Region::bounds);
    let corners = bounds.map(|[x, y, width, height]| [x, y, x + width, y + height]);
    let all = corners.reduce(|a, b| {
        [
            a[0].min(b[0]),
            a[1].min(b[1]),
            a[2].max(b[2]),
            a[3].max(b[3]),
        ]
    });
    let [left, top, right, bottom] = all.unwrap_or_default();
    [left, top, right - left, bottom - top]
}

/// Of each id, the mean of the probability at the pixels that have it; none where it has no pixel or none was asked for.
pub(crate) fn mean_probabilities(segmentation: &Segmentation) -> Vec<Option<f64>> {
    let mut sums = vec![(0.0, 0_u64); segmentation.class_names().len()];
    let probability = segmentation.probability().unwrap_or_default();
    for (&id, &probability) in segmentation.labels().ids().iter().zip(probability) {
        if let Some(sum) = sums.get_mut(usize::from(id)) {
            sum.0 += f64::from(probability);
            sum.1 += 1;
        }
    }
    let mean = |(sum, count): (f64, u64)| (count > 0).then(|| sum / count as f64);
    sums.into_iter().map(mean).collect()
}
