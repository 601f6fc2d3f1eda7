//! Evening out and correcting on real graphs: what must stay the same does, and what is to become better does.

use segmenta_graph::{Graph, Node, Op, Parameter, Role};
use segmenta_quantize::{
    Observations, Parameters, RangeBy, correct_biases, equalise, round_weights,
};
use segmenta_runtime::{Engine, EngineOptions, Precision, RuntimeError};
use segmenta_zoo::{Options, find, find_encoder};

fn graph(encoder: &str) -> Graph {
    let options = Options {
        encoder: Some(find_encoder(encoder).unwrap()),
        ..Options::new(3)
    };
    find("unet").unwrap().build(&options).unwrap()
}

/// Parameters as they are before training, with channels of very different sizes.
fn parameters(graph: &Graph) -> Parameters {
    let values = graph.parameters().iter().map(|parameter: &Parameter| {
        let mut values = parameter.initial(3);
        if parameter.role == Role::Scale {
            for (at, value) in values.iter_mut().enumerate() {
                *value *= [1.0, 0.05, 0.4, 2.0][at % 4];
            }
        }
        values
    });
    Parameters::new(values.collect())
}

const SHAPE: [usize; 4] = [1, 3, 64, 96];

fn picture() -> Vec<f32> {
    let values = 0..SHAPE.iter().product();
    values
        .map(|i: usize| ((i * 29 % 97) as f32 - 48.0) / 30.0)
        .collect()
}

fn engine(graph: &Graph, parameters: &Parameters) -> Engine {
    let options = EngineOptions {
        precision: Precision::Int8,
        ..EngineOptions::default()
    };
    Engine::new(graph.clone(), &options, |wanted: &Parameter| {
        let mut all = graph.parameters().iter().zip(parameters.values());
        let found = all.find(|(parameter, _)| parameter.name == wanted.name);
        Ok::<_, RuntimeError>(found.map(|(_, values)| values.clone()).unwrap())
    })
    .unwrap()
}

fn observe(graph: &Graph, parameters: &Parameters) -> (Observations, Vec<f32>) {
    let mut seen = Observations::new(graph);
    let results = engine(graph, parameters)
        .watch(&picture(), SHAPE.into(), |node, shape, values| {
            seen.add(node, shape, values);
        })
        .unwrap();
    (seen, results[0].data.clone())
}

fn spread(seen: &Observations, node: Node) -> Option<f32> {
    let sizes = seen.of(node)?.channel_extremes().iter();
    let sizes: Vec<f32> = sizes
        .map(|[low, high]| high.max(-low))
        .filter(|s| *s > 0.0)
        .collect();
    let largest = sizes.iter().copied().fold(0.0, f32::max);
    let smallest = sizes.iter().copied().fold(f32::MAX, f32::min);
    Some(largest / smallest)
}

#[test]
fn channels_become_alike_and_the_network_stays_the_same() {
    let graph = graph("mobilenet_v2");
    let mut even = parameters(&graph);
    let (seen, plain) = observe(&graph, &even);
    let equalised = equalise(&graph, &mut even, &seen);
    assert!(
        equalised.pairs > 30 && equalised.others == 0,
        "{equalised:?}"
    );
    let (after, same) = observe(&graph, &even);
    let largest = plain.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    for (a, b) in plain.iter().zip(&same) {
        assert!((a - b).abs() < 1e-4 * largest, "{a}, {b}");
    }
    // What depthwise convolutions read lies between two others' weights, and is evened out nearly whole.
    let depthwise = graph.iter().filter_map(|(_, data)| match data.op {
        Op::Conv2d(conv) if conv.groups > 1 => Some(data.inputs[0]),
        _ => None,
    });
    let both: Vec<[f32; 2]> = depthwise
        .filter_map(|node| Some([spread(&seen, node)?, spread(&after, node)?]))
        .collect();
    let better = both.iter().filter(|[before, after]| after < before).count();
    assert!(better * 10 > both.len() * 8, "{better} of {}", both.len());
}

#[test]
fn other_non_linearities_forbid_it() {
    let graph = graph("efficientnet-b0");
    let plain = parameters(&graph);
    let mut even = plain.clone();
    let (seen, _) = observe(&graph, &plain);
    let equalised = equalise(&graph, &mut even, &seen);
    assert!(equalised.others > 10, "{equalised:?}");
}

#[test]
fn a_corrected_bias_takes_the_mean_error_off() {
    let graph = graph("resnet18");
    let plain = parameters(&graph);
    let (seen, _) = observe(&graph, &plain);
    let layers = graph.iter().filter_map(|(node, data)| match data.op {
        // One whose inputs are all positive: there errors of weights do not cancel.
        Op::Conv2d(_) if data.name == "encoder.layer2.1.conv2" => Some(node),
        _ => None,
    });
    let layer = layers.last().unwrap();
    let means = |parameters: &Parameters| {
        let (seen, _) = observe(&graph, parameters);
        // The value behind the batch norm, the sum and the ReLU: what is stored.
        let stored = graph
            .iter()
            .map(|(node, _)| node)
            .filter(|node| node.index() > layer.index())
            .find(|&node| seen.of(node).is_some())
            .unwrap();
        seen.of(stored).unwrap().means()
    };
    let exact = means(&plain);
    let mut coarse = plain.clone();
    let weight = graph.node(layer).parameters[0];
    let before = plain.get(weight).to_vec();
    round_weights(&graph, &mut coarse, layer);
    // Coarser than 8 bits, and always upwards, so that there is something to correct.
    let values: Vec<Vec<f32>> = coarse
        .values()
        .iter()
        .enumerate()
        .map(|(at, values)| {
            if at == weight.index() {
                values.iter().map(|w| w + 2e-3).collect()
            } else {
                values.clone()
            }
        })
        .collect();
    let mut coarse = Parameters::new(values);
    let off = |found: &[f32]| {
        let pairs = found.iter().zip(&exact);
        pairs.map(|(a, b)| f64::from((a - b).abs())).sum::<f64>()
    };
    let without = off(&means(&coarse));
    let largest = correct_biases(&graph, &mut coarse, &seen, layer, &before);
    let with = off(&means(&coarse));
    assert!(largest > 0.0 && with < without / 3.0, "{without}, {with}");
}

#[test]
fn every_value_gets_a_range_that_holds_most_of_it() {
    let graph = graph("mobilenet_v2");
    let (seen, _) = observe(&graph, &parameters(&graph));
    let [all, most, least] = [
        RangeBy::Extremes,
        RangeBy::Percentile(99.9),
        RangeBy::LeastError,
    ]
    .map(|by| seen.ranges(by));
    assert!(all.len() > 50 && all.len() == most.len() && all.len() == least.len());
    for (name, [low, high]) in &all {
        for inner in [most[name], least[name]] {
            assert!(*low <= inner[0] && inner[0] <= 0.0, "{name}");
            assert!(0.0 <= inner[1] && inner[1] <= *high, "{name}");
        }
        assert!(high > low, "{name}");
    }
}
