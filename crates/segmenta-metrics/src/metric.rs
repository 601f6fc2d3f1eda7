//! The formulas.

use std::fmt;

use crate::Counts;

/// A score of one class, computed from its [`Counts`]. Names and definitions are those of
/// segmentation_models_pytorch's `metrics.functional`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Metric {
    /// Intersection over union (Jaccard index): TP / (TP + FP + FN).
    Iou,
    /// Dice coefficient, which is the F1 score: 2 TP / (2 TP + FP + FN).
    Dice,
    /// F-beta: (1 + β²) TP / ((1 + β²) TP + β² FN + FP); β > 1 favours recall.
    FBeta(f64),
    /// Positive predictive value: TP / (TP + FP).
    Precision,
    /// Sensitivity, true positive rate, and the accuracy of one class: TP / (TP + FN).
    Recall,
    /// True negative rate: TN / (TN + FP).
    Specificity,
    /// (TP + TN) / all pixels, the class against the rest.
    Accuracy,
    /// Mean of recall and specificity.
    BalancedAccuracy,
    /// TN / (TN + FN).
    NegativePredictiveValue,
    /// 1 − recall.
    FalseNegativeRate,
    /// 1 − specificity.
    FalsePositiveRate,
    /// 1 − precision.
    FalseDiscoveryRate,
    /// 1 − negative predictive value.
    FalseOmissionRate,
    /// Recall / false positive rate, 0 to ∞.
    PositiveLikelihoodRatio,
    /// False negative rate / specificity, 0 to ∞.
    NegativeLikelihoodRatio,
}

impl Metric {
    /// The score of a class, 0 to 1 (likelihood ratios to ∞); `None` where the formula has nothing to divide,
    /// such as the IoU of a class that neither is nor was found.
    pub fn of(self, counts: Counts) -> Option<f64> {
        let [tp, fp, fn_, tn] = [
            counts.true_positives,
            counts.false_positives,
            counts.false_negatives,
            counts.true_negatives,
        ]
        .map(|count| count as f64);
        let rest = |metric: Self| metric.of(counts).map(|score| 1.0 - score);
        match self {
            Self::Iou => ratio(tp, tp + fp + fn_),
            Self::Dice => Self::FBeta(1.0).of(counts),
            Self::FBeta(beta) => {
                let (beta_tp, beta_fn) = ((1.0 + beta * beta) * tp, beta * beta * fn_);
                ratio(beta_tp, beta_tp + beta_fn + fp)
            }
            Self::Precision => ratio(tp, tp + fp),
            Self::Recall => ratio(tp, tp + fn_),
            Self::Specificity => ratio(tn, tn + fp),
            Self::Accuracy => ratio(tp + tn, tp + fp + fn_ + tn),
            Self::BalancedAccuracy => Some(f64::midpoint(
                Self::Recall.of(counts)?,
                Self::Specificity.of(counts)?,
            )),
            Self::NegativePredictiveValue => ratio(tn, tn + fn_),
            Self::FalseNegativeRate => rest(Self::Recall),
            Self::FalsePositiveRate => rest(Self::Specificity),
            Self::FalseDiscoveryRate => rest(Self::Precision),
            Self::FalseOmissionRate => rest(Self::NegativePredictiveValue),
            Self::PositiveLikelihoodRatio => {
                ratio(Self::Recall.of(counts)?, rest(Self::Specificity)?)
            }
            Self::NegativeLikelihoodRatio => {
                ratio(rest(Self::Recall)?, Self::Specificity.of(counts)?)
            }
        }
    }
}

/// `None` for 0 / 0.
fn ratio(above: f64, below: f64) -> Option<f64> {
    (above != 0.0 || below != 0.0).then(|| above / below)
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Iou => "IoU",
            Self::Dice => "Dice (F1)",
            Self::FBeta(beta) => return write!(f, "F-beta (beta {beta})"),
            Self::Precision => "precision",
            Self::Recall => "recall",
            Self::Specificity => "specificity",
            Self::Accuracy => "accuracy",
            Self::BalancedAccuracy => "balanced accuracy",
            Self::NegativePredictiveValue => "negative predictive value",
            Self::FalseNegativeRate => "false negative rate",
            Self::FalsePositiveRate => "false positive rate",
            Self::FalseDiscoveryRate => "false discovery rate",
            Self::FalseOmissionRate => "false omission rate",
            Self::PositiveLikelihoodRatio => "positive likelihood ratio",
            Self::NegativeLikelihoodRatio => "negative likelihood ratio",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: Counts = Counts {
        true_positives: 6,
        false_positives: 2,
        false_negatives: 4,
        true_negatives: 8,
    };

    #[test]
    fn formulas_by_hand() {
        let expected = [
            (Metric::Iou, 0.5),
            (Metric::Dice, 12.0 / 18.0),
            (Metric::FBeta(2.0), 30.0 / 48.0),
            (Metric::Precision, 0.75),
            (Metric::Recall, 0.6),
            (Metric::Specificity, 0.8),
            (Metric::Accuracy, 0.7),
            (Metric::BalancedAccuracy, 0.7),
            (Metric::NegativePredictiveValue, 8.0 / 12.0),
            (Metric::FalseNegativeRate, 0.4),
            (Metric::FalsePositiveRate, 0.2),
            (Metric::FalseDiscoveryRate, 0.25),
            (Metric::FalseOmissionRate, 4.0 / 12.0),
            (Metric::PositiveLikelihoodRatio, 3.0),
            (Metric::NegativeLikelihoodRatio, 0.5),
        ];
        for (metric, expected) in expected {
            let got = metric.of(SOME).unwrap();
            assert!((got - expected).abs() < 1e-12, "{metric}: {got}");
        }
    }

    #[test]
    fn an_absent_class_has_no_score() {
        let absent = Counts {
            true_negatives: 9,
            ..Counts::default()
        };
        for metric in [
            Metric::Iou,
            Metric::Dice,
            Metric::FBeta(0.5),
            Metric::Precision,
            Metric::Recall,
            Metric::BalancedAccuracy,
            Metric::FalseNegativeRate,
            Metric::FalseDiscoveryRate,
            Metric::PositiveLikelihoodRatio,
        ] {
            assert_eq!(metric.of(absent), None, "{metric}");
        }
        assert_eq!(Metric::Specificity.of(absent), Some(1.0));
        assert_eq!(Metric::Accuracy.of(Counts::default()), None);
    }

    #[test]
    fn a_class_that_is_never_wrongly_found_is_infinitely_likely() {
        let counts = Counts {
            false_positives: 0,
            ..SOME
        };
        assert_eq!(
            Metric::PositiveLikelihoodRatio.of(counts),
            Some(f64::INFINITY)
        );
    }
}
