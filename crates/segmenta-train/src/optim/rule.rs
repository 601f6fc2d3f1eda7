//! One parameter's step: settings made numbers, and the two ways to apply them.

#[cfg(feature = "flex")]
use segmenta_devices::Numbers;
use segmenta_kernels::Isa;
use segmenta_kernels::optim::{
    AdamStep, MomentumStep, RmsPropStep, SgdStep, Take, adam_step, momentum_step, rmsprop_step,
    sgd_step,
};

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
    pub(crate) fn on_slices<'s>(
        self,
        isa: Isa,
        take: Take,
        gradient: &[f32],
        parameter: &mut [f32],
        mut state: impl Iterator<Item = &'s mut [f32]>,
    ) {
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

    /// By a device's operations. `state` is in the order of [`Algorithm::state_names`].
    #[cfg(feature = "flex")]
    pub(crate) fn on_device<'s>(
        self,
        take: Take,
        gradient: &Numbers,
        parameter: &mut Numbers,
        mut state: impl Iterator<Item = &'s mut Numbers>,
    ) {
        match self {
            Self::Sgd(rule) => parameter.sgd_step(rule, take, gradient),
            Self::Momentum(rule) => {
                let Some(buffer) = state.next() else { return };
                parameter.momentum_step(rule, take, gradient, buffer);
            }
            Self::Adam(rule) => {
                let (Some(mean), Some(square)) = (state.next(), state.next()) else {
                    return;
                };
                parameter.adam_step(rule, take, gradient, [mean, square]);
            }
            Self::RmsProp {
                step,
                momentum,
                centered,
            } => {
                let Some(square) = state.next() else { return };
                let buffer = if momentum { state.next() } else { None };
                let mean = if centered { state.next() } else { None };
                parameter.rmsprop_step(step, take, gradient, square, buffer, mean);
            }
        }
    }
}
