//! A network of one's own, from the graph's builder: convolutions that halve the picture twice, and one that gives each
//! pixel a class. Its weights are drawn, not learned, so what it says means nothing yet.
//!
//! `cargo run --release -p segmenta --example custom_network`

#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::error::Error;
use std::path::Path;

use segmenta::graph::{Builder, Conv2d, Filter, Graph, GraphError, Scope, Shape};
use segmenta::{Description, Model, ModelOptions, Picture};

const CLASSES: [&str; 3] = ["ground", "fur", "eyes"];

/// Names are those of a state dict, so that a file from PyTorch fits: `Model::load_graph` takes one.
fn network() -> Result<Graph, GraphError> {
    let root = Scope::root();
    let (mut g, picture) = Builder::new(3);
    let mut x = picture;
    for (stage, channels) in [16, 32].into_iter().enumerate() {
        let name = &root / format!("stage{stage}");
        let halving = Conv2d::square(3, channels).stride(2);
        x = g.conv_bn_relu(x, &(&name / "conv"), &(&name / "bn"), halving);
    }
    let classes = Conv2d::pointwise(CLASSES.len()).with_bias();
    let logits = g.conv(x, &(&root / "head"), classes);
    let logits = g.resize_like(logits, picture, Filter::BILINEAR, &root);
    g.output("out", logits);
    g.finish()
}

fn main() -> Result<(), Box<dyn Error>> {
    let graph = network()?;
    let summary = graph.summary(Shape::new(1, 3, 256, 256), &[])?;
    println!(
        "{} parameters, {} multiply-adds for a picture of 256×256",
        summary.parameters, summary.multiply_adds
    );

    let description = Description::of_classes(CLASSES);
    let model = Model::from_graph(graph, description, &ModelOptions::new(), |parameter| {
        parameter.initial(1)
    })?;
    let photograph = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/chelsea.jpg");
    let found = model.segment(&Picture::open(photograph)?)?;
    for class in found.shares() {
        println!("{:5.1} %  {}", class.share * 100.0, class.name);
    }
    Ok(())
}
