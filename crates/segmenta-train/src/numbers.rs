//! Flat numbers with a place: this machine's memory, or a device's.

#![cfg_attr(
    not(feature = "flex"),
    allow(
        clippy::needless_pass_by_value,
        clippy::unnecessary_filter_map,
        clippy::unnecessary_wraps,
        reason = "numbers on a device may be elsewhere, and asking for them may fail"
    )
)]

use std::borrow::Cow;

#[cfg(feature = "flex")]
use segmenta_devices as devices;
use segmenta_kernels::Isa;
use segmenta_kernels::optim::{Take, moving_average, sum_of_squares};

use crate::optim::Rule;

/// The values of a parameter, a gradient, an optimiser's state or a map: flat, where they are computed with.
#[derive(Clone, Debug)]
#[cfg_attr(
    feature = "flex",
    expect(
        clippy::large_enum_variant,
        reason = "a network has some hundreds of them"
    )
)]
pub enum Numbers {
    /// In this machine's memory.
    Here(Vec<f32>),
    /// On a device. What is made of them stays there.
    #[cfg(feature = "flex")]
    There(devices::Numbers),
}

impl From<Vec<f32>> for Numbers {
    fn from(values: Vec<f32>) -> Self {
        Self::Here(values)
    }
}

impl Numbers {
    /// How many there are.
    #[expect(clippy::len_without_is_empty, reason = "nothing asks for it")]
    pub fn len(&self) -> usize {
        match self {
            Self::Here(values) => values.len(),
            #[cfg(feature = "flex")]
            Self::There(numbers) => numbers.len(),
        }
    }

    /// The values: lent where they are here, read back from a device.
    ///
    /// # Errors
    /// What the device says.
    pub fn values(&self) -> Result<Cow<'_, [f32]>, String> {
        match self {
            Self::Here(values) => Ok(values.into()),
            #[cfg(feature = "flex")]
            Self::There(numbers) => numbers.values().map(Into::into),
        }
    }

    /// The values, if they are here.
    pub(crate) fn here(&self) -> Option<&[f32]> {
        match self {
            Self::Here(values) => Some(values),
            #[cfg(feature = "flex")]
            Self::There(_) => None,
        }
    }

    /// Brings them to where `other` is.
    #[cfg_attr(
        not(feature = "flex"),
        expect(clippy::unused_self, reason = "one place alone")
    )]
    pub(crate) fn join(&mut self, other: &Self) -> Result<(), String> {
        #[cfg(feature = "flex")]
        match other {
            Self::Here(_) => {
                if let Self::There(numbers) = self {
                    *self = Self::Here(numbers.values()?);
                }
            }
            Self::There(other) => self.bring_to(&other.place()),
        }
        let _ = other;
        Ok(())
    }

    /// Brings them to a device, if they are not there.
    #[cfg(feature = "flex")]
    pub(crate) fn bring_to(&mut self, place: &devices::Place) {
        match self {
            Self::Here(values) => {
                *self = Self::There(devices::Numbers::new(std::mem::take(values), place));
            }
            Self::There(numbers) => numbers.bring_to(place),
        }
    }

    /// As many zeros in the same place.
    pub(crate) fn zeros_like(&self) -> Self {
        match self {
            Self::Here(values) => Self::Here(vec![0.0; values.len()]),
            #[cfg(feature = "flex")]
            Self::There(numbers) => Self::There(numbers.zeros_like()),
        }
    }

    /// Adds others, value by value.
    pub(crate) fn add(&mut self, mut other: Self) -> Result<(), String> {
        other.join(self)?;
        match (self, &other) {
            (Self::Here(sums), Self::Here(values)) => {
                sums.iter_mut().zip(values).for_each(|(sum, x)| *sum += x);
            }
            #[cfg(feature = "flex")]
            (Self::There(sums), Self::There(values)) => sums.add(values),
            #[cfg(feature = "flex")]
            (Self::Here(_), Self::There(_)) | (Self::There(_), Self::Here(_)) => {}
        }
        Ok(())
    }

    /// The sum of their squares.
    pub(crate) fn sum_of_squares(&self, isa: Isa) -> Result<f64, String> {
        match self {
            Self::Here(values) => Ok(sum_of_squares(isa, values)),
            #[cfg(feature = "flex")]
            Self::There(numbers) => numbers.sum_of_squares(),
        }
    }

    /// Moves by `weight` of the way to other numbers of the same place.
    pub(crate) fn approach(&mut self, other: &Self, weight: f32) {
        match (self, other) {
            (Self::Here(average), Self::Here(values)) => {
                moving_average(Isa::fastest(), weight, values, average);
            }
            #[cfg(feature = "flex")]
            (Self::There(average), Self::There(values)) => average.approach(values, weight),
            #[cfg(feature = "flex")]
            (Self::Here(_), Self::There(_)) | (Self::There(_), Self::Here(_)) => {}
        }
    }

    /// A parameter's step along its gradient; all are in one place. `state` is in the order of
    /// [`crate::optim::Algorithm::state_names`].
    pub(crate) fn step(
        &mut self,
        isa: Isa,
        rule: Rule,
        take: Take,
        gradient: &Self,
        state: &mut [Self],
    ) {
        match (self, gradient) {
            (Self::Here(x), Self::Here(gradient)) => {
                let state = state.iter_mut().filter_map(|numbers| match numbers {
                    Self::Here(values) => Some(&mut values[..]),
                    #[cfg(feature = "flex")]
                    Self::There(_) => None,
                });
                rule.on_slices(isa, take, gradient, x, state);
            }
            #[cfg(feature = "flex")]
            (Self::There(x), Self::There(gradient)) => {
                let state = state.iter_mut().filter_map(|numbers| match numbers {
                    Self::There(numbers) => Some(numbers),
                    Self::Here(_) => None,
                });
                rule.on_device(take, gradient, x, state);
            }
            #[cfg(feature = "flex")]
            (Self::Here(_), Self::There(_)) | (Self::There(_), Self::Here(_)) => {}
        }
    }
}
