//! Convolutions of one map that are added up run as one, with the same result.

use segmenta_graph::{Builder, Conv2d, Graph, Node, Parameter, Role, Scope, Shape};
use segmenta_runtime::{Engine, EngineOptions, RuntimeError, Tensor};

/// A 1×1, a 3×3 and the map itself, each with its norm, added up; `apart` gives what they are on the way as
/// results too, so that they cannot become one.
/// With `skip_first` the map itself comes before the convolutions, as in MobileOne's pointwise blocks.
fn network(groups: usize, stride: usize, skip_first: bool, apart: bool) -> Graph {
    let at = |name: &str| &Scope::root() / name;
    let (mut g, input) = Builder::new(3);
    let x = g.conv(input, &at("stem"), Conv2d::square(3, 20));
    let skip = skip_first.then(|| g.batch_norm(x, &at("skip")));
    let mut parts: Vec<Node> = [1, 3, 3]
        .into_iter()
        .enumerate()
        .map(|(i, side)| {
            let conv = Conv2d::square(side, 20).stride(stride).groups(groups);
            g.conv_bn(x, &at(&format!("conv{i}")), &at(&format!("bn{i}")), conv)
        })
        .collect();
    if let Some(skip) = skip {
        parts.insert(0, skip);
    } else if stride == 1 {
        parts.insert(1, g.batch_norm(x, &at("skip")));
    }
    let sum = parts[1..]
        .iter()
        .fold(parts[0], |sum, &part| g.add(sum, part, &at("sum")));
    let out = g.relu(sum);
    g.output("out", out);
    if apart {
        for &part in &parts {
            g.output("part", part);
        }
    }
    g.finish().unwrap()
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the signature that engines ask for"
)]
fn weights(parameter: &Parameter) -> Result<Vec<f32>, RuntimeError> {
    let seed = parameter
        .name
        .bytes()
        .fold(7_usize, |a, b| a * 31 % 10_007 + usize::from(b));
    let value = |i: usize| ((i * 37 + seed) % 101) as f32 / 50.0 - 1.0;
    let positive = parameter.role == Role::RunningVar;
    Ok((0..parameter.len())
        .map(|i| if positive { 1.5 + value(i) } else { value(i) })
        .collect())
}

fn run(graph: Graph) -> (Vec<Tensor>, usize) {
    let outputs = graph
        .outputs()
        .iter()
        .map(|o| o.name.clone())
        .take(2)
        .collect();
    let options = EngineOptions {
        outputs,
        ..EngineOptions::default()
    };
    let engine = Engine::new(graph, &options, weights).unwrap();
    let shape = Shape::new(2, 3, 9, 13);
    let picture: Vec<f32> = (0..shape.len())
        .map(|i| ((i * 29 % 97) as f32 - 48.0) / 48.0)
        .collect();
    let steps = engine.profile(&picture, shape).unwrap().len();
    (engine.forward(&picture, shape).unwrap(), steps)
}

#[test]
fn one_step_gives_what_several_give() {
    let cases =
        [(1, 1), (1, 2), (20, 1), (20, 2), (4, 1)].map(|(groups, stride)| (groups, stride, false));
    for (groups, stride, skip_first) in cases.into_iter().chain([(1, 1, true), (20, 1, true)]) {
        let (together, few) = run(network(groups, stride, skip_first, false));
        assert_eq!(few, 3, "the first convolution, the sum as one, the result");
        let (apart, many) = run(network(groups, stride, skip_first, true));
        assert!(few + 2 < many, "{few} steps, {many} apart");
        let largest = apart[0]
            .data
            .iter()
            .fold(0.0_f32, |most, x| most.max(x.abs()));
        for (a, b) in together[0].data.iter().zip(&apart[0].data) {
            assert!(
                (a - b).abs() <= 1e-5 * largest,
                "{groups} groups, stride {stride}: {a}, {b}"
            );
        }
    }
}
