//! Low-precision maps and convolutions, called wrongly: two engines, other elements, too small a halo, memory that is
//! too short or begins beside a cache line.

use std::collections::BTreeSet;
use std::path::Path;

use segmenta_kernels::low::{
    ConvElements, Element, Engine, LowConvolution, LowKernel, LowLayout, LowMap, LowMapMut,
    Quantisation, add, apply, avg_pool, copy, extract, max_pool, resize_bilinear, resize_nearest,
    scale,
};
use segmenta_kernels::{Activation, Buffer, ConvSpec, Isa, MapShape, PoolWindow, as_bytes_mut};

use super::entries::{FEWER, LAST, SHAPE, SPEC, map, map_mut};
use super::{assert_refused, functions_in};

const U8: Element = Element::U8(Quantisation {
    scale: 0.1,
    zero_point: 3,
});
const OTHER_SCALE: Element = Element::U8(Quantisation {
    scale: 0.2,
    zero_point: 3,
});
const ONE_PIXEL: MapShape = MapShape {
    height: 1,
    width: 1,
    ..SHAPE
};
const HALF: MapShape = MapShape {
    height: 2,
    width: 3,
    ..SHAPE
};
fn layout(shape: MapShape, element: Element) -> LowLayout {
    LowLayout::new(shape, element, [1, 1])
}

fn memory(layout: &LowLayout) -> &'static mut [u8] {
    let buffer = Box::leak(Box::new(Buffer::zeros(layout.bytes() / 4)));
    as_bytes_mut(buffer)
}

fn low_of(engine: Engine, shape: MapShape, element: Element) -> LowMap<'static> {
    let layout = layout(shape, element);
    LowMap::new(engine, layout, memory(&layout))
}

fn low(engine: Engine, shape: MapShape) -> LowMap<'static> {
    low_of(engine, shape, U8)
}

fn low_mut(engine: Engine, shape: MapShape) -> LowMapMut<'static> {
    let layout = layout(shape, U8);
    LowMapMut::new(engine, layout, memory(&layout))
}

fn elements(output: Option<Element>, residual: Option<Element>) -> ConvElements {
    ConvElements {
        input: U8,
        output,
        residual,
    }
}

fn convolution(engine: Engine, spec: ConvSpec, elements: ConvElements) -> LowConvolution {
    let kernel = LowKernel::Int8 {
        weights: &vec![1; spec.weights_len()],
        scales: &vec![0.1; spec.out_channels],
        bias: &[],
    };
    LowConvolution::new(engine, spec, kernel, elements, Activation::None)
}

/// A call with the engine of each map and of packed weights.
type Entry = (&'static str, usize, fn(&[Engine]));

const ENTRIES: &[Entry] = &[
    ("run", 4, |e| {
        let conv = convolution(e[0], SPEC, elements(Some(U8), Some(U8)));
        conv.run(
            low(e[1], SHAPE),
            &mut low_mut(e[2], SHAPE),
            Some(low(e[3], SHAPE)),
        );
    }),
    ("run_to_f32", 3, |e| {
        let conv = convolution(e[0], SPEC, elements(None, Some(U8)));
        let mut output = map_mut(Isa::fastest(), SHAPE);
        conv.run_to_f32(low(e[1], SHAPE), &mut output, Some(low(e[2], SHAPE)));
    }),
    ("run_to_planes", 3, |e| {
        let conv = convolution(e[0], SPEC, elements(None, Some(U8)));
        let mut output = vec![0.0; SHAPE.batch_len()];
        conv.run_to_planes(low(e[1], SHAPE), &mut output, Some(low(e[2], SHAPE)));
    }),
    ("apply", 2, |e| {
        apply(
            low(e[0], SHAPE),
            Activation::Relu,
            &mut low_mut(e[1], SHAPE),
        );
    }),
    ("add", 3, |e| {
        add(
            low(e[0], SHAPE),
            low(e[1], SHAPE),
            Activation::None,
            &mut low_mut(e[2], SHAPE),
        );
    }),
    ("scale", 2, |e| {
        scale(
            low(e[0], SHAPE),
            map(Isa::fastest(), ONE_PIXEL),
            &mut low_mut(e[1], SHAPE),
        );
    }),
    ("max_pool", 2, |e| {
        max_pool(
            low(e[0], SHAPE),
            PoolWindow::square(2),
            &mut low_mut(e[1], HALF),
        );
    }),
    ("avg_pool", 2, |e| {
        avg_pool(
            low(e[0], SHAPE),
            PoolWindow::square(2),
            true,
            &mut low_mut(e[1], HALF),
        );
    }),
    ("resize_nearest", 2, |e| {
        resize_nearest(low(e[0], HALF), &mut low_mut(e[1], SHAPE));
    }),
    ("resize_bilinear", 2, |e| {
        resize_bilinear(low(e[0], HALF), &mut low_mut(e[1], SHAPE), true);
    }),
    ("copy", 2, |e| {
        copy(low(e[0], FEWER), &mut low_mut(e[1], SHAPE), LAST);
    }),
    ("extract", 2, |e| {
        extract(low(e[0], SHAPE), LAST, &mut low_mut(e[1], FEWER));
    }),
];

/// Entry points in which no second engine can be.
const ONE_MAP: &[&str] = &[
    "adaptive_avg_pool",
    "from_blocked",
    "from_planar",
    "to_blocked",
];

#[test]
fn maps_of_two_engines_are_refused() {
    let all = Engine::available();
    for &(name, count, call) in ENTRIES {
        for &engine in &all {
            call(&vec![engine; count]);
            for &other in all.iter().filter(|&&other| other != engine) {
                for odd in 0..count {
                    let mut engines = vec![engine; count];
                    engines[odd] = other;
                    let what = format!("{name} of {engine} with map {odd} of {other}");
                    assert_refused(&what, "two engines", || call(&engines));
                }
            }
        }
    }
}

#[test]
fn the_table_has_every_low_precision_entry_point() {
    let mut names = BTreeSet::new();
    let low = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/low");
    functions_in(&low, &|_| true, &mut names);
    let known = ENTRIES.iter().map(|(name, ..)| *name);
    let known: BTreeSet<_> = known
        .chain(ONE_MAP.iter().copied())
        .map(str::to_owned)
        .collect();
    assert_eq!(names, known);
}

#[test]
fn other_elements_are_refused() {
    let engine = Engine::fastest();
    let conv = convolution(engine, SPEC, elements(Some(U8), None));
    let because = "elements of another convolution";
    for (input, output, residual) in [
        (OTHER_SCALE, U8, None),
        (Element::Bf16, U8, None),
        (U8, OTHER_SCALE, None),
        (U8, U8, Some(U8)),
    ] {
        assert_refused("a convolution", because, || {
            let to = layout(SHAPE, output);
            conv.run(
                low_of(engine, SHAPE, input),
                &mut LowMapMut::new(engine, to, memory(&to)),
                residual.map(|element| low_of(engine, SHAPE, element)),
            );
        });
    }
    assert_refused("a convolution to f32", because, || {
        conv.run_to_f32(
            low(engine, SHAPE),
            &mut map_mut(Isa::fastest(), SHAPE),
            None,
        );
    });
    let other = low_of(engine, SHAPE, OTHER_SCALE);
    assert_refused("a maximum", "elements", || {
        max_pool(other, PoolWindow::square(2), &mut low_mut(engine, HALF));
    });
    assert_refused("a nearest resize", "elements", || {
        resize_nearest(other, &mut low_mut(engine, SHAPE));
    });
    assert_refused("a copy", "elements", || {
        copy(other, &mut low_mut(engine, SHAPE), 0);
    });
    assert_refused("f32 weights of bytes", "f32 weights", || {
        let kernel = LowKernel::Float {
            weights: &vec![0.0; SPEC.weights_len()],
            bias: &[],
        };
        LowConvolution::new(engine, SPEC, kernel, elements(None, None), Activation::None);
    });
    assert_refused("signed bytes", "no kernel", || {
        let input = Element::I8(Quantisation {
            scale: 1.0,
            zero_point: 0,
        });
        let elements = ConvElements {
            input,
            ..elements(None, None)
        };
        convolution(engine, SPEC, elements);
    });
    assert_refused("a scale of 0", "no quantisation", || {
        let element = Element::U8(Quantisation {
            scale: 0.0,
            zero_point: 0,
        });
        layout(SHAPE, element);
    });
}

#[test]
fn what_does_not_fit_is_refused() {
    let engine = Engine::fastest();
    let conv = convolution(engine, SPEC, elements(Some(U8), None));
    assert_refused("a map without a halo", "a halo of", || {
        let bare = LowLayout::new(SHAPE, U8, [1, 0]);
        let input = LowMap::new(engine, bare, memory(&bare));
        conv.run(input, &mut low_mut(engine, SHAPE), None);
    });
    assert_refused("a wrong output", "output of", || {
        conv.run(low(engine, SHAPE), &mut low_mut(engine, HALF), None);
    });
    assert_refused("a part with other pixels", "channels of a pixel", || {
        let whole = layout(
            MapShape {
                channels: 64 + SHAPE.channels,
                ..SHAPE
            },
            U8,
        );
        let (at, part) = whole.part(64, SHAPE.channels).expect("a part");
        let input = LowMap::new(engine, part, &memory(&whole)[at..]);
        conv.run(input, &mut low_mut(engine, SHAPE), None);
    });
    let layout = layout(SHAPE, U8);
    let bytes = memory(&layout);
    assert_refused("a short slice", "in a slice of", || {
        _ = LowMap::new(engine, layout, &bytes[..layout.bytes() - 64]);
    });
    assert_refused(
        "memory beside a cache line",
        "begin with a cache line",
        || {
            let fewer = self::layout(HALF, U8);
            _ = LowMap::new(engine, fewer, &bytes[4..]);
        },
    );
    let side = 1_usize << (usize::BITS / 2 - 1);
    for (shape, halo) in [
        (MapShape::new(4, 1, side, side), [0, 0]),
        (MapShape::new(1, 1, 4, 4), [usize::MAX / 2, 1]),
        (MapShape::new(1, 1, 4, 4), [1, usize::MAX - 2]),
        (MapShape::new(1 << 40, 1 << 20, 4, 4), [0, 0]),
    ] {
        assert_refused("a map that wraps around", "more values than memory", || {
            LowLayout::new(shape, U8, halo);
        });
    }
    assert_refused("a map without values", "without values", || {
        LowLayout::new(MapShape::new(1, 0, 4, 4), U8, [0, 0]);
    });
    for first in [usize::MAX, 14] {
        assert_refused("a copy", "more of", || {
            copy(low(engine, FEWER), &mut low_mut(engine, SHAPE), first);
        });
        assert_refused("a part", "more of", || {
            extract(low(engine, SHAPE), first, &mut low_mut(engine, FEWER));
        });
    }
    assert_refused("groups", "no kernel", || {
        let spec = ConvSpec { groups: 2, ..SPEC };
        convolution(engine, spec, elements(None, None));
    });
}
