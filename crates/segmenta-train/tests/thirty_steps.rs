//! Thirty steps from the same weights on the same batches as PyTorch (`tools/thirty_steps.py`): the loss of
//! each agrees. With `SEGMENTA_CURVE=FILE` the losses are written there, to be drawn.

#[path = "../../../conformance/formula.rs"]
#[expect(dead_code, reason = "pictures are made another way here")]
mod formula;

use std::path::Path;

use segmenta_graph::Shape;
use segmenta_train::engine::{Engine, EngineOptions, Parameters};
use segmenta_train::loss::{CrossEntropy, Loss, LossSpec, Target};
use segmenta_train::optim::{Adam, Algorithm, Clip, Optimizer, Parts};
use segmenta_zoo::{Options, find, find_encoder};
use serde_json::{Value, json};

const CLASSES: usize = 4;
const SHAPE: [usize; 4] = [4, 3, 64, 96];
const TILE: usize = 16;

/// Pictures and labels of one step, as the script makes them.
fn batch(step: usize) -> (Vec<f32>, Vec<u8>) {
    let [batch, channels, height, width] = SHAPE;
    let (rows, columns) = (height / TILE, width / TILE);
    let tiles = formula::unit(&format!("thirty/tiles/{step}"), batch * rows * columns);
    let label = |image: usize, y: usize, x: usize| {
        let tile = tiles[(image * rows + y / TILE) * columns + x / TILE];
        (tile * CLASSES as f32) as u8
    };
    let of_pixel = |i: usize| label(i / (height * width), i / width % height, i % width);
    let labels: Vec<u8> = (0..batch * height * width).map(of_pixel).collect();
    let noise = formula::unit(&format!("thirty/noise/{step}"), SHAPE.iter().product());
    let value = |(i, noise): (usize, &f32)| {
        let (image, channel) = (
            i / (channels * height * width),
            i / (height * width) % channels,
        );
        let pixel = image * height * width + i % (height * width);
        let colour = f32::from(u8::from(usize::from(labels[pixel]) == channel));
        colour + (noise - 0.5) * 2.0
    };
    (noise.iter().enumerate().map(value).collect(), labels)
}

#[test]
fn losses_follow_pytorch() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance");
    let reference = std::fs::read_to_string(folder.join("thirty_steps.json")).unwrap();
    let reference: Value = serde_json::from_str(&reference).unwrap();
    let expected: Vec<f64> = serde_json::from_value(reference["losses"].clone()).unwrap();

    let options = Options {
        encoder: Some(find_encoder("resnet18").unwrap()),
        ..Options::new(CLASSES)
    };
    let graph = find("unet").unwrap().build(&options).unwrap();
    let parameters = Parameters::from_values(&graph, |parameter| {
        formula::weight(&parameter.name, &parameter.shape, false)
    });
    let learned = graph.parameters().iter().filter(|p| p.is_trainable());
    let learned = learned.map(|p| (p.name.as_str(), &p.shape[..]));
    let adam = Algorithm::Adam(Adam {
        lr: reference["lr"].as_f64().unwrap(),
        ..Adam::default()
    });
    let mut optimizer = Optimizer::new(adam, Clip::default(), &Parts::default(), learned).unwrap();
    let mut engine = Engine::new(graph.clone(), parameters, EngineOptions::default()).unwrap();
    let loss = LossSpec::from(Loss::CrossEntropy(CrossEntropy::default()));

    let mut losses = Vec::new();
    for step in 0..expected.len() {
        let (pictures, labels) = batch(step);
        let [n, _, h, w] = SHAPE;
        let target = Target::labels(labels, [n, h, w], CLASSES, None).unwrap();
        let logits = engine.forward(pictures, Shape::from(SHAPE)).unwrap();
        let (value, gradient) = engine.loss(&loss, &logits[0], &target, 1.0).unwrap();
        let gradients = engine.backward(vec![gradient]).unwrap();
        let lr = optimizer.algorithm().lr();
        engine
            .update(&mut optimizer, lr, 1.0, false, gradients)
            .unwrap();
        losses.push(f64::from(value));
    }
    if let Some(path) = std::env::var_os("SEGMENTA_CURVE") {
        std::fs::write(path, json!({ "losses": losses }).to_string()).unwrap();
    }
    for (step, (ours, theirs)) in losses.iter().zip(&expected).enumerate() {
        let apart = (ours - theirs).abs() / theirs;
        println!(
            "step {step}: {ours:.6}, PyTorch {theirs:.6}, apart {:.3} %",
            apart * 100.0
        );
        assert!(apart < 0.01, "step {step}: {ours}, PyTorch {theirs}");
    }
    assert!(losses[losses.len() - 1] < 0.5 * losses[0], "it learned");
}
