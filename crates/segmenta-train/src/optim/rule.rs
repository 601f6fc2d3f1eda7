//! One parameter's step: settings made numbers, and the two ways to apply them.

use burn::tensor::Tensor;
use segmenta_kernels::Isa;
use segmenta_kernels::optim::{
    AdamStep, MomentumStep, RmsPropStep, SgdStep, Take, adam_step, momentum_step, rmsprop_step,
    sgd_step,
};

use super::cpu::Slice;
use super::{Adam, AdamW, Algorithm};

/// What is done to one parameter in one step.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rule {
    Sgd(SgdStep),
    Momentum(MomentumStep),
    Adam(AdamStep),
    RmsProp {
        step: RmsPropStep,
        momentum: bool,
        centered: bool,
    },
}

impl Rule {
    /// `step` counts from 1 on; learning rate and weight decay are those of the parameter's group.
    pub(crate) fn new(algorithm: &Algorithm, lr: f64, weight_decay: f64, step: u64) -> Self {
        let adam = |betas: [f64; 2], eps: f64, weight_decay: f64, shrink: f64| {
            let corrections = betas.map(|beta| 1.0 - beta.powf(step as f64));
            Self::Adam(AdamStep {
                lr: lr as f32,
                betas: betas.map(|beta| beta as f32),
                eps: eps as f32,
                weight_decay: weight_decay as f32,
                shrink: shrink as f32,
                corrections: [corrections[0] as f32, corrections[1].sqrt() as f32],
            })
        };
        match algorithm {
            Algorithm::Sgd(settings) if settings.momentum == 0.0 => Self::Sgd(SgdStep {
                lr: lr as f32,
                weight_decay: weight_decay as f32,
            }),
            Algorithm::Sgd(settings) => Self::Momentum(MomentumStep {
                lr: lr as f32,
                weight_decay: weight_decay as f32,
                momentum: settings.momentum as f32,
                // The first gradient enters in full: the buffer has nothing to keep yet.
                enter: if step == 1 {
                    1.0
                } else {
                    1.0 - settings.dampening as f32
                },
                nesterov: settings.nesterov,
            }),
            Algorithm::Adam(Adam { betas, eps, .. }) => adam(*betas, *eps, weight_decay, 1.0),
            Algorithm::AdamW(AdamW { betas, eps, .. }) => {
                adam(*betas, *eps, 0.0, 1.0 - lr * weight_decay)
            }
            Algorithm::RmsProp(settings) => Self::RmsProp {
                step: RmsPropStep {
                    lr: lr as f32,
                    alpha: settings.alpha as f32,
                    eps: settings.eps as f32,
                    weight_decay: weight_decay as f32,
                    momentum: settings.momentum as f32,
                },
                momentum: settings.momentum != 0.0,
                centered: settings.centered,
            },
        }
    }

    /// In one pass over slices. `state` is in the order of [`Algorithm::state_names`].
    pub(crate) fn on_slices(
        self,
        isa: Isa,
        take: Take,
        gradient: &[f32],
        parameter: &mut [f32],
        state: &mut [Slice],
    ) {
        let mut state = state.iter_mut().map(Slice::get_mut);
        let mut next = || state.next().unwrap_or_default();
        match self {
            Self::Sgd(rule) => sgd_step(isa, rule, take, gradient, parameter),
            Self::Momentum(rule) => momentum_step(isa, rule, take, gradient, parameter, next()),
            Self::Adam(rule) => {
                adam_step(isa, rule, take, gradient, parameter, [next(), next()]);
            }
            Self::RmsProp {
                step,
                momentum,
                centered,
            } => {
                let square = next();
                let buffer = momentum.then(&mut next);
                let mean = centered.then(&mut next);
                rmsprop_step(isa, step, take, gradient, parameter, square, buffer, mean);
            }
        }
    }

    /// By Burn's operations, on any device. Gives the new parameter.
    pub(crate) fn on_tensors(
        self,
        take: Take,
        gradient: Tensor<1>,
        x: Tensor<1>,
        state: &mut [Tensor<1>],
    ) -> Tensor<1> {
        let mut g = gradient;
        if take.scale != 1.0 {
            g = g * take.scale;
        }
        if take.limit.is_finite() {
            g = g.clamp(-take.limit, take.limit);
        }
        let decayed = |g: Tensor<1>, x: &Tensor<1>, decay: f32| match decay {
            0.0 => g,
            decay => g + x.clone() * decay,
        };
        let lerp = |a: Tensor<1>, b: &Tensor<1>, weight: f32| {
            let way = b.clone() - a.clone();
            a + way * weight
        };
        match (self, state) {
            (Self::Momentum(rule), [buffer]) => {
                let g = decayed(g, &x, rule.weight_decay);
                *buffer = buffer.clone() * rule.momentum + g.clone() * rule.enter;
                let step = if rule.nesterov {
                    g + buffer.clone() * rule.momentum
                } else {
                    buffer.clone()
                };
                x - step * rule.lr
            }
            (Self::Adam(rule), [mean, square]) => {
                let x = x * rule.shrink;
                let g = decayed(g, &x, rule.weight_decay);
                *mean = lerp(mean.clone(), &g, 1.0 - rule.betas[0]);
                *square = square.clone() * rule.betas[1] + g.clone() * g * (1.0 - rule.betas[1]);
                let root = square.clone().sqrt() / rule.corrections[1] + rule.eps;
                x - mean.clone() / root * (rule.lr / rule.corrections[0])
            }
            (
                Self::RmsProp {
                    step: rule,
                    momentum,
                    ..
                },
                [square, others @ ..],
            ) => {
                let g = decayed(g, &x, rule.weight_decay);
                *square = square.clone() * rule.alpha + g.clone() * g.clone() * (1.0 - rule.alpha);
                let (buffer, mean) = others.split_at_mut(usize::from(momentum));
                let variance = match mean {
                    [mean, ..] => {
                        *mean = lerp(mean.clone(), &g, 1.0 - rule.alpha);
                        square.clone() - mean.clone() * mean.clone()
                    }
                    [] => square.clone(),
                };
                let step = g / (variance.sqrt() + rule.eps);
                let step = match buffer {
                    [buffer, ..] => {
                        *buffer = buffer.clone() * rule.momentum + step;
                        buffer.clone()
                    }
                    [] => step,
                };
                x - step * rule.lr
            }
            (Self::Sgd(SgdStep { lr, weight_decay }), _) => {
                let g = decayed(g, &x, weight_decay);
                x - g * lr
            }
            // Only a state that does not belong to the rule comes here, and none is made.
            (Self::Momentum(_) | Self::Adam(_) | Self::RmsProp { .. }, _) => x,
        }
    }
}
