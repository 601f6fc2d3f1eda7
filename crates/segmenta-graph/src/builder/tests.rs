use super::*;
use crate::{Activation, Conv2d, ConvTranspose2d, Filter, Init, Pool2d, Shape};

fn at(name: &str) -> Scope {
    &Scope::root() / name
}

fn problem(build: impl FnOnce(&mut Builder, Node) -> Node) -> String {
    let (mut g, x) = Builder::new(6);
    let y = build(&mut g, x);
    g.output("out", y);
    g.finish().unwrap_err().to_string()
}

#[test]
fn what_cannot_be_names_its_node_and_a_remedy() {
    let groups = problem(|g, x| g.conv(x, &at("split"), Conv2d::square(3, 8).groups(4)));
    assert!(groups.contains("`split` (convolution)"), "{groups}");
    assert!(groups.contains("channels that 4 divides"), "{groups}");

    let stands = Conv2d::pointwise(8).stride(0);
    let stands = problem(|g, x| g.conv(x, &at("still"), stands));
    assert!(
        stands.contains("`still`") && stands.contains("may be 0"),
        "{stands}"
    );

    let none = problem(|g, x| g.conv(x, &at("none"), Conv2d::pointwise(0)));
    assert!(none.contains("`none`"), "{none}");

    let up = ConvTranspose2d {
        groups: 4,
        ..ConvTranspose2d::tiles(2, 8)
    };
    let up = problem(|g, x| g.conv_transpose(x, &at("up"), up));
    assert!(up.contains("`up` (transposed convolution)"), "{up}");

    let padded = problem(|g, x| g.max_pool(x, &at("pool"), Pool2d::square(2).padding(2)));
    assert!(padded.contains("half the window"), "{padded}");
    let hangs = Pool2d::square(2).stride(3).ceil_mode();
    let hangs = problem(|g, x| g.avg_pool(x, &at("mean"), hangs, true));
    assert!(
        hangs.contains("`mean`") && hangs.contains("ceil mode"),
        "{hangs}"
    );

    let unpooled = problem(|g, x| g.max_unpool(x, x, &at("back")));
    assert!(unpooled.contains("`input` is no max pool"), "{unpooled}");
    let other = problem(|g, x| {
        let pool = g.max_pool(x, &at("pool"), Pool2d::square(2));
        g.max_unpool(x, pool, &at("back"))
    });
    assert!(other.contains("`back` (max unpool)"), "{other}");

    let scaled = problem(|g, x| {
        let y = g.conv(x, &at("wide"), Conv2d::pointwise(8));
        g.mul(x, y, &at("gate"))
    });
    assert!(scaled.contains("`gate` (multiply)"), "{scaled}");
}

#[test]
fn a_window_larger_than_the_padded_input_names_its_node_and_the_least_size() {
    let (mut g, x) = Builder::new(3);
    let y = g.conv(x, &at("stem"), Conv2d::square(3, 8).stride(2));
    let wide = Conv2d {
        padding: [1; 2],
        ..Conv2d::square(7, 8)
    };
    let y = g.conv(y, &at("wide"), wide);
    g.output("out", y);
    let graph = g.finish().unwrap();
    let shapes = graph.shapes(Shape::new(1, 3, 9, 40)).unwrap();
    assert_eq!(shapes[2], Shape::new(1, 8, 1, 16));
    let error = graph.shapes(Shape::new(1, 3, 8, 40)).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("`wide` (convolution)"), "{error}");
    assert!(error.ends_with("at least 9×9"), "{error}");
}

#[test]
fn shapes_of_what_goes_down_and_up_again() {
    let (mut g, x) = Builder::new(3);
    let pool = g.max_pool(x, &at("pool"), Pool2d::square(2));
    let back = g.max_unpool(pool, pool, &at("back"));
    let summed = g.add(x, back, &at("sum"));
    let hung = Pool2d::square(3).stride(2).ceil_mode();
    let hung = g.avg_pool(x, &at("hung"), hung, false);
    let up = g.conv_transpose(hung, &at("up"), ConvTranspose2d::upsample(2, 5));
    let tiles = g.conv_transpose(pool, &at("tiles"), ConvTranspose2d::tiles(2, 5));
    let twice = g.upsample(pool, 2, Filter::Nearest, &at("twice"));
    let grid = g.adaptive_avg_pool(x, &at("grid"), [2, 3]);
    let attention = g.conv(x, &at("attention"), Conv2d::pointwise(1).with_bias());
    let attention = g.activation(attention, Activation::Sigmoid);
    let gated = g.mul(x, attention, &at("gated"));
    let fitted = g.fit_like(up, x, &at("fitted"));
    g.output("out", fitted);
    let graph = g.finish().unwrap();
    assert_eq!(graph.symbolic_size(twice), "2·⌊H/2⌋×2·⌊W/2⌋");
    let shapes = graph.shapes(Shape::new(2, 3, 7, 10)).unwrap();
    let size = |node: Node| {
        let shape = shapes[node.index()];
        (shape.channels, shape.height, shape.width)
    };
    assert_eq!(size(back), (3, 7, 10));
    assert_eq!(size(summed), (3, 7, 10));
    assert_eq!((size(hung), size(up)), ((3, 3, 5), (5, 6, 10)));
    assert_eq!(size(fitted), (5, 7, 10));
    assert_eq!(size(tiles), (5, 6, 10));
    assert_eq!(size(grid), (3, 2, 3));
    assert_eq!(size(gated), (3, 7, 10));
}

#[test]
fn layers_are_drawn_by_the_rule_that_was_set() {
    let (mut g, x) = Builder::new(4);
    let before = g.set_init(InitRule::Bilinear);
    assert_eq!(before, InitRule::PyTorch);
    let y = g.conv_transpose(x, &at("up"), ConvTranspose2d::upsample(2, 4).with_bias());
    g.set_init(InitRule::XavierUniform);
    let y = g.linear(y, &at("fc"), 2);
    let y = g.batch_norm(y, &at("norm"));
    g.output("out", y);
    let graph = g.finish().unwrap();
    let inits: Vec<Init> = graph.parameters().iter().map(|p| p.init).collect();
    let (zero, one) = (Init::Constant(0.0), Init::Constant(1.0));
    let xavier = Init::Uniform { bound: 1.0 };
    let norm = [one, zero, zero, one, zero];
    assert_eq!(inits[..4], [Init::Bilinear, zero, xavier, zero]);
    assert_eq!(inits[4..], norm);
    assert_eq!(graph.parameters()[0].shape, [4, 4, 4, 4]);
    assert_eq!(graph.parameters()[2].shape, [2, 4]);
}

#[test]
fn results_become_as_large_as_the_input() {
    let (mut g, x) = Builder::new(3);
    let half = g.conv(x, &at("half"), Conv2d::square(3, 2).stride(2));
    let same = g.conv(x, &at("same"), Conv2d::pointwise(4));
    g.output("out", half);
    g.output("aux", same);
    let graph = g.finish().unwrap();
    let is_half = |graph: &Graph, result: &Output| graph.node(result.node).channels == 2;
    let graph = graph.with_results_like_input(Filter::BILINEAR, is_half);
    let shapes = graph.shapes(Shape::new(1, 3, 7, 10)).unwrap();
    let of = |name: &str| shapes[graph.output(name).unwrap().index()];
    assert_eq!(of("out"), Shape::new(1, 2, 7, 10));
    assert_eq!(graph.output("aux").unwrap(), same);
    assert_eq!(graph.parameters().len(), 2);
}
