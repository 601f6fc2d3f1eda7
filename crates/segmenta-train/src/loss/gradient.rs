//! A loss and its gradient at once.

use burn::tensor::{Tensor, TensorData};
use segmenta_kernels::{self as kernels, BinaryCrossEntropy, Isa, MapShape};

use super::{BceWithLogits, CrossEntropy, Loss, LossError, LossSpec, PosWeight, Target, Term};
use crate::optim::{Slice, is_slice};

impl LossSpec {
    /// The loss of `logits`, which are without a tape, and `factor` times its gradient. Cross entropies of
    /// logits in this machine's memory are one pass of a kernel, on the current thread's pool; all else goes
    /// through [`LossSpec::forward`].
    ///
    /// # Errors
    /// As [`LossSpec::forward`]; what the device says.
    pub fn value_and_gradient(
        &self,
        isa: Isa,
        logits: &Tensor<4>,
        target: &Target,
        factor: f32,
    ) -> Result<(f32, Tensor<4>), LossError> {
        if logits.dims() != target.shape() {
            return Err(LossError::Shape {
                logits: logits.dims(),
                target: target.shape(),
            });
        }
        self.check(target.mode(), target.classes())?;
        if let [Term { factor: own, loss }] = self.terms()
            && let Some((value, gradient)) = fused(isa, loss, logits, target, factor * own)?
        {
            return Ok((value * own, gradient));
        }
        let device = |e: &dyn std::fmt::Debug| LossError::Device(format!("{e:?}"));
        let tape = logits.clone().autodiff().require_grad();
        let value = self.forward(&tape, target)?;
        let gradient = tape.grad(&(value.clone() * factor).backward());
        let gradient = gradient.unwrap_or_else(|| logits.zeros_like());
        let value = value.detach().inner().try_into_scalar::<f32>();
        Ok((value.map_err(|e| device(&e))?, gradient))
    }
}

/// By a kernel, if there is one.
fn fused(
    isa: Isa,
    loss: &Loss,
    logits: &Tensor<4>,
    target: &Target,
    factor: f32,
) -> Result<Option<(f32, Tensor<4>)>, LossError> {
    let extents = logits.dims();
    let [n, classes, height, width] = extents;
    let shape = MapShape::new(n, classes, height, width);
    let flat = logits.clone().reshape([n * classes * height * width]);
    if !is_slice(&flat) {
        return Ok(None);
    }
    let slice = |tensor| Slice::new(tensor).map_err(LossError::Device);
    let mut gradient = vec![0.0; shape.batch * shape.planar_len()];
    let value = match loss {
        Loss::CrossEntropy(CrossEntropy {
            weight,
            label_smoothing,
        }) => {
            let weights = weight.as_deref().unwrap_or_default();
            let count = |class: usize| f64::from(weights.get(class).copied().unwrap_or(1.0));
            let pixels = target.positives().into_iter().enumerate();
            let whole: f64 = pixels.map(|(class, n)| count(class) * n as f64).sum();
            if whole == 0.0 {
                return Ok(Some((0.0, logits.zeros_like())));
            }
            let definition = kernels::CrossEntropy {
                class_weights: weights,
                ignore_index: target.ignore_index(),
                label_smoothing: *label_smoothing,
            };
            let logits = slice(flat)?;
            let labels = target.values();
            let to = &mut gradient;
            kernels::cross_entropy(isa, definition, logits.get(), shape, labels, factor, to)
                .map_err(|e| LossError::Device(e.to_string()))?
        }
        Loss::BceWithLogits(BceWithLogits { pos_weight }) if target.valid().is_none() => {
            let weights = match pos_weight {
                None => vec![],
                Some(PosWeight::All(weight)) => vec![*weight; classes],
                Some(PosWeight::Each(weights)) => weights.clone(),
            };
            let definition = BinaryCrossEntropy {
                positive_weights: &weights,
            };
            let logits = slice(flat)?;
            let truth = slice(target.one_hot().reshape([gradient.len()]))?;
            let (logits, truth) = (logits.get(), truth.get());
            let to = &mut gradient;
            kernels::binary_cross_entropy(isa, definition, logits, shape, truth, factor, to)
        }
        _ => return Ok(None),
    };
    let gradient = TensorData::new(gradient, extents);
    Ok(Some((value, Tensor::from_data(gradient, &logits.device()))))
}
