//! NaN and infinities are told with the first layer, parameter or input value that has them, and never as a result.

use proptest::prelude::*;
use segmenta_graph::{Graph, Parameter, Role, Shape};
use segmenta_runtime::{Engine, EngineOptions, Isa, RuntimeError, check_input};
use segmenta_zoo::{Options, find};

/// A small network with concatenations, gates and a resized result.
fn network() -> Graph {
    let mut options = Options::new(2);
    for (name, value) in [
        ("encoder_depth", "3"),
        ("decoder_channels", "[16, 8, 8]"),
        ("decoder_attention_type", "scse"),
    ] {
        options.set(name, value).unwrap();
    }
    options.encoder = Some(segmenta_zoo::find_encoder("mobilenet_v2").unwrap());
    find("unet").unwrap().build(&options).unwrap()
}

fn engine(isa: Isa, read: impl Fn(&Parameter) -> Vec<f32> + Sync) -> Result<Engine, RuntimeError> {
    let options = EngineOptions {
        threads: 2,
        isa: Some(isa),
        ..EngineOptions::default()
    };
    Engine::new(network(), &options, |parameter| Ok(read(parameter)))
}

const SHAPE: Shape = Shape {
    batch: 2,
    channels: 3,
    height: 40,
    width: 56,
};

fn input() -> Vec<f32> {
    (0..SHAPE.len()).map(|i| (i % 17) as f32 / 17.0).collect()
}

#[test]
fn weights_that_are_none_are_refused_and_the_first_is_named() {
    let graph = network();
    // The main result needs what its layers read; nothing else is asked for.
    let asked = std::sync::Mutex::new(Vec::new());
    engine(Isa::fastest(), |parameter| {
        asked.lock().unwrap().push(parameter.name.clone());
        parameter.initial(0)
    })
    .unwrap();
    let asked = asked.into_inner().unwrap();
    let mut needed = graph.parameters().iter();
    let mut needed = needed.by_ref().filter(|p| asked.contains(&p.name));
    let (first, second) = (needed.next().unwrap(), needed.next().unwrap());
    let last = needed.next_back().unwrap();
    for (broken, named, others) in [
        (vec![first, last], first, 1),
        (vec![last], last, 0),
        (vec![last, second], second, 1),
    ] {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = engine(Isa::fastest(), |parameter| {
                let mut values = parameter.initial(0);
                if broken.iter().any(|p| p.name == parameter.name) {
                    let middle = values.len() / 2;
                    values[middle] = value;
                }
                values
            });
            let Err(RuntimeError::WeightsNotFinite {
                parameter,
                count,
                of,
                others: got,
            }) = error
            else {
                panic!("{value} in `{}` is refused", named.name);
            };
            assert_eq!((parameter, count), (named.name.clone(), 1));
            assert_eq!((of, got), (named.len(), others));
        }
    }
}

#[test]
fn the_first_layer_that_overflows_is_named() {
    // Finite weights, a variance below zero: the root of it is none.
    let graph = network();
    let variances: Vec<&Parameter> = graph
        .parameters()
        .iter()
        .filter(|p| p.role == Role::RunningVar)
        .collect();
    // Of the encoder's first layer, of one in its middle, of the decoder's last.
    let read = |name: &str| name.starts_with("decoder.") || name.contains("features.0.1");
    let chosen: Vec<&&Parameter> = variances.iter().filter(|p| read(&p.name)).collect();
    for isa in Isa::available() {
        for parameter in [
            chosen[0],
            chosen[chosen.len() / 2],
            chosen[chosen.len() - 1],
        ] {
            let broken = engine(isa, |p| {
                let values = p.initial(0);
                if p.name == parameter.name {
                    return values.iter().map(|_| -1.0).collect();
                }
                values
            });
            let error = broken.unwrap().forward_finite(&input(), SHAPE).unwrap_err();
            let RuntimeError::NotFinite {
                layer,
                result,
                count,
                of,
            } = &error
            else {
                panic!("{error}");
            };
            assert_eq!((result.as_str(), *of), ("out", 2 * 2 * 40 * 56), "{isa}");
            assert!(*count > 0);
            let module = parameter.name.strip_suffix(".running_var").unwrap();
            let block = module.rsplit_once('.').unwrap().0;
            assert!(
                layer.starts_with(block),
                "{isa}: `{module}` makes them, `{layer}` is named"
            );
        }
    }
}

#[test]
fn an_input_that_is_none_is_named() {
    let engine = engine(Isa::fastest(), |p| p.initial(0)).unwrap();
    let mut input = input();
    assert!(engine.forward_finite(&input, SHAPE).is_ok());
    let at = ((3 + 2) * SHAPE.height + 7) * SHAPE.width + 9;
    input[at] = f32::NAN;
    input[at + 1] = f32::INFINITY;
    let error = engine.forward_finite(&input, SHAPE).unwrap_err();
    assert_eq!(
        error.to_string(),
        check_input(&input, SHAPE).unwrap_err().to_string()
    );
    let RuntimeError::InputNotFinite { count, of, first } = error else {
        panic!("{error}");
    };
    assert_eq!((count, of, first), (2, SHAPE.len(), [1, 2, 7, 9]));
    // The plain run gives them as they come.
    let results = engine.forward(&input, SHAPE).unwrap();
    assert!(results[0].data.iter().any(|value| value.is_nan()));
}

proptest! {
    #![proptest_config(segmenta_properties::cases(16))]

    /// Whatever the size: where nothing is broken nothing is said, as memory of earlier runs is not looked at.
    #[test]
    fn nothing_is_said_of_sound_networks(height in 1_usize..70, width in 1_usize..70, batch in 1_usize..3) {
        let shape = Shape::new(batch, 3, height, width);
        let engine = engine(Isa::fastest(), |p| p.initial(0)).unwrap();
        let broken = vec![f32::NAN; SHAPE.len()];
        prop_assert!(engine.forward(&broken, SHAPE).is_ok());
        let input = vec![0.5; shape.len()];
        prop_assert!(engine.forward_finite(&input, shape).is_ok());
    }
}
