//! What must hold for any labels.

use proptest::prelude::*;
use segmenta_metrics::{Confusion, Counts, Metric, MetricError, Reduction, Stats, ZeroDivision};

const CLASSES: usize = 5;

/// Truth with some void, and a prediction.
fn labels() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let truth = prop_oneof![9 => 0..CLASSES as u8, 1 => Just(255)];
    prop::collection::vec((truth, 0..CLASSES as u8), 0..300)
        .prop_map(|pairs| pairs.into_iter().unzip())
}

fn counted(truth: &[u8], prediction: &[u8]) -> Confusion {
    let mut confusion = Confusion::new(CLASSES, Some(255)).unwrap();
    confusion.add(truth, prediction).unwrap();
    confusion
}

proptest! {
    #![proptest_config(segmenta_properties::cases(256))]

    #[test]
    fn the_matrix_is_what_a_simple_count_gives((truth, prediction) in labels()) {
        let confusion = counted(&truth, &prediction);
        for t in 0..CLASSES {
            for p in 0..CLASSES {
                let simple = truth.iter().zip(&prediction);
                let simple = simple.filter(|&(&a, &b)| (a as usize, b as usize) == (t, p)).count();
                prop_assert_eq!(confusion.at(t, p), simple as u64);
            }
        }
        let void = truth.iter().filter(|&&t| u32::from(t) == 255).count() as u64;
        prop_assert_eq!((confusion.ignored(), confusion.pixels() + void), (void, truth.len() as u64));
        for class in 0..CLASSES {
            prop_assert_eq!(confusion.counts(class).pixels(), confusion.pixels());
        }
    }

    #[test]
    fn parts_add_up_and_types_agree((truth, prediction) in labels(), cut in 0.0..1.0_f64) {
        let cut = (truth.len() as f64 * cut) as usize;
        let whole = counted(&truth, &prediction);
        let mut parts = counted(&truth[..cut], &prediction[..cut]);
        parts.merge(&counted(&truth[cut..], &prediction[cut..])).unwrap();
        prop_assert_eq!(&parts, &whole);
        let wide = |ids: &[u8]| ids.iter().map(|&id| u32::from(id)).collect::<Vec<_>>();
        let mut same = Confusion::new(CLASSES, Some(255)).unwrap();
        same.add(&wide(&truth), &wide(&prediction)).unwrap();
        prop_assert_eq!(&same, &whole);
        let rows: Vec<u64> = whole.rows().flatten().copied().collect();
        let again = Confusion::from_counts(CLASSES, Some(255), &rows, whole.ignored()).unwrap();
        prop_assert_eq!(again, whole);
        prop_assert!(Confusion::from_counts(CLASSES, None, &rows[1..], 0).is_err());
    }

    #[test]
    fn scores_stay_in_their_range((truth, prediction) in labels()) {
        let confusion = counted(&truth, &prediction);
        let scores = [
            confusion.mean_iou(), confusion.class_accuracy(), confusion.pixel_accuracy(),
            confusion.frequency_weighted_iou(), confusion.mean(Metric::FBeta(0.5)),
        ];
        for score in scores {
            prop_assert!(score.value.is_none_or(|v| (0.0..=1.0).contains(&v)), "{}", score);
        }
        for (iou, dice) in confusion.of_classes(Metric::Iou).iter().zip(confusion.of_classes(Metric::Dice)) {
            prop_assert_eq!(iou.is_some(), dice.is_some());
            if let (Some(iou), Some(dice)) = (iou, dice) {
                prop_assert!((dice - 2.0 * iou / (1.0 + iou)).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn statistics_agree_with_the_matrix((truth, prediction) in labels()) {
        prop_assume!(!truth.is_empty());
        let stats = Stats::multiclass(&truth, &prediction, 1, CLASSES, Some(255)).unwrap();
        let confusion = counted(&truth, &prediction);
        let expected: Vec<Counts> = (0..CLASSES).map(|class| confusion.counts(class)).collect();
        prop_assert_eq!(stats.of_classes(), expected);
        let score = stats.score(Metric::Iou, &Reduction::Macro, ZeroDivision::Absent).unwrap();
        prop_assert_eq!(score.value, confusion.mean_iou().value);
    }

    #[test]
    fn one_mask_is_two_classes(pixels in prop::collection::vec((0..2_u8, 0.0..1.0_f32), 1..200)) {
        let (truth, scores): (Vec<u8>, Vec<f32>) = pixels.into_iter().unzip();
        let found: Vec<u8> = scores.iter().map(|&s| u8::from(s >= 0.5)).collect();
        let stats = Stats::binary(&truth, &scores, 1, 0.5).unwrap();
        let two = Stats::multiclass(&truth, &found, 1, 2, None).unwrap();
        prop_assert_eq!(stats.of_classes()[0], two.of_classes()[1]);
    }

    #[test]
    fn a_wrong_label_is_named_and_nothing_counted(
        (mut truth, mut prediction) in labels(), at in 0..300_usize, in_truth: bool, value in 5..255_u8,
    ) {
        prop_assume!(!truth.is_empty());
        let at = at % truth.len();
        truth[at] = if in_truth { value } else { 0 };
        prediction[at] = if in_truth { 0 } else { value };
        let mut confusion = Confusion::new(CLASSES, Some(255)).unwrap();
        let whose = if in_truth { "truth" } else { "prediction" };
        let error = MetricError::Label { value: value.into(), index: at, whose, classes: CLASSES };
        prop_assert_eq!(confusion.add(&truth, &prediction), Err(error));
        prop_assert_eq!(confusion, Confusion::new(CLASSES, Some(255)).unwrap());
    }
}

#[test]
fn an_absent_class_is_left_out_and_said() {
    let mut confusion = Confusion::new(4, Some(255)).unwrap();
    confusion.add(&[0_u8, 0, 1, 255], &[0, 1, 1, 3]).unwrap();
    let score = confusion.mean_iou();
    assert_eq!(score.value, Some(0.5));
    assert_eq!(
        score.to_string(),
        "0.5000 (IoU from pixels of all images together, mean over classes; 4 classes, n/a and left out: 2, 3; \
         pixels labelled 255 ignored)"
    );
    let nothing = Confusion::new(4, None).unwrap();
    assert_eq!(
        nothing.pixel_accuracy().to_string(),
        "n/a (accuracy over all pixels; 4 classes; no pixel ignored)"
    );
}

#[test]
fn one_class_by_itself() {
    let mut confusion = Confusion::new(2, None).unwrap();
    confusion.add(&[0_u8, 0, 1, 1], &[0, 1, 1, 1]).unwrap();
    assert_eq!(
        confusion.of_class(1, Metric::Dice).to_string(),
        "0.8000 (Dice (F1) of class 1, from pixels of all images together; 2 classes; no pixel ignored)"
    );
}

#[test]
fn absent_classes_in_reductions() {
    let stats = Stats::multiclass(
        &[0_u8, 0, 1, 1, 0, 0, 0, 0],
        &[0, 0, 1, 0, 0, 0, 0, 0],
        2,
        3,
        None,
    )
    .unwrap();
    let score = |reduction, zero| {
        stats
            .score(Metric::Iou, &reduction, zero)
            .unwrap()
            .value
            .unwrap()
    };
    // Image 0: 2/3, 1/2, n/a; image 1: 1, n/a, n/a.
    let each = stats.each(Metric::Iou, ZeroDivision::Absent);
    assert_eq!(
        each,
        [Some(2.0 / 3.0), Some(0.5), None, Some(1.0), None, None]
    );
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
    close(
        score(Reduction::MacroImagewise, ZeroDivision::Absent),
        (2.0 / 3.0 + 0.5 + 1.0) / 3.0,
    );
    close(
        score(Reduction::MacroImagewise, ZeroDivision::Value(1.0)),
        (2.0 / 3.0 + 0.5 + 4.0) / 6.0,
    );
    close(
        score(
            Reduction::Weighted(vec![3.0, 1.0, 9.0]),
            ZeroDivision::Absent,
        ),
        (3.0 * 6.0 / 7.0 + 0.5) / 4.0,
    );
    let weighted = stats.score(
        Metric::Iou,
        &Reduction::Weighted(vec![1.0, 1.0]),
        ZeroDivision::Absent,
    );
    assert!(
        weighted
            .unwrap_err()
            .to_string()
            .contains("2 weights for 3 classes")
    );
}

#[test]
fn what_cannot_be_counted() {
    let message = |error: MetricError| error.to_string();
    let mut confusion = Confusion::new(2, None).unwrap();
    assert!(
        message(confusion.add(&[0_u8], &[0, 1]).unwrap_err())
            .starts_with("1 value of truth, 2 of prediction")
    );
    assert!(
        message(confusion.add(&[255_u8], &[0]).unwrap_err())
            .starts_with("label 255 where classes are 0 to 1")
    );
    assert!(message(Confusion::new(0, None).unwrap_err()).starts_with("0 classes"));
    assert!(
        message(Confusion::new(3, Some(2)).unwrap_err())
            .starts_with("ignore index 2 is a class, where classes are 0 to 2")
    );
    assert!(
        confusion
            .merge(&Confusion::new(2, Some(9)).unwrap())
            .is_err()
    );
    assert!(matches!(
        Stats::binary(&[0, 7], &[0.0; 2], 1, 0.5),
        Err(MetricError::Mask { value: 7, index: 1 })
    ));
    assert!(matches!(
        Stats::binary(&[0; 3], &[0.0; 3], 2, 0.5),
        Err(MetricError::Shape { .. })
    ));
    assert!(matches!(
        Stats::binary(&[0], &[0.0], 1, f32::NAN),
        Err(MetricError::Threshold)
    ));
    let second = Stats::multiclass(&[0_u8, 0, 0, 9], &[0; 4], 2, 2, None).unwrap_err();
    assert!(matches!(
        second,
        MetricError::Label {
            value: 9,
            index: 3,
            ..
        }
    ));
}
