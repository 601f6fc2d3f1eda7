use proptest::prelude::*;

use super::*;
use crate::buffer::Buffer;
use crate::isa::Isa;
use crate::layout::to_planar;
use crate::low::element::{Quantisation, bf16};
use crate::low::engine::Engine;
use crate::low::reference::{Stored, places};
use crate::map::Map;
use crate::reference;
use crate::threads::Threads;

fn elements() -> impl Strategy<Value = Element> {
    let q = |scale, zero_point| Quantisation { scale, zero_point };
    prop_oneof![
        Just(Element::Bf16),
        Just(Element::U8(q(0.02, 100))),
        Just(Element::I8(q(0.03, -7))),
    ]
}

/// Rounding to what is stored, on top of an error of f32 in a value of the magnitude.
fn assert_close(got: f32, element: Element, value: f64, magnitude: f64, what: &str) {
    let (step, nearest) = match element {
        Element::Bf16 => (value.abs() / 256.0, value),
        Element::U8(q) | Element::I8(q) => {
            let [low, high] = element.range().expect("whole numbers").map(f64::from);
            let number = value / f64::from(q.scale) + f64::from(q.zero_point);
            let number = number.clamp(low, high);
            let real = (number - f64::from(q.zero_point)) * f64::from(q.scale);
            (0.5 * f64::from(q.scale), real)
        }
    };
    let bound = step + 2e-6 * magnitude;
    let difference = (f64::from(got) - nearest).abs();
    assert!(
        difference <= bound,
        "{what}: {got}, not {value} ({nearest})"
    );
}

proptest! {
    #![proptest_config(segmenta_properties::cases(64))]

    /// The f32 references on the maps' real values.
    #[test]
    fn pools_and_resizes(
        elements in [elements(), elements()],
        channels in prop_oneof![1_usize..20, 20_usize..140],
        size in [1_usize..12, 1_usize..16],
        to in [1_usize..20, 1_usize..24],
        kernel in 1_usize..4,
        stride in 1_usize..4,
        dilation in 1_usize..3,
        flags in [any::<bool>(), any::<bool>()],
        threads in 1_usize..4,
        seed in 0_u64..1 << 20,
    ) {
        let shape = MapShape::new(1 + (seed % 2) as usize, channels, size[0], size[1]);
        let input = Stored::random(LowLayout::new(shape, elements[0], [1, 0]), seed);
        let planar: Vec<f32> = places(shape).map(|at| input.real(at)).collect();
        let enlarged = MapShape { height: to[0], width: to[1], ..shape };
        let window = PoolWindow {
            stride: [stride; 2],
            padding: [kernel / 2; 2],
            dilation: [dilation; 2],
            ceil_mode: flags[0],
            ..PoolWindow::square(kernel)
        };
        let means = PoolWindow { dilation: [1; 2], ..window };
        for engine in Engine::available() {
            let pool = Threads::new(threads).unwrap();
            let from = || LowMap::new(engine, input.layout, input.bytes());
            let run = |shape, element, work: &(dyn Fn(&mut LowMapMut<'_>) + Sync)| {
                let layout = LowLayout::new(shape, element, [0, 1]);
                let mut stored = Stored::garbage(layout);
                pool.run(|| work(&mut LowMapMut::new(engine, layout, stored.bytes_mut())));
                stored
            };
            if let Some(out) = window.output(shape) {
                let (largest, _) = reference::max_pool_with_indices(window, &planar, shape);
                let got = run(out, elements[0], &|to| max_pool(from(), window, to));
                if dilation == 1 { got.assert_whole("max_pool"); }
                for (at, largest) in places(out).zip(largest) {
                    let smallest = largest == f32::NEG_INFINITY;
                    prop_assert!(smallest || got.real(at) == largest, "{} max at {:?}", engine, at);
                }
            }
            if let Some(out) = means.output(shape) {
                let expected = reference::avg_pool(means, flags[1], &planar, shape);
                let got = run(out, elements[1], &|to| avg_pool(from(), means, flags[1], to));
                got.assert_whole("avg_pool");
                for (at, value) in places(out).zip(expected) {
                    assert_close(got.real(at), elements[1], value.value, value.magnitude, "avg_pool");
                }
            }
            let nearest = reference::resize_nearest(&planar, size, to);
            let got = run(enlarged, elements[0], &|to| resize_nearest(from(), to));
            got.assert_whole("resize_nearest");
            for (at, value) in places(enlarged).zip(nearest) {
                prop_assert_eq!(got.real(at), value, "{} nearest at {:?}", engine, at);
            }
            let bilinear = reference::resize_bilinear(&planar, size, to, flags[0]);
            let got = run(enlarged, elements[1], &|to| resize_bilinear(from(), to, flags[0]));
            got.assert_whole("resize_bilinear");
            for (at, value) in places(enlarged).zip(bilinear) {
                // Positions are computed in f32, too: a share of the map's values.
                assert_close(got.real(at), elements[1], value.value, value.magnitude.max(4.0), "resize_bilinear");
            }
            for isa in Isa::available() {
                let mut memory = Buffer::zeros(enlarged.blocked_len(isa));
                memory.fill(f32::NAN);
                pool.run(|| adaptive_avg_pool(from(), &mut MapMut::whole(isa, enlarged, &mut memory)));
                let mut got = vec![0.0; enlarged.batch_len()];
                to_planar(Map::whole(isa, enlarged, &memory), &mut got);
                let expected = reference::adaptive_avg_pool(&planar, size, to);
                for (got, value) in got.into_iter().zip(expected) {
                    let close = (f64::from(got) - value.value).abs() <= 2e-6 * value.magnitude;
                    prop_assert!(close, "{} means: {} is not {}", engine, got, value.value);
                }
            }
        }
    }
}

#[test]
fn a_nan_is_the_largest() {
    let shape = MapShape::new(1, 40, 4, 4);
    let mut input = Stored::random(LowLayout::new(shape, Element::Bf16, [0, 0]), 3);
    let at = input.layout.at(1, 1) + input.layout.channel(33);
    input.bytes_mut()[at..at + 2].copy_from_slice(&bf16(f32::NAN).to_ne_bytes());
    let to = LowLayout::new(
        MapShape {
            height: 2,
            width: 2,
            ..shape
        },
        Element::Bf16,
        [0, 0],
    );
    for engine in Engine::available() {
        let mut output = Stored::garbage(to);
        let mut view = LowMapMut::new(engine, to, output.bytes_mut());
        max_pool(
            LowMap::new(engine, input.layout, input.bytes()),
            PoolWindow::square(2),
            &mut view,
        );
        for at in places(to.shape()) {
            assert_eq!(
                output.stored(at).is_nan(),
                at == [0, 33, 0, 0],
                "{engine} {at:?}"
            );
        }
    }
}
