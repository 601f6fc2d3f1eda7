//! Where a network learns, as it is named on a command line.

use std::fmt;
use std::str::FromStr;

#[cfg(feature = "flex")]
use segmenta_devices::{Kind, OpenError, Place};

use super::EngineError;

/// Where a network learns: `cpu`, `flex`, `cuda`, `cuda:1`, `wgpu`, `wgpu:1`.
///
/// ```
/// use segmenta_train::engine::DeviceSpec;
/// assert_eq!("cuda:1".parse::<DeviceSpec>()?, DeviceSpec::Cuda(1));
/// assert_eq!(DeviceSpec::Wgpu(None).to_string(), "wgpu");
/// # Ok::<(), segmenta_train::engine::EngineError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeviceSpec {
    /// This machine's processor, by kernels of our own.
    #[default]
    Cpu,
    /// The same processor by Burn's own operations (its backend of that name): many times slower, the same
    /// program as on a GPU, so what GPUs are compared with; needs the feature `flex`.
    Flex,
    /// An NVIDIA GPU, counted from 0; needs the feature `cuda`.
    Cuda(usize),
    /// A GPU through Vulkan, Metal or DirectX: the one that the system prefers, or one counted from 0; needs
    /// the feature `wgpu`.
    Wgpu(Option<usize>),
}

impl DeviceSpec {
    /// The names there are, for messages and help.
    pub const NAMES: &str = "cpu, cuda, cuda:N, wgpu, wgpu:N, flex";

    /// Whether a network can learn there.
    ///
    /// # Errors
    /// A device that this build has no code for, or that this machine does not have.
    pub fn check(self) -> Result<(), EngineError> {
        if self == Self::Cpu {
            return Ok(());
        }
        #[cfg(feature = "flex")]
        if let Some(kind) = self.kind() {
            return self.open(kind).map(|_| ());
        }
        Err(EngineError::NotBuilt {
            device: self,
            feature: self.feature(),
        })
    }

    /// Cargo's feature for it.
    fn feature(self) -> &'static str {
        match self {
            Self::Cpu => "train",
            Self::Flex => "flex",
            Self::Cuda(_) => "cuda",
            Self::Wgpu(_) => "wgpu",
        }
    }

    /// What it is among devices; the processor by our own kernels is none.
    #[cfg(feature = "flex")]
    pub(super) fn kind(self) -> Option<Kind> {
        Some(match self {
            Self::Cpu => return None,
            Self::Flex => Kind::Flex,
            Self::Cuda(index) => Kind::Cuda(index),
            Self::Wgpu(index) => Kind::Wgpu(index),
        })
    }

    #[cfg(feature = "flex")]
    pub(super) fn open(self, kind: Kind) -> Result<Place, EngineError> {
        Place::open(kind).map_err(|error| match error {
            OpenError::NotBuilt => EngineError::NotBuilt {
                device: self,
                feature: self.feature(),
            },
            OpenError::NoDevice { found } => EngineError::NoDevice {
                device: self,
                found,
            },
        })
    }
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Flex => f.write_str("flex"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Wgpu(None) => f.write_str("wgpu"),
            Self::Wgpu(Some(index)) => write!(f, "wgpu:{index}"),
        }
    }
}

impl FromStr for DeviceSpec {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<Self, EngineError> {
        let unknown = || EngineError::UnknownDevice(text.into());
        let (name, index) = match text.split_once(':') {
            Some((name, index)) => (name, Some(index.parse().map_err(|_| unknown())?)),
            None => (text, None),
        };
        match (name, index) {
            ("cpu", None) => Ok(Self::Cpu),
            ("flex", None) => Ok(Self::Flex),
            ("cuda", index) => Ok(Self::Cuda(index.unwrap_or(0))),
            ("wgpu", index) => Ok(Self::Wgpu(index)),
            _ => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for name in ["cpu", "flex", "cuda:0", "cuda:3", "wgpu", "wgpu:2"] {
            assert_eq!(name.parse::<DeviceSpec>().unwrap().to_string(), name);
        }
        assert_eq!("cuda".parse::<DeviceSpec>().unwrap(), DeviceSpec::Cuda(0));
        for wrong in ["", "gpu", "cuda:", "cuda:-1", "cpu:0", "wgpu:x", "CUDA"] {
            let error = wrong.parse::<DeviceSpec>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{wrong}`")), "{error}");
            assert!(error.contains(DeviceSpec::NAMES), "{error}");
        }
    }

    #[test]
    #[cfg(not(any(feature = "cuda", feature = "wgpu")))]
    fn what_is_not_built_in_is_named_with_the_way_to_build_it() {
        assert!(DeviceSpec::Cpu.check().is_ok());
        let mut specs = vec![
            (DeviceSpec::Cuda(1), "cuda"),
            (DeviceSpec::Wgpu(None), "wgpu"),
        ];
        if cfg!(feature = "flex") {
            assert!(DeviceSpec::Flex.check().is_ok());
        } else {
            specs.push((DeviceSpec::Flex, "flex"));
        }
        for (spec, feature) in specs {
            let error = spec.check().unwrap_err().to_string();
            assert!(error.contains(&format!("`{spec}`")), "{error}");
            assert!(error.contains(&format!("--features {feature}")), "{error}");
        }
    }
}
