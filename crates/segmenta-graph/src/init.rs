//! What parameters are before training, as the libraries draw them.

use crate::parameter::Role;

/// How one parameter is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// One value everywhere.
    Constant(f32),
    /// Uniform between `-bound` and `bound`.
    Uniform {
        /// The largest absolute value.
        bound: f32,
    },
    /// Normal around zero.
    Normal {
        /// Standard deviation.
        std: f32,
    },
    /// A kernel `[in, out, height, width]` with which a transposed convolution interpolates linearly:
    /// channel `c` of what comes out is channel `c` of what came in (Long et al. 2015). With the factor
    /// `f = ⌈k / 2⌉` of a side of `k` and its centre `f − 1` (odd `k`) or `f − ½`, tap `i` weighs
    /// `1 − |i − centre| / f`.
    Bilinear,
}

/// By which rule kernels and biases are drawn. Fans are PyTorch's: a kernel's second extent times its
/// taps goes in, its first extent times its taps goes out, for transposed convolutions too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum InitRule {
    /// PyTorch's layers by themselves: kernel and bias uniform up to 1/√fan_in.
    #[default]
    PyTorch,
    /// Kernels normal with variance 2/fan_out (He et al. 2015, arXiv:1502.01852), biases zero.
    KaimingNormal,
    /// Kernels normal with variance 2/fan_in (He et al. 2015), biases zero.
    KaimingNormalIn,
    /// What vision transformers are drawn with: matrices normal with a standard deviation of 0.02,
    /// kernels as by [`InitRule::KaimingNormal`], each channel of a depthwise one by itself, biases zero.
    Transformer,
    /// Kernels uniform with variance 2/fan_in (He et al. 2015), biases zero.
    KaimingUniform,
    /// Kernels uniform with variance 2/(fan_in + fan_out) (Glorot and Bengio 2010), biases zero.
    XavierUniform,
    /// Kernels [`Init::Bilinear`], biases zero.
    Bilinear,
}

impl InitRule {
    /// For a parameter of a layer whose kernel has the shape `kernel`.
    pub(crate) fn of(self, role: Role, kernel: &[usize]) -> Init {
        match role {
            Role::Kernel | Role::TransposedKernel | Role::Matrix => self.of_kernel(kernel),
            Role::Bias if self == Self::PyTorch => self.of_kernel(kernel),
            Role::Embedding => Init::Normal { std: 0.02 },
            Role::Scale | Role::RunningVar => Init::Constant(1.0),
            Role::Bias | Role::Shift | Role::RunningMean | Role::Counter => Init::Constant(0.0),
        }
    }

    fn of_kernel(self, kernel: &[usize]) -> Init {
        let taps: usize = kernel[2..].iter().product();
        let fan_in = (kernel[1] * taps) as f32;
        let fan_out = (kernel[0] * taps) as f32;
        let normal = |fan: f32| Init::Normal {
            std: (2.0 / fan).sqrt(),
        };
        match self {
            Self::PyTorch => Init::Uniform {
                bound: 1.0 / fan_in.sqrt(),
            },
            Self::KaimingNormal => normal(fan_out),
            Self::KaimingNormalIn => normal(fan_in),
            Self::Transformer if kernel.len() == 2 => Init::Normal { std: 0.02 },
            Self::Transformer if kernel[1] == 1 => normal(taps as f32),
            Self::Transformer => normal(fan_out),
            Self::KaimingUniform => Init::Uniform {
                bound: (6.0 / fan_in).sqrt(),
            },
            Self::XavierUniform => Init::Uniform {
                bound: (6.0 / (fan_in + fan_out)).sqrt(),
            },
            Self::Bilinear => Init::Bilinear,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fans_are_those_of_pytorch() {
        let kernel = [64, 32, 3, 3];
        let of = |rule: InitRule, role| rule.of(role, &kernel);
        let bound = 1.0 / 288_f32.sqrt();
        assert_eq!(of(InitRule::PyTorch, Role::Kernel), Init::Uniform { bound });
        assert_eq!(of(InitRule::PyTorch, Role::Bias), Init::Uniform { bound });
        let std = (2.0 / 576_f32).sqrt();
        assert_eq!(
            of(InitRule::KaimingNormal, Role::Kernel),
            Init::Normal { std }
        );
        let zero = Init::Constant(0.0);
        assert_eq!(of(InitRule::KaimingNormal, Role::Bias), zero);
        let bound = (6.0 / 864_f32).sqrt();
        let xavier = of(InitRule::XavierUniform, Role::TransposedKernel);
        assert_eq!(xavier, Init::Uniform { bound });
        let matrix = InitRule::XavierUniform.of(Role::Matrix, &[3, 512]);
        let bound = (6.0 / 515_f32).sqrt();
        assert_eq!(matrix, Init::Uniform { bound });
    }
}
