//! A map that is fitted to a size that it has already is written to its place at once.

use segmenta_graph::{Builder, Conv2d, ConvTranspose2d, Graph, Pool2d, Scope, Shape};
use segmenta_runtime::{Engine, EngineOptions, RuntimeError};

/// A map halved, enlarged, fitted to a skip and put beside it; with no step for the fit where
/// nothing is lacking.
fn there_and_back() -> Graph {
    let at = |name: &str| &Scope::root() / name;
    let (mut g, input) = Builder::new(3);
    let skip = g.conv(input, &at("skip"), Conv2d::square(3, 16));
    let half = g.max_pool(skip, &at("half"), Pool2d::square(2));
    let up = g.conv_transpose(half, &at("up"), ConvTranspose2d::tiles(2, 16));
    let up = g.fit_like(up, skip, &at("fit"));
    let both = g.concat(&[skip, up], &at("both"));
    let out = g.conv(both, &at("out"), Conv2d::square(3, 2));
    g.output("out", out);
    g.finish().unwrap()
}

fn engine() -> Engine {
    let weights = |parameter: &segmenta_graph::Parameter| {
        let value = |i: usize| ((i * 37 % 101) as f32 - 50.0) / 500.0;
        Ok::<_, RuntimeError>((0..parameter.len()).map(value).collect())
    };
    Engine::new(there_and_back(), &EngineOptions::default(), weights).unwrap()
}

fn picture(shape: Shape) -> Vec<f32> {
    (0..shape.len())
        .map(|i| ((i * 29 % 97) as f32 - 48.0) / 48.0)
        .collect()
}

#[test]
fn nothing_is_copied_where_sizes_agree() {
    let engine = engine();
    let steps = |shape: Shape| -> Vec<String> {
        let times = engine.profile(&picture(shape), shape).unwrap();
        times.iter().map(|t| t.algorithm.to_string()).collect()
    };
    let even = steps(Shape::new(1, 3, 8, 12));
    assert!(!even.iter().any(|s| s == "fit"), "{even:?}");
    let odd = steps(Shape::new(1, 3, 9, 12));
    assert!(odd.iter().any(|s| s == "fit"), "{odd:?}");
}

/// Where nothing of an odd row is seen, both ways give the same.
#[test]
fn copied_or_not_the_values_are_the_same() {
    let engine = engine();
    let (even, odd) = (Shape::new(2, 3, 8, 12), Shape::new(2, 3, 9, 12));
    let picture = picture(even);
    // The same picture with a row of zeros below, which is what the padding was.
    let below: Vec<f32> = picture
        .chunks_exact(even.pixels())
        .flat_map(|plane| plane.iter().copied().chain([0.0; 12]))
        .collect();
    let short = engine.forward(&picture, even).unwrap().remove(0);
    let long = engine.forward(&below, odd).unwrap().remove(0);
    // The last row of the skip sees the row below, and the result's last but one sees that.
    for (a, b) in short.data.chunks_exact(96).zip(long.data.chunks_exact(108)) {
        for (a, b) in a[..84].iter().zip(b) {
            assert!((a - b).abs() <= 1e-5, "{a} {b}");
        }
    }
}
