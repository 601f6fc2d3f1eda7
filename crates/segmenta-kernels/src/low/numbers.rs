//! A group of a pixel's numbers as a vector, and back: for kernels that compute in f32 between two maps.

use super::element::Element;
use super::layout::LowLayout;
use super::narrow::{GROUP, Narrow};

/// How the numbers of a map are read and written.
#[derive(Clone, Copy)]
pub(crate) struct Numbers {
    element: Element,
    /// Bytes of a pixel that is thinner than a group: none beside them may be touched.
    thin: Option<usize>,
}

impl Numbers {
    pub(crate) fn of(layout: &LowLayout) -> Self {
        let is_thin = layout.block() < GROUP;
        Self {
            element: layout.element(),
            thin: is_thin.then_some(layout.pixel()),
        }
    }

    /// What is stored, as it is stored.
    ///
    /// # Safety
    /// The processor has the instruction set; a group, or a thin pixel, is at `from`.
    #[inline(always)]
    pub(crate) unsafe fn load<S: Narrow>(self, from: *const u8) -> S::V {
        // SAFETY: the caller vouches for the numbers; a thin pixel is copied to where there is room for a group.
        unsafe {
            let mut room = [0; 2 * GROUP];
            let from = match self.thin {
                None => from,
                Some(pixel) => {
                    room.as_mut_ptr().copy_from_nonoverlapping(from, pixel);
                    room.as_ptr()
                }
            };
            match self.element {
                Element::Bf16 => S::load_bf16(from),
                Element::U8(_) => S::load_u8(from),
                Element::I8(_) => S::load_i8(from),
            }
        }
    }

    /// Rounds and stores numbers as they are to be stored; what is beyond the element's range becomes its end.
    ///
    /// # Safety
    /// As for [`Numbers::load`], and no other thread has the numbers.
    #[inline(always)]
    pub(crate) unsafe fn store<S: Narrow>(self, to: *mut u8, v: S::V) {
        // SAFETY: the caller vouches for the place; a thin pixel comes by way of room for a group.
        unsafe {
            let mut room = [0; 2 * GROUP];
            let place = if self.thin.is_some() {
                room.as_mut_ptr()
            } else {
                to
            };
            match self.element.range() {
                None => S::store_bf16(place, v),
                Some([low, high]) => {
                    let v = crate::activation::clamp::<S>(v, S::splat(low), S::splat(high));
                    S::store_bytes(place, v);
                }
            }
            if let Some(pixel) = self.thin {
                to.copy_from_nonoverlapping(room.as_ptr(), pixel);
            }
        }
    }
}

/// Reads groups of one kind: for loops that have no room for a question at each.
pub(crate) trait Load: Copy {
    /// # Safety
    /// As for [`Numbers::load`]; the map's numbers are of that kind, its pixels no thinner than a group.
    unsafe fn load<S: Narrow>(self, from: *const u8) -> S::V;
}

macro_rules! loads {
    ($($name:ident, $load:ident;)*) => {$(
        #[derive(Clone, Copy)]
        pub(crate) struct $name;

        impl Load for $name {
            #[inline(always)]
            unsafe fn load<S: Narrow>(self, from: *const u8) -> S::V {
                // SAFETY: the caller vouches for the numbers.
                unsafe { S::$load(from) }
            }
        }
    )*};
}

loads! {
    Bf16s, load_bf16;
    U8s, load_u8;
}

impl Load for Numbers {
    #[inline(always)]
    unsafe fn load<S: Narrow>(self, from: *const u8) -> S::V {
        // SAFETY: the caller vouches for the numbers.
        unsafe { Numbers::load::<S>(self, from) }
    }
}

/// From stored numbers to real ones: `(number − zero) · scale`, so that the zero point is 0 exactly.
#[derive(Clone, Copy)]
pub(crate) struct Reading {
    zero: f32,
    scale: f32,
}

/// From real values to the numbers that are stored for them: `x / scale + zero`, before it is rounded to one.
#[derive(Clone, Copy)]
pub(crate) struct Writing {
    multiplier: f32,
    zero: f32,
}

impl Reading {
    pub(crate) fn of(element: Element) -> Self {
        let quantisation = element.quantisation();
        Self {
            zero: quantisation.zero_point as f32,
            scale: quantisation.scale,
        }
    }

    /// # Safety
    /// As for [`Narrow`].
    #[inline(always)]
    pub(crate) unsafe fn values<S: Narrow>(self, numbers: S::V) -> S::V {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { S::mul(S::sub(numbers, S::splat(self.zero)), S::splat(self.scale)) }
    }

    /// Of one number.
    #[cfg(test)]
    pub(crate) fn value(self, number: f32) -> f32 {
        (number - self.zero) * self.scale
    }
}

impl Writing {
    pub(crate) fn of(element: Element) -> Self {
        let quantisation = element.quantisation();
        Self {
            multiplier: (1.0 / f64::from(quantisation.scale)) as f32,
            zero: quantisation.zero_point as f32,
        }
    }

    /// # Safety
    /// As for [`Narrow`].
    #[inline(always)]
    pub(crate) unsafe fn numbers<S: Narrow>(self, values: S::V) -> S::V {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { S::fused(values, S::splat(self.multiplier), S::splat(self.zero)) }
    }

    /// Of one value.
    #[inline]
    pub(crate) fn number(self, value: f32) -> f32 {
        value.mul_add(self.multiplier, self.zero)
    }
}
