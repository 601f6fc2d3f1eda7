//! Where a network learns, as it is named on a command line.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;

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
    /// program as on a GPU, so what GPUs are compared with.
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

    /// Burn's device.
    ///
    /// # Errors
    /// A device that this build has no code for, or that this machine does not have.
    pub fn device(self) -> Result<Device, EngineError> {
        match self {
            Self::Cpu | Self::Flex => Ok(Device::flex()),
            Self::Cuda(index) => cuda(self, index),
            Self::Wgpu(index) => wgpu(self, index),
        }
    }

    /// Whether values lie in this machine's memory and are computed on its threads.
    pub(super) fn is_this_processor(self) -> bool {
        matches!(self, Self::Cpu | Self::Flex)
    }
}

#[cfg(feature = "cuda")]
fn cuda(spec: DeviceSpec, index: usize) -> Result<Device, EngineError> {
    found(spec, index, burn::tensor::DeviceType::Cuda)
}

#[cfg(not(feature = "cuda"))]
fn cuda(device: DeviceSpec, _: usize) -> Result<Device, EngineError> {
    let feature = "cuda";
    Err(EngineError::NotBuilt { device, feature })
}

#[cfg(feature = "wgpu")]
fn wgpu(spec: DeviceSpec, index: Option<usize>) -> Result<Device, EngineError> {
    use burn::tensor::{DeviceKind, DeviceType};

    let first = found(spec, index.unwrap_or(0), DeviceType::Wgpu)?;
    Ok(match index {
        Some(_) => first,
        None => Device::wgpu(DeviceKind::DefaultDevice),
    })
}

#[cfg(not(feature = "wgpu"))]
fn wgpu(device: DeviceSpec, _: Option<usize>) -> Result<Device, EngineError> {
    let feature = "wgpu";
    Err(EngineError::NotBuilt { device, feature })
}

/// One of the devices that this machine has: a driver's library panics where one is asked for that is not.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
fn found(
    device: DeviceSpec,
    index: usize,
    kind: burn::tensor::DeviceType,
) -> Result<Device, EngineError> {
    let all = Device::enumerate(kind);
    let found = all.len();
    let chosen = all.get(index).cloned();
    chosen.ok_or(EngineError::NoDevice { device, found })
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
        for (spec, feature) in [
            (DeviceSpec::Cuda(1), "cuda"),
            (DeviceSpec::Wgpu(None), "wgpu"),
        ] {
            let error = spec.device().unwrap_err().to_string();
            assert!(error.contains(&format!("`{spec}`")), "{error}");
            assert!(error.contains(&format!("--features {feature}")), "{error}");
        }
    }
}
