//! Image processors of transformers, Pillow's back end, on pictures: all of the conformance folder.

#[expect(dead_code, reason = "a picture is made of less than a network")]
#[path = "../../../../conformance/formula.rs"]
mod formula;

use std::path::{Path, PathBuf};

use segmenta_graph::Shape;
use segmenta_hub::Processor;
use segmenta_image::Picture;
use segmenta_runtime::Tensor;
use serde_json::Value;

use crate::describe::preprocess_of;
use crate::windows::windows_of;

/// A picture that every test can make, or a photograph that is not part of the project.
fn picture(name: &str, [height, width]: [usize; 2], photographs: &Path) -> Option<Picture> {
    if !name.starts_with("formula") {
        return Picture::open(photographs.join(format!("{name}.jpg"))).ok();
    }
    let (rows, columns) = (height + 2, width + 2);
    let noise = formula::unit(&format!("picture/{name}"), rows * columns * 3);
    let noise: Vec<usize> = noise.iter().map(|u| (u * 256.0) as usize).collect();
    let mut pixels = Vec::with_capacity(height * width * 3);
    for y in 0..height {
        for x in 0..width {
            for channel in 0..3 {
                let at = |i: usize| ((y + i / 3) * columns + x + i % 3) * 3 + channel;
                let sum: usize = (0..9).map(|i| noise[at(i)]).sum();
                pixels.push((sum / 9) as u8);
            }
        }
    }
    Some(Picture::from_rgb(width, height, pixels).unwrap())
}

#[test]
fn pictures_are_prepared_as_pillows_back_end_prepares_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = std::fs::read_to_string(root.join("conformance/huggingface/processors.json"));
    let all: Value = serde_json::from_str(&text.unwrap()).unwrap();
    let photographs: PathBuf = root.join("../shared/data/voc/JPEGImages");
    let (mut processors, mut compared) = (0, 0);
    for (family, reference) in all["families"].as_object().unwrap() {
        let config = reference["preprocessor_config"].to_string();
        let processor = Processor::of(&config).unwrap();
        processors += 1;
        let recipe = preprocess_of(&processor.preprocessing).unwrap();
        for (name, expected) in reference["pil"].as_object().unwrap() {
            let size = serde_json::from_value(all["pictures"][name].clone()).unwrap();
            let Some(picture) = picture(name, size, &photographs) else {
                continue;
            };
            let prepared = recipe.apply(&picture);
            let size = Shape::new(1, 3, prepared.height, prepared.width);
            let mut tensor = prepared.tensor;
            let mut shape = [1, 3, size.height, size.width];
            if processor.preprocessing.windows {
                let batch = Tensor {
                    shape: size,
                    data: tensor,
                };
                let windows = windows_of(&batch);
                let side = windows[0].shape.height;
                shape = [windows.len(), 3, side, side];
                tensor = windows.into_iter().flat_map(|window| window.data).collect();
            }
            let case = format!("{family} of {name}");
            assert_eq!(serde_json::json!(shape), expected["shape"], "{case}");
            let probes: Vec<f32> = serde_json::from_value(expected["probes"].clone()).unwrap();
            let positions = formula::unit("probe/positions", probes.len());
            // One step of 255, which the conformance folder allows for, in two probes of two hundred.
            let step = recipe.std.iter().map(|std| 1.0 / (255.0 * std));
            let step = step.fold(0.0, f32::max) * 1.01;
            let mut unequal = 0;
            for (u, probe) in positions.iter().zip(&probes) {
                let at = (f64::from(*u) * tensor.len() as f64) as usize;
                let difference = (tensor[at] - probe).abs();
                assert!(difference <= step, "{case}: {difference}");
                // The probes have six digits.
                unequal += usize::from(difference > 1e-5 * probe.abs().max(1.0));
            }
            assert!(unequal <= 2, "{case}: {unequal} of {}", probes.len());
            for channel in 0..3 {
                let planes = tensor.chunks_exact(shape[2] * shape[3]);
                let planes: Vec<&[f32]> = planes.skip(channel).step_by(3).collect();
                let values = planes.concat();
                let sum: f64 = values.iter().map(|v| f64::from(*v)).sum();
                let mean = sum / values.len() as f64;
                let difference = mean - expected["mean"][channel].as_f64().unwrap();
                assert!(
                    difference.abs() <= 1e-5,
                    "{case}: mean of {channel} by {difference}"
                );
            }
            compared += 1;
        }
    }
    assert_eq!(processors, 13);
    assert!(compared >= 2 * processors);
}
