//! The devices there are.

use burn::tensor::Device;

use super::OpenError;

/// Which device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// This machine's processor, by Burn's operations.
    Flex,
    /// An NVIDIA GPU, counted from 0; needs the feature `cuda`.
    Cuda(usize),
    /// A GPU through Vulkan, Metal or DirectX: the one that the system prefers, or one counted from 0; needs the
    /// feature `wgpu`.
    Wgpu(Option<usize>),
}

/// A device that is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    pub(crate) device: Device,
}

impl Place {
    /// Finds it.
    ///
    /// # Errors
    /// A device that this build has no code for, or that this machine does not have.
    pub fn open(kind: Kind) -> Result<Self, OpenError> {
        let device = match kind {
            Kind::Flex => Device::flex(),
            Kind::Cuda(index) => cuda(index)?,
            Kind::Wgpu(index) => wgpu(index)?,
        };
        Ok(Self { device })
    }

    /// Whether values lie in this machine's memory and are computed on its threads.
    pub(crate) fn is_this_processor(&self) -> bool {
        self.device == Device::flex()
    }
}

#[cfg(feature = "cuda")]
fn cuda(index: usize) -> Result<Device, OpenError> {
    found(index, burn::tensor::DeviceType::Cuda)
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: usize) -> Result<Device, OpenError> {
    Err(OpenError::NotBuilt)
}

#[cfg(feature = "wgpu")]
fn wgpu(index: Option<usize>) -> Result<Device, OpenError> {
    use burn::tensor::{DeviceKind, DeviceType};

    let first = found(index.unwrap_or(0), DeviceType::Wgpu)?;
    Ok(match index {
        Some(_) => first,
        None => Device::wgpu(DeviceKind::DefaultDevice),
    })
}

#[cfg(not(feature = "wgpu"))]
fn wgpu(_: Option<usize>) -> Result<Device, OpenError> {
    Err(OpenError::NotBuilt)
}

/// One of the devices that this machine has: a driver's library panics where one is asked for that is not.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
fn found(index: usize, kind: burn::tensor::DeviceType) -> Result<Device, OpenError> {
    let all = Device::enumerate(kind);
    let found = all.len();
    let chosen = all.get(index).cloned();
    chosen.ok_or(OpenError::NoDevice { found })
}
