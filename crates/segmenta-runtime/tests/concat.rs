//! Concatenations of maps that share memory: one map twice, a map beside a part of itself, fitted copies of one map.

use segmenta_graph::{Builder, Conv2d, Graph, Node, Parameter, Pool2d, Scope, Shape};
use segmenta_runtime::{Engine, EngineOptions, Isa, RuntimeError};

fn name(text: &str) -> Scope {
    Scope::root() / text
}

/// A map of 32 channels, what `build` makes of it, and both as results; a second network in which a 1×1
/// convolution with an identity as its kernel stands before each part, so that no two parts share memory.
fn network(apart: bool, build: &dyn Fn(&mut Builder, Node) -> Vec<Node>) -> Graph {
    let (mut g, input) = Builder::new(3);
    let x = g.conv(input, &name("x"), Conv2d::square(3, 32));
    let parts = build(&mut g, x);
    let mut own = |(i, &part): (usize, &Node)| {
        let channels = g.channels(part);
        g.conv(
            part,
            &name(&format!("same{i}")),
            Conv2d::pointwise(channels),
        )
    };
    let parts: Vec<Node> = if apart {
        parts.iter().enumerate().map(&mut own).collect()
    } else {
        parts
    };
    let whole = g.concat(&parts, &name("whole"));
    g.output("out", whole);
    g.finish().unwrap()
}

fn weights(parameter: &Parameter) -> Vec<f32> {
    if parameter.name.starts_with("same") {
        let [out, width] = [parameter.shape[0], parameter.shape[1]];
        let identity = |i: usize| f32::from(u8::from(i / width == i % width));
        return (0..out * width).map(identity).collect();
    }
    let value = |i: usize| ((i * 37 % 101) as f32 - 50.0) / 500.0;
    (0..parameter.len()).map(value).collect()
}

fn run(graph: Graph, isa: Isa) -> Vec<f32> {
    let options = EngineOptions {
        isa: Some(isa),
        ..EngineOptions::default()
    };
    let read = |parameter: &Parameter| Ok::<_, RuntimeError>(weights(parameter));
    let engine = Engine::new(graph, &options, read).unwrap();
    let shape = Shape::new(2, 3, 6, 8);
    let picture: Vec<f32> = (0..shape.len())
        .map(|i| ((i * 29 % 97) as f32 - 48.0) / 48.0)
        .collect();
    engine.forward(&picture, shape).unwrap().remove(0).data
}

#[test]
fn parts_may_share_memory() {
    let fit = |g: &mut Builder, x: Node, n: usize| {
        let like = g.relu(x);
        g.fit_like(x, like, &name(&format!("fit{n}")))
    };
    type Build<'a> = &'a dyn Fn(&mut Builder, Node) -> Vec<Node>;
    let cases: [(&str, Build<'_>); 10] = [
        ("twice", &|_, x| vec![x, x]),
        ("three times", &|_, x| vec![x, x, x]),
        ("around another", &|g, x| {
            let other = g.conv(x, &name("other"), Conv2d::square(3, 16));
            vec![x, other, x]
        }),
        ("beside its part", &|g, x| {
            let part = g.slice(x, 16, 16, &name("part"));
            vec![x, part, x]
        }),
        ("its parts turned round", &|g, x| {
            let first = g.slice(x, 0, 16, &name("first"));
            let last = g.slice(x, 16, 16, &name("last"));
            vec![last, first, last]
        }),
        ("made of the next", &|g, x| {
            let made = g.conv(x, &name("made"), Conv2d::square(3, 32));
            vec![made, x]
        }),
        ("a whole beside its part", &|g, x| {
            let part = g.slice(x, 16, 16, &name("part"));
            let inner = g.concat(&[part, x, part], &name("inner"));
            let again = g.relu(inner);
            vec![again, inner, x, again]
        }),
        ("fitted twice", &|g, x| vec![fit(g, x, 1), fit(g, x, 2)]),
        ("fitted, and itself", &|g, x| {
            vec![fit(g, x, 1), x, fit(g, x, 2), x]
        }),
        ("a whole in a whole", &|g, x| {
            let pair = g.concat(&[x, x], &name("pair"));
            let pooled = g.max_pool(pair, &name("pool"), Pool2d::square(1));
            vec![pair, pooled, pair]
        }),
    ];
    for isa in Isa::available() {
        for (what, build) in cases {
            let together = run(network(false, build), isa);
            let apart = run(network(true, build), isa);
            assert_eq!(together.len(), apart.len(), "{what}, {isa}");
            for (i, (a, b)) in together.iter().zip(&apart).enumerate() {
                assert!((a - b).abs() <= 1e-5, "{what}, {isa}: {i}: {a}, {b}");
            }
        }
    }
}
