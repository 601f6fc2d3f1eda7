//! Burn's operations give what our kernels give, node by node: results, gradients, running statistics, and what
//! is dropped. On Burn's own processor backend, or on the device that `SEGMENTA_DEVICE` names.

#[path = "../../../conformance/formula.rs"]
mod formula;

use segmenta_graph::{
    Activation, Builder, Conv2d, ConvTranspose2d, Filter, Graph, Node, Pool2d, Role, Scope, Shape,
};
use segmenta_train::Numbers;
use segmenta_train::engine::{
    DeviceSpec, Engine, EngineError, EngineOptions, Logits, Parameters, Phase,
};
use segmenta_train::optim::{Part, Parts};

/// Largest difference, relative to the root mean square of what is compared.
fn tolerance(what: &str) -> f32 {
    // A softmax over all pairs of pixels, without a scale: its gradients are differences that nearly cancel.
    if what == "positions" { 4e-3 } else { 1e-4 }
}

fn device() -> DeviceSpec {
    let named = std::env::var("SEGMENTA_DEVICE").ok();
    let named = named.map(|name| name.parse().unwrap());
    named
        .filter(|&spec| spec != DeviceSpec::Cpu)
        .unwrap_or(DeviceSpec::Flex)
}

fn graph(channels: usize, build: impl Fn(&mut Builder, Node) -> Node) -> Graph {
    let (mut g, x) = Builder::new(channels);
    let out = build(&mut g, x);
    g.output("out", out);
    g.finish().unwrap()
}

fn name(text: &str) -> Scope {
    Scope::root() / text
}

fn engine(graph: &Graph, options: EngineOptions) -> Engine {
    let parameters = Parameters::from_values(graph, |p| {
        formula::weight(&p.name, &p.shape, p.role == Role::TransposedKernel)
    });
    Engine::new(graph.clone(), parameters, options).unwrap()
}

/// Everything that two steps give, by name.
fn steps(graph: &Graph, shape: Shape, options: EngineOptions) -> Vec<(String, Vec<f32>)> {
    let mut engine = engine(graph, options);
    let mut all = Vec::new();
    for step in 0..2 {
        let input = formula::image(&format!("step {step}"), shape.len());
        let results = engine.forward(input, shape).unwrap();
        let gradients = results.iter().enumerate().map(|(output, result)| {
            let of_result = result.values().unwrap().into_owned();
            all.push((format!("result {output} of step {step}"), of_result));
            let probe = formula::unit(&format!("probe {output}"), result.shape().len());
            let probe: Vec<f32> = probe.into_iter().map(|u| u - 0.5).collect();
            Logits::new(result.shape(), probe)
        });
        let gradients = gradients.collect();
        for (name, gradient) in engine.backward(gradients).unwrap() {
            all.push((
                format!("gradient of {name} in step {step}"),
                values(&gradient),
            ));
        }
    }
    for (at, entry) in graph.parameters().iter().enumerate() {
        let values = engine.parameters().values(at).unwrap().into_owned();
        all.push((entry.name.clone(), values));
    }
    all
}

fn values(numbers: &Numbers) -> Vec<f32> {
    numbers.values().unwrap().into_owned()
}

/// A gradient of one value everywhere.
fn all(like: &Logits, value: f32) -> Logits {
    Logits::new(like.shape(), vec![value; like.shape().len()])
}

/// Our kernels and the device's operations agree on two steps of this network.
#[expect(clippy::needless_pass_by_value, reason = "parts are made for the call")]
fn agree(what: &str, shape: [usize; 4], parts: Parts, build: impl Fn(&mut Builder, Node) -> Node) {
    let graph = graph(shape[1], build);
    let options = |device| EngineOptions {
        device,
        parts: parts.clone(),
        seed: 3,
        ..EngineOptions::default()
    };
    let ours = steps(&graph, shape.into(), options(DeviceSpec::Cpu));
    let theirs = steps(&graph, shape.into(), options(device()));
    let names = |all: &[(String, Vec<f32>)]| -> Vec<String> {
        all.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(&ours), names(&theirs), "{what}");
    let gradients = names(&ours)
        .iter()
        .filter(|n| n.starts_with("gradient"))
        .count();
    assert!(gradients > 0, "{what}: nothing learns");
    for ((name, ours), (_, theirs)) in ours.iter().zip(&theirs) {
        assert_eq!(ours.len(), theirs.len(), "{what}: {name}");
        let squares: f32 = ours.iter().map(|v| v * v).sum();
        let scale = (squares / ours.len() as f32).sqrt().max(1e-3);
        for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
            let off = (a - b).abs() / scale;
            assert!(
                off <= tolerance(what),
                "{what}: {name}[{i}] is {a}, there {b}"
            );
        }
    }
}

/// A convolution to learn before the operation, and one after it.
fn between(what: &str, shape: [usize; 4], build: impl Fn(&mut Builder, Node) -> Node) {
    agree(what, shape, Parts::default(), |g, x| {
        let before = Conv2d::square(3, 6).with_bias();
        let x = g.conv(x, &name("before"), before);
        let y = build(g, x);
        g.conv(y, &name("after"), Conv2d::pointwise(4).with_bias())
    });
}

#[test]
fn convolutions() {
    let shape = [2, 3, 13, 18];
    let kinds = [
        ("plain", Conv2d::square(3, 8)),
        (
            "biased, strided",
            Conv2d::square(5, 8).stride(2).with_bias(),
        ),
        ("pointwise, strided", Conv2d::pointwise(7).stride(2)),
        ("dilated", Conv2d::square(3, 8).dilation(3)),
        ("in groups", Conv2d::square(3, 8).groups(2)),
        ("depthwise", Conv2d::square(3, 6).stride(2).depthwise(6)),
        (
            "padded as TensorFlow",
            Conv2d::square(3, 8).stride(2).same_for(224),
        ),
        (
            "depthwise, padded as TensorFlow",
            Conv2d::square(5, 6).depthwise(6).stride(2).same_for(64),
        ),
    ];
    for (what, conv) in kinds {
        between(what, shape, |g, x| g.conv(x, &name("conv"), conv));
    }
    between("linear", shape, |g, x| g.linear(x, &name("linear"), 9));
}

#[test]
fn transposed_convolutions() {
    let odd = ConvTranspose2d {
        kernel: [3, 4],
        stride: [2, 3],
        padding: [1, 0],
        output_padding: [1, 2],
        dilation: [2, 1],
        groups: 2,
        ..ConvTranspose2d::tiles(3, 8).with_bias()
    };
    let kinds = [
        ("tiles", ConvTranspose2d::tiles(2, 5)),
        ("upsampling", ConvTranspose2d::upsample(4, 5).with_bias()),
        ("everything at once", odd),
    ];
    for (what, conv) in kinds {
        between(what, [2, 3, 6, 7], |g, x| {
            g.conv_transpose(x, &name("up"), conv)
        });
    }
}

#[test]
fn activations() {
    for activation in [
        Activation::Relu,
        Activation::Relu6,
        Activation::Hardswish,
        Activation::Hardsigmoid,
        Activation::Sigmoid,
        Activation::Silu,
        Activation::Gelu,
        Activation::Tanh,
    ] {
        // Wide enough a range for both clamps.
        between(&format!("{activation:?}"), [2, 3, 9, 10], |g, x| {
            let wide = g.add(x, x, &name("twice"));
            let wide = g.add(wide, wide, &name("fourfold"));
            g.activation(wide, activation)
        });
    }
}

#[test]
fn maps_brought_together() {
    let shape = [3, 3, 8, 9];
    between("squeeze and excite", shape, |g, x| {
        let gate = g.global_avg_pool(x, &name("pool"));
        let gate = g.activation(gate, Activation::Sigmoid);
        g.mul(x, gate, &name("scaled"))
    });
    between("a gate of one channel", shape, |g, x| {
        let gate = g.conv(x, &name("gate"), Conv2d::pointwise(1));
        g.mul(x, gate, &name("gated"))
    });
    between("a product of maps", shape, |g, x| {
        let other = g.conv(x, &name("other"), Conv2d::pointwise(6));
        g.mul(x, other, &name("product"))
    });
    between("parts of odd widths", shape, |g, x| {
        let narrow = g.conv(x, &name("narrow"), Conv2d::pointwise(3));
        let whole = g.concat(&[narrow, x, narrow], &name("whole"));
        g.relu(whole)
    });
    // A map that stands in a concatenation more than once, and beside a part of itself.
    between("one map twice", shape, |g, x| {
        let wide = g.conv(x, &name("wide"), Conv2d::pointwise(32));
        g.concat(&[wide, wide], &name("whole"))
    });
    between("one map around another", shape, |g, x| {
        let wide = g.conv(x, &name("wide"), Conv2d::pointwise(16));
        let other = g.conv(wide, &name("other"), Conv2d::pointwise(16));
        let whole = g.concat(&[wide, other, wide], &name("whole"));
        g.add(whole, whole, &name("sum"))
    });
    between("a map and its part", shape, |g, x| {
        let wide = g.conv(x, &name("wide"), Conv2d::pointwise(32));
        let part = g.slice(wide, 16, 16, &name("part"));
        let whole = g.concat(&[part, wide, part], &name("whole"));
        let again = g.relu(whole);
        g.concat(&[again, whole, wide, again], &name("all"))
    });
}

#[test]
fn pools() {
    let shape = [2, 3, 11, 14];
    let pool = |ceil: bool| {
        let pool = Pool2d::square(3).stride(2).padding(1);
        if ceil { pool.ceil_mode() } else { pool }
    };
    for ceil in [false, true] {
        between("maxima", shape, |g, x| {
            g.max_pool(x, &name("pool"), pool(ceil))
        });
        for pads in [false, true] {
            between("means", shape, |g, x| {
                g.avg_pool(x, &name("pool"), pool(ceil), pads)
            });
        }
    }
    between("unpooled", shape, |g, x| {
        let pool = g.max_pool(x, &name("pool"), Pool2d::square(2));
        let y = g.conv(pool, &name("inner"), Conv2d::square(3, 6));
        g.max_unpool(y, pool, &name("unpool"))
    });
    between("adaptive means", shape, |g, x| {
        g.adaptive_avg_pool(x, &name("pool"), [3, 4])
    });
}

#[test]
fn resizes_and_fits() {
    let filters = [
        Filter::Nearest,
        Filter::BILINEAR,
        Filter::ALIGNED,
        Filter::Bicubic,
    ];
    for filter in filters {
        between(
            &format!("{filter:?} twice as large"),
            [2, 3, 5, 7],
            |g, x| g.upsample(x, 2, filter, &name("up")),
        );
        between(&format!("{filter:?} as another"), [2, 3, 10, 13], |g, x| {
            let small = g.conv(x, &name("small"), Conv2d::square(3, 6).stride(3));
            let y = g.resize_like(small, x, filter, &name("large"));
            let down = g.resize_like(y, small, filter, &name("down"));
            g.add(down, small, &name("sum"))
        });
    }
    between("filled up and cut off", [2, 3, 9, 11], |g, x| {
        let small = g.max_pool(x, &name("pool"), Pool2d::square(2));
        let filled = g.fit_like(small, x, &name("filled"));
        let sum = g.add(filled, x, &name("sum"));
        g.fit_like(sum, small, &name("cut"))
    });
    for size in [[2, 3, 9, 11], [1, 4, 8, 7], [1, 3, 6, 8]] {
        between("filled up to even sides", size, |g, x| {
            g.pad_to_even(x, &name("even"))
        });
    }
}

/// Keys have no bias: one for all of them changes no softmax, and its gradient would be nothing but rounding.
fn queries_keys_values(g: &mut Builder, x: Node) -> [Node; 3] {
    let queries = g.linear(x, &name("q"), 6);
    let keys = g.linear_without_bias(x, &name("k"), 6);
    [queries, keys, g.linear(x, &name("v"), 6)]
}

#[test]
fn windows_and_what_is_between_them() {
    // Maps that windows and squares hang over, and one smaller than a window.
    for shape in [[2, 3, 7, 10], [1, 3, 2, 3]] {
        for shift in [0, 1] {
            between("windows", shape, |g, x| {
                let windows = g.windows(x, 3, shift, &name("windows"));
                let windows = g.activation(windows, Activation::Silu);
                g.from_windows(windows, x, 3, shift, &name("back"))
            });
            between("attention within windows", shape, |g, x| {
                let x = g.windows(x, 3, shift, &name("windows"));
                let maps = queries_keys_values(g, x);
                let table = g.table(&name("biases"), &[25, 2], [5, 5]);
                g.window_attention(maps, table, None, [2, shift], &name("attention"))
            });
        }
        between("attention of a map and a class token", shape, |g, x| {
            let token = g.table(&name("token"), &[1, 1, 6], [1, 1]);
            let row = g.join(token, x, &name("row"));
            let maps = queries_keys_values(g, row);
            let [height, width] = [shape[2], shape[3]].map(|side| 2 * side - 1);
            let entries = height * width;
            let table = g.table(&name("biases"), &[entries + 3, 2], [1, entries + 3]);
            let distances = g.part_of(table, 0, [height, width], &name("distances"));
            let own = g.part(table, entries, 3, &name("own"));
            let y = g.window_attention(maps, distances, Some(own), [2, 0], &name("attention"));
            g.part_like(y, 1, &[], x, &name("map"))
        });
        between("squares", shape, |g, x| {
            let deep = g.space_to_depth(x, 2, &name("deep"));
            let deep = g.linear_without_bias(deep, &name("mixed"), 24);
            g.depth_to_space(deep, 2, x, &name("back"))
        });
        between("a scale for each channel", shape, |g, x| {
            g.layer_scale(x, &name("scale"), 0.5)
        });
    }
}

#[test]
fn norms_measure_the_batch_unless_frozen() {
    let build = |g: &mut Builder, x: Node| {
        let y = g.conv_bn_relu(x, &name("a"), &name("a_norm"), Conv2d::square(3, 6));
        g.conv_bn(y, &name("b"), &name("b_norm"), Conv2d::square(3, 5))
    };
    agree("norms", [3, 3, 7, 8], Parts::default(), build);
    let frozen = |prefix: &str| Part {
        frozen: true,
        ..Part::new(prefix)
    };
    let parts = Parts {
        parts: vec![frozen("a"), frozen("a_norm")],
        ..Parts::default()
    };
    agree("frozen", [3, 3, 7, 8], parts, build);
}

#[test]
fn norms_of_values() {
    let shape = [3, 3, 7, 8];
    between("groups", shape, |g, x| {
        g.group_norm(x, &name("norm"), 2, 1e-5)
    });
    between("channels", shape, |g, x| {
        // Or the bias before would have no gradient.
        let x = g.activation(x, Activation::Silu);
        g.instance_norm(x, &name("norm"), 1e-5)
    });
    between("pixels", shape, |g, x| {
        // More channels than a block.
        let wide = g.linear(x, &name("wide"), 37);
        g.layer_norm(wide, &name("norm"), 1e-6)
    });
    let frozen = Part {
        frozen: true,
        ..Part::new("before")
    };
    let parts = Parts {
        parts: vec![frozen],
        ..Parts::default()
    };
    agree("norms after what is frozen", shape, parts, |g, x| {
        let x = g.linear(x, &name("before"), 6);
        let x = g.layer_norm(x, &name("pixels"), 1e-6);
        g.group_norm(x, &name("groups"), 3, 1e-5)
    });
}

#[test]
fn softmax_between_channels() {
    for (parts, log) in [(6, false), (6, true), (2, false), (3, true)] {
        between(&format!("{parts} parts"), [2, 3, 5, 6], |g, x| {
            g.softmax(x, parts, log, &name("softmax"))
        });
    }
}

#[test]
fn parts_of_maps_and_maps_times_numbers() {
    // Blocks of any instruction set, and what begins within one.
    for (channels, cuts) in [(64, [0, 16, 48, 64]), (15, [0, 4, 9, 15])] {
        between("slices", [2, 3, 6, 7], |g, x| {
            let wide = g.linear(x, &name("wide"), channels);
            let mut part = |i: usize| {
                let part = name(&format!("part{i}"));
                g.slice(wide, cuts[i], cuts[i + 1] - cuts[i], &part)
            };
            let parts = [part(0), part(1), part(2)];
            // The last is read twice, the first not at all.
            let last = g.scale(parts[2], -0.7, &name("scaled"));
            g.concat(&[parts[2], parts[1], last], &name("whole"))
        });
    }
    between("the largest", [2, 3, 6, 7], |g, x| {
        let largest = g.global_max_pool(x, &name("largest"));
        g.mul(x, largest, &name("gated"))
    });
}

#[test]
fn attention() {
    for (heads, channels) in [(1, 6), (2, 32), (3, 15)] {
        between(&format!("{heads} heads"), [2, 3, 6, 7], |g, x| {
            let all = g.linear(x, &name("all"), 3 * channels);
            let [q, k, v] =
                [0, 1, 2].map(|i| g.slice(all, i * channels, channels, &name(&format!("part{i}"))));
            g.attention([q, k, v], heads, &name("attention"))
        });
    }
    between("fewer keys, other widths", [2, 3, 8, 9], |g, x| {
        let small = g.conv(x, &name("small"), Conv2d::square(3, 6).stride(2));
        let [q, k] = [x, small].map(|from| {
            let leaf = if from == x { "q" } else { "k" };
            // A bias of the keys would have no gradient: it moves all of a query's products alike.
            g.conv(from, &name(leaf), Conv2d::pointwise(8))
        });
        let v = g.linear(small, &name("v"), 10);
        g.attention([q, k, v], 2, &name("attention"))
    });
    between("what attends itself", [2, 3, 4, 5], |g, x| {
        g.attention([x, x, x], 1, &name("attention"))
    });
    between("positions", [2, 3, 5, 4], |g, x| {
        let maps = ["q", "k", "v"].map(|leaf| {
            let channels = if leaf == "v" { 11 } else { 4 };
            g.linear(x, &name(leaf), channels)
        });
        g.position_attention(maps, &name("attention"))
    });
}

#[test]
fn rows_of_tokens() {
    // At the embeddings' own size, and resized up and down.
    for grid in [[4, 5], [3, 4], [7, 5]] {
        between(&format!("{grid:?}"), [2, 3, 4, 5], |g, x| {
            let row = g.tokens(x, &name("tokens"), grid);
            let mixed = g.attention([row, row, row], 2, &name("attention"));
            g.patches(mixed, x, &name("patches"))
        });
    }
}

/// What a norm wrote and was not kept is there again where only a part of it is read.
#[test]
fn slices_of_what_is_computed_again() {
    let graph = graph(3, |g, x| {
        let wide = Conv2d::square(3, 64);
        let y = g.conv_bn_relu(x, &name("conv"), &name("norm"), wide);
        let [q, k, v] = [(0, 16), (16, 16), (32, 32)]
            .map(|(first, count)| g.slice(y, first, count, &name(&format!("from{first}"))));
        g.attention([q, k, v], 1, &name("attention"))
    });
    let run = |checkpointing| {
        let options = EngineOptions {
            checkpointing,
            ..EngineOptions::default()
        };
        steps(&graph, Shape::new(2, 3, 6, 7), options)
    };
    for ((name, kept), (_, again)) in run(false).iter().zip(&run(true)) {
        let largest = kept.iter().fold(1e-3_f32, |m, v| m.max(v.abs()));
        let pairs = kept.iter().zip(again);
        let apart = pairs.fold(0.0_f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(apart <= 1e-4 * largest, "{name}: {apart} of {largest}");
    }
}

#[test]
fn the_same_is_dropped() {
    between("dropout", [2, 3, 8, 9], |g, x| {
        g.dropout(x, 0.4, &name("drop"))
    });
    between("channels", [4, 3, 8, 9], |g, x| {
        g.dropout2d(x, 0.4, &name("drop"))
    });
    between("stochastic depth", [16, 3, 4, 4], |g, x| {
        let y = g.conv(x, &name("branch"), Conv2d::square(3, 6));
        let y = g.stochastic_depth(y, 0.5, &name("depth"));
        g.add(x, y, &name("sum"))
    });
}

/// A network with a norm in its middle, on the device.
fn small(options: EngineOptions) -> (Graph, Engine) {
    let graph = graph(3, |g, x| {
        let conv = Conv2d::square(3, 4).with_bias();
        let x = g.conv_bn_relu(x, &name("first"), &name("norm"), conv);
        g.conv(x, &name("last"), conv)
    });
    let engine = engine(&graph, options);
    (graph, engine)
}

fn options() -> EngineOptions {
    EngineOptions {
        device: device(),
        ..EngineOptions::default()
    }
}

#[test]
fn a_norm_of_one_value_is_refused() {
    let (_, mut engine) = small(options());
    let error = engine.forward(vec![0.5; 3], Shape::new(1, 3, 1, 1));
    let EngineError::OneValue { node, channels } = error.unwrap_err() else {
        panic!("another error");
    };
    assert_eq!((&*node, channels), ("norm", 4));
}

#[test]
fn a_backward_pass_follows_each_forward_pass() {
    let (_, mut engine) = small(options());
    let shape = Shape::new(2, 3, 4, 5);
    let results = engine.forward(vec![0.5; shape.len()], shape).unwrap();
    let gradients = vec![all(&results[0], 1.0)];
    assert_eq!(engine.backward(gradients.clone()).unwrap().len(), 6);
    let again = engine.backward(gradients);
    assert!(matches!(again.unwrap_err(), EngineError::NoForward));
}

#[test]
fn the_first_node_that_made_a_nan_is_named() {
    let options = EngineOptions {
        debug_numerics: true,
        ..options()
    };
    let shape = Shape::new(2, 3, 4, 5);
    let input = || formula::image("picture", shape.len());
    let found = |error: EngineError| match error {
        EngineError::NotFinite { node, phase, .. } => (node, phase),
        other => panic!("{other}"),
    };

    let (_, mut engine) = small(options.clone());
    let results = engine.forward(input(), shape).unwrap();
    let nan = all(&results[0], f32::NAN);
    let error = engine.backward(vec![nan]).unwrap_err();
    assert_eq!(found(error), ("last".into(), Phase::Backward));

    let (graph, mut engine) = small(options);
    let at = engine.parameters().position("norm.weight").unwrap();
    let values = vec![f32::INFINITY; graph.parameters()[at].len()];
    engine.parameters_mut().set(at, values);
    let error = engine.forward(input(), shape).unwrap_err();
    assert_eq!(found(error), ("norm".into(), Phase::Forward));
}

#[test]
fn a_step_that_is_timed_gives_the_same() {
    let shape = Shape::new(2, 3, 6, 5);
    let step = |timed: bool| {
        let (_, mut engine) = small(options());
        if timed {
            engine.time();
        }
        let results = engine
            .forward(formula::image("picture", shape.len()), shape)
            .unwrap();
        let gradients = engine.backward(vec![all(&results[0], 1.0)]).unwrap();
        let gradients: Vec<_> = gradients
            .iter()
            .map(|(n, g)| (n.clone(), values(g)))
            .collect();
        (
            results[0].values().unwrap().into_owned(),
            gradients,
            engine.take_timings(),
        )
    };
    let (results, gradients, none) = step(false);
    assert!(none.is_empty());
    let (timed_results, timed_gradients, timings) = step(true);
    assert_eq!(results, timed_results);
    for ((name, a), (timed_name, b)) in gradients.iter().zip(&timed_gradients) {
        assert_eq!(name, timed_name);
        let near = a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-5);
        assert!(near, "{name}: {a:?}, timed {b:?}");
    }
    for phase in [Phase::Forward, Phase::Backward] {
        for node in ["first", "norm", "last"] {
            let found = timings.iter().any(|t| t.phase == phase && t.node == node);
            assert!(found, "{phase} of {node}");
        }
    }
}

#[test]
fn rows_are_joined_cut_and_exchanged() {
    between("joined and cut", [2, 3, 4, 5], |g, x| {
        let small = g.conv(x, &name("small"), Conv2d::square(3, 6).stride(2));
        let table = g.table(&name("table"), &[3, 6], [1, 3]);
        let row = g.join(table, x, &name("row"));
        let row = g.join(row, small, &name("longer"));
        let y = g.part_like(row, 3, &[], x, &name("first"));
        let z = g.part_like(row, 3, &[x], small, &name("second"));
        let z = g.resize_like(z, x, Filter::BILINEAR, &name("large"));
        g.add(y, z, &name("sum"))
    });
    between("a factor a channel", [2, 3, 4, 5], |g, x| {
        g.layer_scale(x, &name("lambda1"), 0.5)
    });
    between("masks of queries", [2, 3, 6, 7], |g, x| {
        let queries = g.table(&name("queries"), &[5, 6], [1, 5]);
        let mixed = g.attention([queries, x, x], 2, &name("attention"));
        let masks = g.product(x, mixed, &name("masks"));
        let classes = g.linear(mixed, &name("classes"), 4);
        let shares = g.softmax(classes, 4, false, &name("shares"));
        let by_query = g.transpose(shares, &name("by_query"));
        g.product(masks, by_query, &name("scores"))
    });
    between("to a fixed size", [2, 3, 6, 7], |g, x| {
        g.resize_to(x, [4, 9], Filter::BILINEAR, &name("fixed"))
    });
}

#[test]
fn attention_of_those_who_do_not_see_everything() {
    for (queries, pixels) in [(7, 20), (3, 9)] {
        between("masked", [2, 3, 4, 5], |g, x| {
            let table = g.table(&name("queries"), &[7, 6], [1, 7]);
            let row = g.join(table, x, &name("row"));
            let small = g.resize_to(x, [pixels / 3, 3], Filter::BILINEAR, &name("small"));
            let masked = if pixels == 20 { x } else { small };
            let chosen = g.part(table, 0, queries, &name("chosen"));
            let mask = g.product(masked, chosen, &name("mask"));
            let y = g.masked_attention([row, row, row], mask, 2, &name("attention"));
            g.part_like(y, 7, &[], x, &name("map"))
        });
    }
}

#[test]
fn attention_by_places() {
    between("turned", [2, 3, 4, 5], |g, x| {
        let wide = g.linear(x, &name("wide"), 16);
        let table = g.table(&name("queries"), &[3, 16], [1, 3]);
        let row = g.join(table, wide, &name("row"));
        let turned = g.rotary(row, wide, 2, 100.0, &name("turned"));
        g.part_like(turned, 3, &[], wide, &name("map"))
    });
    between("waves", [2, 3, 4, 5], |g, x| {
        let wide = g.linear(x, &name("wide"), 16);
        let waves = g.sine_positions(wide, 16, &name("waves"));
        g.add(wide, waves, &name("sum"))
    });
    between("points of two maps", [2, 3, 6, 5], |g, x| {
        let small = g.conv(x, &name("small"), Conv2d::square(3, 6).stride(2));
        let row = g.join(small, x, &name("row"));
        let offsets = g.linear(row, &name("offsets"), 2 * 2 * 2 * 2);
        let logits = g.linear(row, &name("logits"), 2 * 2 * 2);
        let maps = [row, offsets, logits];
        let y = g.deformable_attention(maps, &[small, x], 2, 2, &name("attention"));
        g.part_like(y, 0, &[small], x, &name("map"))
    });
}

#[test]
fn a_module_that_is_called_twice_has_one_gradient() {
    between("twice", [2, 3, 4, 5], |g, x| {
        let once = |g: &mut Builder, x| {
            g.sharing(|g| {
                let y = g.linear(x, &name("shared"), 6);
                g.layer_norm(y, &name("norm"), 1e-5)
            })
        };
        let y = once(g, x);
        once(g, y)
    });
}
