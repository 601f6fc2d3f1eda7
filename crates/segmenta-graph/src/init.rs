//! What parameters are before training, as the libraries draw them.

use crate::parameter::{Parameter, Role};

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
            Role::Bias | Role::Shift | Role::RunningMean | Role::Buffer | Role::Counter => {
                Init::Constant(0.0)
            }
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
            Self::KaimingNormalIn => normal(fan_in),
            Self::Transformer if kernel.len() == 2 => Init::Normal { std: 0.02 },
            Self::Transformer if kernel[1] == 1 => normal(taps as f32),
            Self::KaimingNormal | Self::Transformer => normal(fan_out),
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

impl Parameter {
    /// Its values before training. They depend on the seed and on its name alone, so a network that shares a
    /// part with another begins with the same numbers there.
    pub fn initial(&self, seed: u64) -> Vec<f32> {
        let mut random = Random::new(seed, &self.name);
        match self.init {
            Init::Constant(value) => vec![value; self.len()],
            Init::Uniform { bound } => {
                let value = |_| (2.0 * random.unit() - 1.0) as f32 * bound;
                (0..self.len()).map(value).collect()
            }
            Init::Normal { std } => (0..self.len())
                .map(|_| random.normal() as f32 * std)
                .collect(),
            Init::Bilinear => bilinear(&self.shape),
        }
    }
}

/// See [`Init::Bilinear`].
fn bilinear(shape: &[usize]) -> Vec<f32> {
    let [ins, outs, height, width] = shape[..] else {
        unreachable!("a transposed convolution's kernel has four extents")
    };
    let weight = |side: usize, tap: usize| {
        let factor = side.div_ceil(2) as f32;
        let centre = if side % 2 == 1 {
            factor - 1.0
        } else {
            factor - 0.5
        };
        1.0 - (tap as f32 - centre).abs() / factor
    };
    let mut values = vec![0.0; ins * outs * height * width];
    for channel in 0..ins.min(outs) {
        let window = &mut values[(channel * outs + channel) * height * width..][..height * width];
        for (i, value) in window.iter_mut().enumerate() {
            *value = weight(height, i / width) * weight(width, i % width);
        }
    }
    values
}

/// SplitMix64 (Steele, Lea and Flood 2014), begun from a seed and a name.
struct Random(u64);

impl Random {
    fn new(seed: u64, name: &str) -> Self {
        // FNV-1a.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self(hash ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// 0 up to, not including, 1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Standard normal (Box and Muller 1958).
    fn normal(&mut self) -> f64 {
        let (radius, angle) = (1.0 - self.unit(), self.unit());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(name: &str, shape: &[usize], init: Init) -> Parameter {
        Parameter {
            name: name.into(),
            shape: shape.to_vec(),
            role: Role::Kernel,
            init,
        }
    }

    #[test]
    fn draws_have_the_moments_asked_for() {
        let moments = |values: &[f32]| {
            let count = values.len() as f64;
            let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
            let square = |&v: &f32| (f64::from(v) - mean).powi(2);
            (
                mean,
                (values.iter().map(square).sum::<f64>() / count).sqrt(),
            )
        };
        let shape = [64, 64, 3, 3];
        let (mean, std) = moments(&parameter("a", &shape, Init::Normal { std: 0.5 }).initial(1));
        assert!(
            mean.abs() < 0.01 && (std - 0.5).abs() < 0.01,
            "{mean} {std}"
        );
        let uniform = parameter("a", &shape, Init::Uniform { bound: 0.5 });
        let (mean, std) = moments(&uniform.initial(1));
        assert!(mean.abs() < 0.01 && (std - 0.5 / 3_f64.sqrt()).abs() < 0.01);
        assert_eq!(uniform.initial(1), uniform.initial(1));
        assert_ne!(uniform.initial(1), uniform.initial(2));
        let other = parameter("b", &shape, Init::Uniform { bound: 0.5 });
        assert_ne!(uniform.initial(1), other.initial(1));
    }

    #[test]
    fn bilinear_kernels_interpolate() {
        let kernel = parameter("up", &[2, 2, 4, 4], Init::Bilinear).initial(0);
        let row = [0.25, 0.75, 0.75, 0.25];
        let expected: Vec<f32> = (0..16).map(|i| row[i / 4] * row[i % 4]).collect();
        assert_eq!(kernel[..16], expected);
        assert!(kernel[16..48].iter().all(|&v| v == 0.0));
        assert_eq!(kernel[48..], expected);
    }

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
