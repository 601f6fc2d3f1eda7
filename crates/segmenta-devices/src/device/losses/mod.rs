//! Losses by Burn's operations, of logits on a tape: the definitions of `segmenta-losses`, whose settings they read.
//!
//! Only Lovász and hard-example mining read values back, to rank them on the host.

mod bce;
mod cross_entropy;
mod focal;
mod lovasz;
mod mcc;
mod ohem;
mod region;
mod soft_cross_entropy;
mod soft_iou;
mod sums;
mod truth;

use burn::tensor::Tensor;
use segmenta_losses::{Loss, LossSpec, Target, Term};

pub(crate) use truth::Truth;

use super::Numbers;

/// A loss by its settings.
trait OnTape {
    /// The loss of a batch, one value, with the gradient of `logits` (N, C, H, W) behind it. Target and settings have
    /// been checked.
    fn value(&self, logits: Tensor<4>, truth: &Truth<'_>) -> Tensor<1>;
}

/// The loss of logits, `[image][class][row][column]` of the target's shape, and `factor` times its gradient, on the
/// logits' device.
///
/// # Errors
/// What the device says.
pub fn value_and_gradient(
    loss: &LossSpec,
    logits: &Numbers,
    target: &Target,
    factor: f32,
) -> Result<(f32, Numbers), String> {
    let truth = Truth::new(target, &logits.place().device);
    of_logits(loss, logits, &truth, factor)
}

/// As [`value_and_gradient`], for a truth that lies on the device already.
pub(crate) fn of_logits(
    loss: &LossSpec,
    logits: &Numbers,
    truth: &Truth<'_>,
    factor: f32,
) -> Result<(f32, Numbers), String> {
    let shape = truth.target.shape();
    let tape = logits.0.clone().reshape(shape).autodiff().require_grad();
    let mut sum: Option<Tensor<1>> = None;
    for Term { factor, loss } in loss.terms() {
        let mut value = of(loss).value(tape.clone(), truth);
        if *factor != 1.0 {
            value = value * *factor;
        }
        sum = Some(match sum {
            Some(sum) => sum + value,
            None => value,
        });
    }
    let value = sum.ok_or("a sum of no losses")?;
    let gradient = tape.grad(&(value.clone() * factor).backward());
    let gradient = gradient.map_or_else(
        || logits.zeros_like(),
        |gradient| Numbers(gradient.reshape([logits.len()])),
    );
    let value = value.detach().inner().try_into_scalar::<f32>();
    Ok((value.map_err(|e| e.to_string())?, gradient))
}

fn of(loss: &Loss) -> &dyn OnTape {
    match loss {
        Loss::CrossEntropy(loss) => loss,
        Loss::BceWithLogits(loss) => loss,
        Loss::Dice(loss) => loss,
        Loss::Jaccard(loss) => loss,
        Loss::Tversky(loss) => loss,
        Loss::Focal(loss) => loss,
        Loss::Lovasz(loss) => loss,
        Loss::SoftCrossEntropy(loss) => loss,
        Loss::SoftBceWithLogits(loss) => loss,
        Loss::Mcc(loss) => loss,
        Loss::OhemCrossEntropy(loss) => loss,
        Loss::SoftIou(loss) => loss,
    }
}
