//! Steps of optimisers: the rules of `segmenta_kernels::optim`, as operations on numbers of one device.

use burn::tensor::Tensor;
use segmenta_kernels::optim::{AdamStep, MomentumStep, RmsPropStep, SgdStep, Take};

use super::Numbers;

/// The gradient, scaled and clamped.
fn taken(gradient: &Numbers, take: Take) -> Tensor<1> {
    let mut g = gradient.0.clone();
    if take.scale != 1.0 {
        g = g * take.scale;
    }
    if take.limit.is_finite() {
        g = g.clamp(-take.limit, take.limit);
    }
    g
}

fn decayed(g: Tensor<1>, x: &Tensor<1>, decay: f32) -> Tensor<1> {
    match decay {
        0.0 => g,
        decay => g + x.clone() * decay,
    }
}

fn lerp(a: Tensor<1>, b: &Tensor<1>, weight: f32) -> Tensor<1> {
    let way = b.clone() - a.clone();
    a + way * weight
}

impl Numbers {
    /// A step of SGD without momentum.
    pub fn sgd_step(&mut self, rule: SgdStep, take: Take, gradient: &Self) {
        let g = taken(gradient, take);
        self.0.inplace(|x| {
            let g = decayed(g, &x, rule.weight_decay);
            x - g * rule.lr
        });
    }

    /// A step of SGD with momentum.
    pub fn momentum_step(
        &mut self,
        rule: MomentumStep,
        take: Take,
        gradient: &Self,
        buffer: &mut Self,
    ) {
        let g = taken(gradient, take);
        self.0.inplace(|x| {
            let g = decayed(g, &x, rule.weight_decay);
            buffer
                .0
                .inplace(|buffer| buffer * rule.momentum + g.clone() * rule.enter);
            let step = if rule.nesterov {
                g + buffer.0.clone() * rule.momentum
            } else {
                buffer.0.clone()
            };
            x - step * rule.lr
        });
    }

    /// A step of Adam or AdamW. State: mean and mean square.
    pub fn adam_step(
        &mut self,
        rule: AdamStep,
        take: Take,
        gradient: &Self,
        [mean, square]: [&mut Self; 2],
    ) {
        let g = taken(gradient, take);
        self.0.inplace(|x| {
            let x = x * rule.shrink;
            let g = decayed(g, &x, rule.weight_decay);
            mean.0.inplace(|mean| lerp(mean, &g, 1.0 - rule.betas[0]));
            square
                .0
                .inplace(|square| square * rule.betas[1] + g.clone() * g * (1.0 - rule.betas[1]));
            let root = square.0.clone().sqrt() / rule.corrections[1] + rule.eps;
            x - mean.0.clone() / root * (rule.lr / rule.corrections[0])
        });
    }

    /// A step of RMSprop. State: mean square, then the momentum buffer and the mean, where there are any.
    pub fn rmsprop_step(
        &mut self,
        rule: RmsPropStep,
        take: Take,
        gradient: &Self,
        square: &mut Self,
        buffer: Option<&mut Self>,
        mean: Option<&mut Self>,
    ) {
        let g = taken(gradient, take);
        self.0.inplace(|x| {
            let g = decayed(g, &x, rule.weight_decay);
            square
                .0
                .inplace(|square| square * rule.alpha + g.clone() * g.clone() * (1.0 - rule.alpha));
            let variance = match mean {
                Some(mean) => {
                    mean.0.inplace(|mean| lerp(mean, &g, 1.0 - rule.alpha));
                    square.0.clone() - mean.0.clone() * mean.0.clone()
                }
                None => square.0.clone(),
            };
            let step = g / (variance.sqrt() + rule.eps);
            let step = match buffer {
                Some(buffer) => {
                    buffer.0.inplace(|buffer| buffer * rule.momentum + step);
                    buffer.0.clone()
                }
                None => step,
            };
            x - step * rule.lr
        });
    }
}
