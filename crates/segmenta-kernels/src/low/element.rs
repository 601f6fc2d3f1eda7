//! What a value of a low-precision map is.

/// How 8-bit numbers stand for real ones: `real = scale · (stored − zero_point)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantisation {
    /// The real distance of two neighbouring numbers; above 0.
    pub scale: f32,
    /// What stands for 0: one of the numbers that there are, so that padding is exact.
    pub zero_point: i32,
}

/// A value of a low-precision map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Element {
    /// The upper half of an f32.
    Bf16,
    /// 0 to 255. What is multiplied by weights: a signed map is this one with a zero point of 128 more.
    U8(Quantisation),
    /// −128 to 127.
    I8(Quantisation),
}

impl Element {
    /// Bytes of one value.
    pub fn bytes(self) -> usize {
        match self {
            Self::Bf16 => 2,
            Self::U8(_) | Self::I8(_) => 1,
        }
    }

    /// How its numbers are read; bf16 numbers are what they are.
    pub(crate) fn quantisation(self) -> Quantisation {
        match self {
            Self::Bf16 => Quantisation {
                scale: 1.0,
                zero_point: 0,
            },
            Self::U8(quantisation) | Self::I8(quantisation) => quantisation,
        }
    }

    /// The smallest and the largest number stored, if it is a whole one.
    pub(crate) fn range(self) -> Option<[f32; 2]> {
        match self {
            Self::Bf16 => None,
            Self::U8(_) => Some([0.0, 255.0]),
            Self::I8(_) => Some([-128.0, 127.0]),
        }
    }

    /// Every byte of what stands for 0.
    pub(crate) fn zero_byte(self) -> u8 {
        self.quantisation().zero_point as u8
    }

    /// # Panics
    /// If the scale is not a positive number, or the zero point not one that can be stored.
    #[track_caller]
    pub(crate) fn check(self) {
        let Some([low, high]) = self.range() else {
            return;
        };
        let Quantisation { scale, zero_point } = self.quantisation();
        let zero = zero_point as f32;
        assert!(
            scale.is_normal() && scale > 0.0 && (low..=high).contains(&zero),
            "no quantisation: {self:?}"
        );
    }
}

/// The nearest bf16 number, of two the even one. A NaN stays one, and what is too large becomes infinite.
pub fn bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        // Its upper half alone could be an infinity.
        return (bits >> 16) as u16 | 0x40;
    }
    (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

/// The value of a bf16 number: exact.
pub fn from_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_to_the_nearest_even() {
        for (x, expected) in [
            (1.0, 0x3f80),
            // Half way between two numbers, below and above an odd one.
            (f32::from_bits(0x3f80_8000), 0x3f80),
            (f32::from_bits(0x3f81_8000), 0x3f82),
            (f32::from_bits(0x3f80_8001), 0x3f81),
            (-0.0, 0x8000),
            (f32::MAX, 0x7f80),
            (f32::INFINITY, 0x7f80),
            (f32::NEG_INFINITY, 0xff80),
        ] {
            assert_eq!(bf16(x), expected, "{x}");
        }
        assert!(from_bf16(bf16(f32::from_bits(0x7f80_0001))).is_nan());
        for bits in 0..=u16::MAX {
            let x = from_bf16(bits);
            assert!(bf16(x) == bits || x.is_nan(), "{bits:x}");
        }
    }

    #[test]
    #[should_panic(expected = "no quantisation")]
    fn a_zero_point_that_cannot_be_stored() {
        Element::I8(Quantisation {
            scale: 1.0,
            zero_point: 128,
        })
        .check();
    }
}
