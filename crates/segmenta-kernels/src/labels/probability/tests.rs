use proptest::prelude::*;

use super::*;
use crate::labels::labels;

const ALL: [ToProbability; 6] = [
    ToProbability::Identity,
    ToProbability::Sigmoid,
    ToProbability::Exp,
    ToProbability::Softmax,
    ToProbability::SigmoidOfArtanh,
    ToProbability::SoftmaxOfArtanh,
];

prop_compose! {
    /// A map, a part of it whose edges lie between pixels, and a size.
    fn parts()(classes in 1_usize..6, height in 1_usize..9, width in 1_usize..12)(
        values in prop::collection::vec(-0.99..0.99_f32, classes * height * width),
        edges in [[0.0..1.0_f64, 0.05..1.0], [0.0..1.0, 0.05..1.0]],
        whole in any::<bool>(),
        size in [1_usize..20, 1_usize..20],
        classes in Just(classes), height in Just(height), width in Just(width),
    ) -> (Vec<f32>, [usize; 3], [f64; 4], [usize; 2]) {
        let part = |[start, share]: [f64; 2], side: usize| {
            let start = start * (side as f64 - 0.5);
            [start, (side as f64 - start) * share]
        };
        let [left, columns] = part(edges[0], width);
        let [top, rows] = part(edges[1], height);
        let valid = if whole {
            [0.0, 0.0, width as f64, height as f64]
        } else {
            [left, top, columns, rows]
        };
        (values, [classes, height, width], valid, size)
    }
}

/// Between which pixels output `i` of `to` lies, and how far on the way: in f64, from the definition.
fn sample(start: f64, extent: f64, side: usize, to: usize, i: usize) -> (usize, usize, f64) {
    let (first, end) = (start.floor(), (start + extent).ceil().min(side as f64));
    let position = start + (i as f64 + 0.5) * extent / to as f64 - 0.5;
    let position = position.clamp(first, end - 1.0);
    let low = position.floor();
    (
        low as usize,
        (low + 1.0).min(end - 1.0) as usize,
        position - low,
    )
}

/// Every class at every pixel, in f64.
fn plain(
    values: &[f32],
    [classes, height, width]: [usize; 3],
    valid: [f64; 4],
    size: [usize; 2],
) -> Vec<f64> {
    let mut all = Vec::new();
    for class in 0..classes {
        let at = |y: usize, x: usize| f64::from(values[(class * height + y) * width + x]);
        for y in 0..size[0] {
            let (y0, y1, down) = sample(valid[1], valid[3], height, size[0], y);
            for x in 0..size[1] {
                let (x0, x1, across) = sample(valid[0], valid[2], width, size[1], x);
                let row = |y: usize| at(y, x0) * (1.0 - across) + at(y, x1) * across;
                all.push(row(y0) * (1.0 - down) + row(y1) * down);
            }
        }
    }
    all
}

/// The probabilities of all ids at one pixel, in f64.
fn ids_of(values: &[f64], how: ToProbability) -> Vec<f64> {
    let logit = |v: &f64| match how {
        ToProbability::SigmoidOfArtanh | ToProbability::SoftmaxOfArtanh => v.atanh(),
        _ => *v,
    };
    let logits: Vec<f64> = values.iter().map(logit).collect();
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let alone = |x: f64| match how {
        ToProbability::Identity => x,
        ToProbability::Exp => x.exp(),
        _ => sigmoid(x),
    };
    if let [one] = logits[..] {
        return vec![1.0 - alone(one), alone(one)];
    }
    if how.is_over_classes() {
        let sum: f64 = logits.iter().map(|x| x.exp()).sum();
        return logits.iter().map(|x| x.exp() / sum).collect();
    }
    logits.into_iter().map(alone).collect()
}

proptest! {
    #![proptest_config(segmenta_properties::cases(256))]

    #[test]
    fn labels_and_probabilities_are_those_of_the_definition(
        (values, extents, valid, size) in parts(), threshold in -0.5..0.5_f32,
    ) {
        let [classes, height, width] = extents;
        let pixels = size[0] * size[1];
        let expected = plain(&values, extents, valid, size);
        let logits = Logits { values: &values, classes, height, width, valid, threshold };
        for isa in Isa::available() {
            let mut scores = vec![0.0; classes * pixels];
            class_scores(isa, logits, size, &mut scores);
            for (got, expected) in scores.iter().zip(&expected) {
                prop_assert!((f64::from(*got) - expected).abs() < 1e-5, "{isa}: {got}, {expected}");
            }
            let mut ids = vec![0; pixels];
            labels(isa, logits, size, &mut ids);
            for how in ALL {
                let ids_count = classes.max(2);
                let got = label_probabilities(isa, scores.clone(), classes, how);
                prop_assert_eq!(got.len(), ids_count * pixels);
                let mut winner = vec![0.0; pixels];
                winning_probability(isa, logits, how, size, &mut winner);
                for pixel in 0..pixels {
                    let all: Vec<f64> = (0..classes).map(|c| expected[c * pixels + pixel]).collect();
                    for (id, expected) in ids_of(&all, how).into_iter().enumerate() {
                        let got = f64::from(got[id * pixels + pixel]);
                        prop_assert!((got - expected).abs() < 1e-4, "{isa} {how:?}: {got}, {expected}");
                    }
                    let of_label = got[usize::from(ids[pixel]) * pixels + pixel];
                    prop_assert!((winner[pixel] - of_label).abs() < 1e-4, "{isa} {how:?}");
                }
                // The label is the largest value's, or, of one class, the threshold's, but for rounding.
                for (pixel, &id) in ids.iter().enumerate() {
                    let value = |class: usize| expected[class * pixels + pixel];
                    let is_right = match classes {
                        1 => (value(0) - f64::from(threshold)).abs() < 1e-5
                            || (value(0) > f64::from(threshold)) == (id == 1),
                        _ => (0..classes).all(|c| value(c) <= value(usize::from(id)) + 1e-5),
                    };
                    prop_assert!(is_right, "{isa}, pixel {pixel}: {id}");
                }
            }
        }
    }
}

#[test]
fn scores_of_queries_are_shares_and_alone_at_most_one() {
    let three = label_probabilities(Isa::fastest(), vec![1.5, 0.5, 2.0], 3, ToProbability::Share);
    for (got, expected) in three.iter().zip([0.375, 0.125, 0.5]) {
        assert!((got - expected).abs() < 1e-6, "{three:?}");
    }
    let alone = |value| label_probabilities(Isa::fastest(), vec![value], 1, ToProbability::Share);
    assert_eq!(alone(0.25), [0.75, 0.25]);
    assert_eq!(alone(1.5), [0.0, 1.0]);
}

#[test]
fn what_is_rounded_to_one_stays_a_number() {
    for how in ALL {
        for value in [-1.0, 1.0] {
            let both = label_probabilities(Isa::fastest(), vec![value], 1, how);
            assert!(both.iter().all(|p| p.is_finite()), "{how:?}: {both:?}");
        }
        let three = label_probabilities(Isa::fastest(), vec![1.0, 1.0, -1.0], 3, how);
        assert!(three.iter().all(|p| p.is_finite()), "{how:?}: {three:?}");
    }
    let [yes, no] = ToProbability::Sigmoid.alone(80.0);
    assert!(
        yes == 1.0 && no > 0.0 && no < 1e-30,
        "{no}: without cancellation"
    );
}
