//! Every network of the zoo has a file, of one size and of all, whose values are made before they are read.

use std::collections::HashSet;

use segmenta_graph::Graph;
use segmenta_onnx::{Dynamic, ExportError, ExportOptions, Network, export};
use segmenta_zoo::{Options, architectures};

fn options(open: bool, size: [usize; 2]) -> ExportOptions {
    ExportOptions {
        opset: 18,
        dynamic: Dynamic {
            batch: true,
            height: open,
            width: open,
        },
        size,
        results: Vec::new(),
        bytes: None,
        labels: None,
        metadata: Vec::new(),
    }
}

fn written(graph: &Graph, options: &ExportOptions) -> Result<Network, ExportError> {
    // One number stands for all: structure does not depend on them.
    export(graph, options, |_| Ok(vec![0.5]))
}

/// No name is made twice, and none is read before it is made.
fn assert_in_order(network: &Network, name: &str) {
    let graph = network.0.graph.as_ref().unwrap();
    let mut made: HashSet<&str> = HashSet::new();
    let inputs = graph.input.iter().map(|input| input.name.as_str());
    let tensors = graph.initializer.iter().map(|tensor| tensor.name.as_str());
    for value in inputs.chain(tensors) {
        assert!(made.insert(value), "{name}: `{value}` is there twice");
    }
    for node in &graph.node {
        let may_lack = node.op_type == "Resize";
        for input in node.input.iter().filter(|i| !(may_lack && i.is_empty())) {
            let reader = &node.name;
            assert!(
                made.contains(input.as_str()),
                "{name}: {reader} reads `{input}`, which nothing made"
            );
        }
        for output in &node.output {
            assert!(made.insert(output), "{name}: `{output}` is made twice");
        }
    }
    for output in &graph.output {
        assert!(
            made.contains(output.name.as_str()),
            "{name}: {}",
            output.name
        );
    }
}

#[test]
fn every_network_is_written_for_one_size_and_for_all() {
    for architecture in architectures() {
        let name = architecture.name;
        let graph = architecture.build(&Options::new(3)).unwrap();
        // A plain transformer without a free size takes one only.
        for side in [224, 384, 512] {
            let size = [side; 2];
            if graph
                .shapes([1, graph.in_channels(), side, side].into())
                .is_err()
            {
                continue;
            }
            for open in [false, true] {
                let network = written(&graph, &options(open, size)).unwrap();
                assert_in_order(&network, name);
                let all = network.0.graph.unwrap();
                let shape = all.output[0].r#type.clone().unwrap().tensor_type.unwrap();
                let dims = shape.shape.unwrap().dim;
                assert_eq!(dims[0].dim_param.as_deref(), Some("batch"), "{name}");
                let classes = graph.node(graph.outputs()[0].node).channels;
                assert_eq!(dims[1].dim_value, Some(classes as i64), "{name}");
            }
            break;
        }
    }
}

#[test]
fn what_cannot_be_written_is_named() {
    let graph = segmenta_zoo::find("lraspp_mobilenet_v3_large").unwrap();
    let graph = graph.build(&Options::new(3)).unwrap();
    let opset = ExportOptions {
        opset: 12,
        ..options(true, [64, 64])
    };
    let refusal = written(&graph, &opset).unwrap_err().to_string();
    assert_eq!(
        refusal,
        "opset 12 cannot be written · --opset · take one from 17 to 21"
    );
    let result = ExportOptions {
        results: vec!["depth".into()],
        ..options(true, [64, 64])
    };
    let refusal = written(&graph, &result).unwrap_err().to_string();
    assert!(refusal.contains("depth"), "{refusal}");
}

#[test]
fn large_weights_lie_beside_at_the_offsets_that_the_file_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("netz ü.onnx");
    let graph = segmenta_zoo::find("lraspp_mobilenet_v3_large").unwrap();
    let graph = graph.build(&Options::new(3)).unwrap();
    let read = |p: &segmenta_graph::Parameter| Ok::<_, ExportError>(vec![p.len() as f32; p.len()]);
    let network = export(&graph, &options(true, [64, 64]), read).unwrap();
    let data = network.clone().save(&path, true).unwrap().unwrap();
    assert_eq!(data, folder.path().join("netz ü.onnx.data"));
    let bytes = std::fs::read(data).unwrap();
    let file = std::fs::read(&path).unwrap();
    let read: segmenta_onnx::proto::ModelProto = prost::Message::decode(&file[..]).unwrap();
    let inside = network.0.graph.unwrap().initializer;
    let beside = read.graph.unwrap().initializer;
    assert!(beside.iter().any(|tensor| tensor.data_location == Some(1)));
    for (inside, beside) in inside.iter().zip(&beside) {
        let number = |key: &str| -> usize {
            let entry = beside.external_data.iter().find(|entry| entry.key == key);
            entry.unwrap().value.parse().unwrap()
        };
        let data = match &beside.raw_data {
            Some(data) => &data[..],
            None => &bytes[number("offset")..][..number("length")],
        };
        assert_eq!(inside.raw_data.as_deref(), Some(data), "{}", inside.name);
    }
}
