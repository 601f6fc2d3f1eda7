//! Which layer the first NaN or infinity comes out of: found by a second run, once it is known that there is one.

use segmenta_graph::Shape;
use segmenta_kernels::Arena;
use segmenta_program::Watch;

use super::{Engine, RuntimeError, Tensor, tensors};
use crate::finite::{all_finite, count_non_finite};

impl Engine {
    /// As [`Engine::forward`], with results that are numbers.
    ///
    /// # Errors
    /// As [`Engine::forward`]; [`RuntimeError::NotFinite`] names the first layer whose output has a NaN or an
    /// infinity, [`RuntimeError::InputNotFinite`] says that the input has.
    pub fn forward_finite(&self, input: &[f32], shape: Shape) -> Result<Vec<Tensor>, RuntimeError> {
        let results = self.forward(input, shape)?;
        let is_finite = |result: &Tensor| all_finite(&result.data);
        if self.threads.run(|| results.iter().all(is_finite)) {
            return Ok(results);
        }
        check_input(input, shape)?;
        let broken = |result: &&Tensor| !all_finite(&result.data);
        let at = results.iter().position(|result| broken(&result));
        let at = at.unwrap_or_default();
        let (node, data) = (self.program.results[at], &results[at].data);
        let named = self.graph.outputs().iter().find(|o| o.node == node);
        let result = named.map_or_else(|| "out".into(), |output| output.name.clone());
        let layer = self.first_layer(input, shape)?;
        Err(RuntimeError::NotFinite {
            layer: layer.unwrap_or_else(|| result.clone()),
            result,
            count: count_non_finite(data),
            of: data.len(),
        })
    }

    /// The name of the first layer whose output has a NaN or an infinity.
    fn first_layer(&self, input: &[f32], shape: Shape) -> Result<Option<String>, RuntimeError> {
        let plan = self.plan(shape)?;
        // Not one that was used before: where a map fills its last block up, the broken run left what it had there.
        let arena = Arena::new(plan.arena_bytes / size_of::<f32>());
        let mut arena = arena.map_err(|short| RuntimeError::Memory {
            shape,
            bytes: short.bytes,
        })?;
        let mut buffers = tensors(&plan);
        let mut results: Vec<&mut [f32]> = buffers.iter_mut().map(|b| &mut b.data[..]).collect();
        let ran = self.pass(
            &plan,
            &mut arena,
            input,
            &mut results,
            Watch::NotFinite,
            |_, _| {},
        );
        let step = ran.err().map(|wrong| &self.program.forward[wrong.step]);
        Ok(step.map(|step| self.name(step).into()))
    }
}

/// Whether all values of an input are numbers.
///
/// # Errors
/// [`RuntimeError::InputNotFinite`], with the place of the first that is not.
pub fn check_input(input: &[f32], shape: Shape) -> Result<(), RuntimeError> {
    let count = count_non_finite(input);
    let Some(first) = input.iter().position(|value| !value.is_finite()) else {
        return Ok(());
    };
    let (row, column) = (first / shape.width, first % shape.width);
    let plane = row / shape.height;
    Err(RuntimeError::InputNotFinite {
        count,
        of: input.len(),
        first: [
            plane / shape.channels,
            plane % shape.channels,
            row % shape.height,
            column,
        ],
    })
}
