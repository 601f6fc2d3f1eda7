//! A target, laid on a device.

use burn::tensor::{Device, Int, Tensor, TensorData};
use segmenta_losses::{Mode, Target};

/// A target and what a device has of it.
pub(crate) struct Truth<'a> {
    pub(crate) target: &'a Target,
    values: Values,
    /// 1 where a pixel counts, N×1×H×W (labels) or N×C×H×W (masks); `None` if all count.
    valid: Option<Tensor<4>>,
}

/// Ignored pixels being 0.
enum Values {
    /// N×1×H×W.
    Labels(Tensor<4, Int>),
    /// N×C×H×W of 0 and 1.
    Masks(Tensor<4>),
}

impl<'a> Truth<'a> {
    /// Lays a target on a device, for logits on a tape.
    pub(crate) fn new(target: &'a Target, device: &Device) -> Self {
        let device = &device.clone().autodiff();
        let [images, classes, height, width] = target.shape();
        let is_multiclass = target.mode() == Mode::Multiclass;
        let planes = if is_multiclass { 1 } else { classes };
        let shape = [images, planes, height, width];
        let given = target.values();
        let ignored = target.ignored();
        let kept = given.iter().map(|&value| match value {
            value if Some(value) == ignored => 0,
            value => value,
        });
        let values = if is_multiclass {
            let ids: Vec<i32> = kept.map(i32::from).collect();
            Values::Labels(Tensor::from_data(TensorData::new(ids, shape), device))
        } else {
            let masks: Vec<f32> = kept.map(f32::from).collect();
            Values::Masks(Tensor::from_data(TensorData::new(masks, shape), device))
        };
        let valid = ignored.map(|ignored| {
            let ones = given
                .iter()
                .map(|&value| f32::from(u8::from(value != ignored)));
            let ones: Vec<f32> = ones.collect();
            Tensor::from_data(TensorData::new(ones, shape), device)
        });
        Self {
            target,
            values,
            valid,
        }
    }

    /// The labels as N×1×H×W, ignored ones being 0; `None` for masks.
    pub(crate) fn ids(&self) -> Option<Tensor<4, Int>> {
        match &self.values {
            Values::Labels(ids) => Some(ids.clone()),
            Values::Masks(_) => None,
        }
    }

    /// `x`, 0 where a pixel does not count. `x` is N×C×H×W, or N×1×H×W for labels.
    pub(crate) fn only_valid(&self, x: Tensor<4>) -> Tensor<4> {
        match &self.valid {
            Some(valid) => x * valid.clone(),
            None => x,
        }
    }

    /// 1 where a pixel is of a class, 0 elsewhere and where it does not count: N×C×H×W.
    pub(crate) fn one_hot(&self) -> Tensor<4> {
        match &self.values {
            Values::Masks(masks) => masks.clone(),
            Values::Labels(ids) => {
                let shape = self.target.shape();
                let classes = shape[1];
                let range = Tensor::<1, Int>::arange(0..classes as i64, &ids.device());
                let range = range.reshape([1, classes, 1, 1]).expand(shape);
                let hot = ids.clone().expand(shape).equal(range).float();
                self.only_valid(hot)
            }
        }
    }
}
