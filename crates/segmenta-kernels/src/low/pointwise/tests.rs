use proptest::prelude::*;

use super::*;
use crate::buffer::Buffer;
use crate::isa::Isa;
use crate::layout::{blocked, to_planar};
use crate::low::element::{Element, Quantisation, bf16, from_bf16};
use crate::low::engine::Engine;
use crate::low::reference::{Stored, places};
use crate::threads::Threads;

fn elements() -> impl Strategy<Value = Element> {
    let q = |scale, zero_point| Quantisation { scale, zero_point };
    prop_oneof![
        Just(Element::Bf16),
        (1_u8..9, 0_i32..256).prop_map(move |(s, z)| Element::U8(q(f32::from(s) / 64.0, z))),
        (1_u8..9, -128_i32..128).prop_map(move |(s, z)| Element::I8(q(f32::from(s) / 64.0, z))),
    ]
}

/// What is stored for a real number, as a real number.
fn stored(element: Element, x: f32) -> f32 {
    let number = Writing::of(element).number(x);
    match element.range() {
        None => from_bf16(bf16(number)),
        Some([low, high]) => number.clamp(low, high).round_ties_even(),
    }
}

/// The real value by the contract's arithmetic.
fn real(map: &Stored, at: [usize; 4]) -> f32 {
    Reading::of(map.layout.element()).value(map.stored(at))
}

proptest! {
    #![proptest_config(segmenta_properties::cases(64))]

    #[test]
    fn sums_factors_and_conversions(
        elements in [elements(), elements(), elements()],
        channels in prop_oneof![1_usize..20, 20_usize..140],
        size in [1_usize..12, 1_usize..20],
        relu: bool,
        threads in 1_usize..4,
        seed in 0_u64..1 << 20,
    ) {
        let shape = MapShape::new(1 + (seed % 2) as usize, channels, size[0], size[1]);
        let layout = |element, halo| LowLayout::new(shape, element, halo);
        let a = Stored::random(layout(elements[0], [1, 0]), seed);
        let b = Stored::random(layout(elements[1], [0, 2]), seed + 1);
        let activation = if relu { Activation::Relu } else { Activation::None };
        let one = MapShape { height: 1, width: 1, ..shape };
        let planar: Vec<f32> = places(shape).map(|at| real(&a, at)).collect();
        let factors: Vec<f32> = (0..one.batch_len()).map(|i| (i % 7) as f32 / 4.0 - 0.5).collect();
        for engine in Engine::available() {
            let (to, pool) = (layout(elements[2], [2, 1]), Threads::new(threads).unwrap());
            let read = |map: &'static str, stored: &Stored, expected: &dyn Fn([usize; 4]) -> f32| {
                stored.assert_whole(map);
                for at in places(shape) {
                    let (got, expected) = (stored.stored(at), self::stored(elements[2], expected(at)));
                    assert!(got == expected, "{map} by {engine} at {at:?}: {got}, not {expected}");
                }
            };
            let views = |engine| (LowMap::new(engine, a.layout, a.bytes()), LowMap::new(engine, b.layout, b.bytes()));
            let mut sum = Stored::garbage(to);
            pool.run(|| add(views(engine).0, views(engine).1, activation, &mut LowMapMut::new(engine, to, sum.bytes_mut())));
            read("add", &sum, &|at| activation.scalar(real(&a, at) + real(&b, at)));
            let mut applied = Stored::garbage(to);
            pool.run(|| apply(views(engine).0, activation, &mut LowMapMut::new(engine, to, applied.bytes_mut())));
            read("apply", &applied, &|at| activation.scalar(real(&a, at)));
            let mut from = Stored::garbage(to);
            pool.run(|| from_planar(&planar, &mut LowMapMut::new(engine, to, from.bytes_mut())));
            read("from_planar", &from, &|at| real(&a, at));
            for isa in Isa::available() {
                let mut scaled = Stored::garbage(to);
                let blocked_factors = blocked(isa, one, &factors);
                pool.run(|| scale(views(engine).0, Map::whole(isa, one, &blocked_factors), &mut LowMapMut::new(engine, to, scaled.bytes_mut())));
                read("scale", &scaled, &|at| real(&a, at) * factors[at[0] * channels + at[1]]);
                let mut back = Buffer::zeros(shape.blocked_len(isa));
                back.fill(f32::NAN);
                pool.run(|| to_blocked(views(engine).0, &mut MapMut::whole(isa, shape, &mut back)));
                let mut got = vec![0.0; shape.batch_len()];
                to_planar(Map::whole(isa, shape, &back), &mut got);
                prop_assert_eq!(&got, &planar, "to_blocked by {}", engine);
                let mut from = Stored::garbage(to);
                pool.run(|| from_blocked(Map::whole(isa, shape, &back), &mut LowMapMut::new(engine, to, from.bytes_mut())));
                read("from_blocked", &from, &|at| real(&a, at));
            }
        }
    }
}

#[test]
fn nan_and_infinity_reach_bf16() {
    let values = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e38];
    let shape = MapShape::new(1, 1, 2, 2);
    let layout = LowLayout::new(shape, Element::Bf16, [0, 0]);
    for engine in Engine::available() {
        let mut map = Stored::garbage(layout);
        let isa = Isa::fastest();
        let input = blocked(isa, shape, &values);
        from_blocked(
            Map::whole(isa, shape, &input),
            &mut LowMapMut::new(engine, layout, map.bytes_mut()),
        );
        let mut got = Buffer::zeros(shape.blocked_len(isa));
        to_blocked(
            LowMap::new(engine, layout, map.bytes()),
            &mut MapMut::whole(isa, shape, &mut got),
        );
        let mut planar = vec![0.0; 4];
        to_planar(Map::whole(isa, shape, &got), &mut planar);
        assert!(planar[0].is_nan(), "{engine}");
        assert_eq!(planar[1..3], values[1..3], "{engine}");
    }
}
