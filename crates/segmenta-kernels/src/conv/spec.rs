//! What a convolution is: its extents, and what is asked of them.

use std::fmt::Debug;

use crate::map::MapShape;

/// A convolution's extents; the meaning is PyTorch's `Conv2d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvSpec {
    /// Channels that come in.
    pub in_channels: usize,
    /// Channels that come out.
    pub out_channels: usize,
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Steps down and right.
    pub stride: [usize; 2],
    /// Zeros above and below, left and right.
    pub padding: [usize; 2],
    /// Spread of the taps down and right.
    pub dilation: [usize; 2],
    /// Groups of channels.
    pub groups: usize,
}

impl ConvSpec {
    /// Values of the kernel.
    ///
    /// # Panics
    /// If there are no groups, or it is more than a `usize` holds.
    pub fn weights_len(&self) -> usize {
        kernel_len(
            self.out_channels,
            self.in_channels / self.groups,
            self.kernel,
        )
        .unwrap_or_else(|| panic!("more weights than memory has places: {self:?}"))
    }

    /// The shape that comes out, if there is one: every extent is at least 1 and the window fits.
    pub fn output(&self, input: MapShape) -> Option<MapShape> {
        let side = |size: usize, axis: usize| {
            let reach = reach(self.kernel[axis], self.dilation[axis])?;
            let padded = self.padding[axis].checked_mul(2)?.checked_add(size)?;
            let room = (padded <= LONGEST).then(|| padded.checked_sub(reach))??;
            Some(room.checked_div(self.stride[axis])? + 1)
        };
        let (height, width) = (side(input.height, 0)?, side(input.width, 1)?);
        Some(MapShape::new(input.batch, self.out_channels, height, width))
    }

    /// # Panics
    /// If an extent is 0 or the channels do not divide into the groups.
    pub(crate) fn check(&self) {
        check_extents(
            [self.in_channels, self.out_channels, self.groups],
            [self.kernel, self.stride, self.dilation],
            self,
        );
    }

    pub(crate) fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.in_channels && self.groups == self.out_channels
    }

    /// The taps of the window as offsets down and right from the output pixel's corner.
    pub(super) fn taps(&self) -> Vec<[isize; 2]> {
        let [kh, kw] = self.kernel;
        let tap = |i: usize| {
            let y = i / kw * self.dilation[0];
            let x = i % kw * self.dilation[1];
            [y as isize, x as isize]
        };
        (0..kh * kw).map(tap).collect()
    }
}

/// The longest side of a padded map: offsets of taps, forward and backward, are exact in an `isize`.
pub(super) const LONGEST: usize = isize::MAX as usize / 4;

/// Pixels from a window's first tap to its last, both counted.
pub(crate) fn reach(kernel: usize, dilation: usize) -> Option<usize> {
    let reach = kernel
        .checked_sub(1)?
        .checked_mul(dilation)?
        .checked_add(1)?;
    (dilation > 0 && reach <= LONGEST).then_some(reach)
}

/// Values of a kernel.
pub(super) fn kernel_len(outer: usize, inner: usize, [height, width]: [usize; 2]) -> Option<usize> {
    let plane = height.checked_mul(width)?;
    outer.checked_mul(inner)?.checked_mul(plane)
}

/// # Panics
/// If an extent is 0 or the channels, in and out, do not divide into the groups.
#[track_caller]
pub(super) fn check_extents(
    [ins, outs, groups]: [usize; 3],
    windows: [[usize; 2]; 3],
    spec: &dyn Debug,
) {
    let counts = [ins, outs, groups];
    let mut extents = counts.iter().chain(windows.iter().flatten());
    assert!(
        extents.all(|&extent| extent > 0),
        "an extent of a convolution is 0: {spec:?}"
    );
    assert!(
        ins.is_multiple_of(groups) && outs.is_multiple_of(groups),
        "channels do not divide into groups: {spec:?}"
    );
}
