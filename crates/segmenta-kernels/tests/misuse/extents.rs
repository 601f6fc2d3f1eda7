//! Shapes and windows that a `usize` does not hold, or that have no extent.

use segmenta_kernels::*;

use super::assert_refused;
use super::entries::*;

/// Numbers of values that are 0, or small, when they are taken modulo 2⁶⁴.
#[test]
fn shapes_that_wrap_around_are_refused() {
    let because = "more values than memory has places";
    let isa = Isa::fastest();
    let side = 1_usize << (usize::BITS / 2 - 1);
    let wrapped = MapShape::new(4, 1, side, side);
    assert_refused("a map", because, || _ = Map::whole(isa, wrapped, &[]));
    assert_refused("a map", because, || {
        _ = MapMut::whole(isa, wrapped, &mut []);
    });
    assert_refused("a stride", "values apart", || {
        let one = MapShape::new(2, 1, 1, 1);
        Map::new(isa, one, &[0.0; 64], usize::MAX - 8);
    });
    assert_refused("a planar fit", because, || {
        let small = MapShape::new(4, 1, 1, 1);
        fit_to_planar(map(isa, small), [side, side], &mut []);
    });
    assert_refused("a planar resize", because, || {
        let small = MapShape::new(4, 1, 1, 1);
        resize_bilinear_planar(isa, &[0.0; 4], small, &mut [], [side, side], false);
    });
    assert_refused("a planar resize's gradient", because, || {
        resize_bilinear_planar_gradient(isa, &[0.0; 4], [1, 1], &mut [], wrapped, false);
    });
    assert_refused("a planar softmax", because, || {
        softmax_planar(isa, &[], wrapped, &mut []);
    });
    assert_refused("a cross entropy", because, || {
        let loss = CrossEntropy::default();
        _ = cross_entropy(isa, loss, &[], wrapped, &[], 1.0, &mut []);
    });
    assert_refused("a binary cross entropy", because, || {
        let loss = BinaryCrossEntropy::default();
        binary_cross_entropy(isa, loss, &[], wrapped, &[], 1.0, &mut []);
    });
    for first in [usize::MAX, usize::MAX - 6, 14] {
        let because = "channels side by side";
        assert_refused("a copy", because, || {
            copy(map(isa, FEWER), &mut map_mut(isa, SHAPE), first);
        });
        assert_refused("a place", because, || {
            place(map(isa, FEWER), &mut map_mut(isa, SHAPE), first);
        });
        assert_refused("a part", because, || {
            extract(map(isa, SHAPE), first, &mut map_mut(isa, FEWER));
        });
    }
}

/// Each extent of a window, 0 or so large that it wraps around.
#[test]
fn windows_without_extent_are_refused() {
    let isa = Isa::fastest();
    let huge = usize::MAX / 2 + 1;
    let field: [fn(&mut ConvSpec) -> &mut usize; 8] = [
        |spec| &mut spec.in_channels,
        |spec| &mut spec.out_channels,
        |spec| &mut spec.groups,
        |spec| &mut spec.kernel[0],
        |spec| &mut spec.stride[1],
        |spec| &mut spec.dilation[0],
        |spec| &mut spec.padding[0],
        |spec| &mut spec.padding[1],
    ];
    for (index, field) in field.into_iter().enumerate() {
        let mut spec = SPEC;
        if index < 6 {
            *field(&mut spec) = 0;
            let pack = || _ = Convolution::new(isa, spec, kernel_of(0), Activation::None);
            assert_refused(&format!("{spec:?}"), "is 0", pack);
        }
        if index >= 3 {
            *field(&mut spec) = huge;
            assert!(index == 4 || spec.output(SHAPE).is_none(), "{spec:?}");
        }
    }
    let window = PoolWindow::square(2);
    let wrong = [
        PoolWindow {
            kernel: [2, 0],
            ..window
        },
        PoolWindow {
            stride: [0, 2],
            ..window
        },
        PoolWindow {
            dilation: [0, 1],
            ..window
        },
        PoolWindow {
            padding: [huge, 0],
            ..window
        },
        PoolWindow {
            kernel: [huge, 2],
            dilation: [2, 1],
            ..window
        },
    ];
    for window in wrong {
        for ceil_mode in [false, true] {
            let window = PoolWindow {
                ceil_mode,
                ..window
            };
            assert_eq!(window.output(SHAPE), None, "{window:?}");
        }
    }
    let transposed = TransposedSpec {
        in_channels: 20,
        out_channels: 20,
        kernel: [2, 2],
        stride: [2, 2],
        padding: [0, 0],
        output_padding: [0, 0],
        dilation: [1, 1],
        groups: 1,
    };
    for spec in [
        TransposedSpec {
            kernel: [0, 2],
            ..transposed
        },
        TransposedSpec {
            stride: [0, 2],
            ..transposed
        },
        TransposedSpec {
            dilation: [1, 0],
            ..transposed
        },
        TransposedSpec {
            padding: [huge, 0],
            ..transposed
        },
        TransposedSpec {
            output_padding: [huge, 0],
            ..transposed
        },
    ] {
        assert_eq!(spec.output(SHAPE), None, "{spec:?}");
    }
    assert_refused("a stride of 0", "is 0", || {
        let spec = TransposedSpec {
            stride: [2, 0],
            ..transposed
        };
        TransposedConvolution::new(isa, spec, kernel_of(spec.weights_len()), Activation::None);
    });
    assert_refused(
        "weights that wrap around",
        "more weights than memory",
        || {
            _ = ConvSpec {
                kernel: [1 << 32, 1 << 32],
                ..SPEC
            }
            .weights_len();
        },
    );
}
