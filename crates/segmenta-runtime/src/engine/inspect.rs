//! Looking into a run: the time of each step, what each step writes, and which layers multiply 8-bit numbers.

use segmenta_graph::{Node, Shape};
use segmenta_kernels::{MapShape, low};
use segmenta_program::terms::map_shape;
use segmenta_program::{Conv, Packed, Plan, Step, Watch, Work};

use super::{Engine, RuntimeError, Tensor, tensors};

/// How long a step took.
#[derive(Clone, Debug)]
pub struct StepTime {
    /// Name of the node that the step begins with.
    pub name: String,
    /// Its algorithm or kind.
    pub algorithm: &'static str,
    /// Shape of what it wrote, if it wrote a map.
    pub shape: Option<Shape>,
    /// Multiply-adds of its convolution, 0 for other steps.
    pub multiply_adds: u64,
    /// Bytes that it must at least read and write: its maps, and its weights in the form that its
    /// algorithm takes.
    pub bytes: u64,
    /// Seconds.
    pub seconds: f64,
}

/// A convolution that multiplies 8-bit numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Int8Layer {
    /// Its node.
    pub layer: Node,
    /// The node whose value it reads.
    pub input: Node,
    /// The node whose value it gives: the last of what is computed with it.
    pub output: Node,
    /// Whether others' weights were added to its own: its numbers are no longer those of its parameters.
    pub merged: bool,
}

impl Engine {
    /// As [`Engine::forward`], with the time of each step instead of the results.
    ///
    /// # Errors
    /// As [`Engine::forward`].
    pub fn profile(&self, input: &[f32], shape: Shape) -> Result<Vec<StepTime>, RuntimeError> {
        let plan = self.plan(shape)?;
        let mut buffers = tensors(&plan);
        let mut slices: Vec<&mut [f32]> = buffers.iter_mut().map(|b| &mut b.data[..]).collect();
        let mut times = Vec::new();
        self.run(
            input,
            shape,
            &mut slices,
            Watch::Nothing,
            |index, seconds| {
                times.push(self.step_time(&plan, index, seconds));
            },
        )?;
        Ok(times)
    }

    /// The convolutions that multiply 8-bit numbers, in the order that they are run in.
    pub fn int8_layers(&self) -> Vec<Int8Layer> {
        let steps = self.program.forward.iter().filter_map(|step| {
            let Work::Conv(conv) = &step.work else {
                return None;
            };
            let Packed::Low(packed) = &self.layers.convs[conv.layer].packed else {
                return None;
            };
            (packed.elements().input != low::Element::Bf16).then(|| Int8Layer {
                layer: step.node,
                input: step.inputs[0],
                output: step.output,
                merged: self.merged.contains(&step.node),
            })
        });
        steps.collect()
    }

    /// As [`Engine::forward`], and shows the input, as the network's first step has it, and what every step wrote: the
    /// node whose value it is, the map's shape, and its values N×C×H×W, in f32 whatever they are stored in. For calibration and for finding where two precisions part.
    ///
    /// # Errors
    /// As [`Engine::forward`].
    pub fn watch(
        &self,
        input: &[f32],
        shape: Shape,
        mut see: impl FnMut(Node, Shape, &[f32]) + Send,
    ) -> Result<Vec<Tensor>, RuntimeError> {
        let plan = self.plan(shape)?;
        let mut results = tensors(&plan);
        let mut slices: Vec<&mut [f32]> = results.iter_mut().map(|r| &mut r.data[..]).collect();
        // A first layer may read it as it came: then no step writes it.
        let is_written =
            (self.program.forward.iter()).any(|step| matches!(step.work, Work::Block(_)));
        if let Some((node, _)) = self.graph.iter().next().filter(|_| !is_written)
            && input.len() == shape.len()
        {
            see(node, shape, input);
        }
        let mut seen = |step: &Step, map: MapShape, values: &[f32]| {
            let shape = Shape::new(map.batch, map.channels, map.height, map.width);
            see(step.output, shape, values);
        };
        self.run(
            input,
            shape,
            &mut slices,
            Watch::Values(&mut seen),
            |_, _| {},
        )?;
        Ok(results)
    }

    fn step_time(&self, plan: &Plan, index: usize, seconds: f64) -> StepTime {
        let (step, layers) = (&self.program.forward[index], &self.layers);
        let mut written = step.writes.first().map(|&value| plan.shape(value));
        if let Work::Conv(Conv {
            emits: Some(output),
            ..
        }) = step.work
        {
            written = Some(map_shape(plan.results[output]));
        }
        let multiply_adds = match (&step.work, written) {
            (Work::Conv(conv), Some(shape)) => {
                let spec = layers.convs[conv.layer].packed.spec();
                spec.weights_len() * shape.batch * shape.pixels()
            }
            (Work::Transposed(conv), _) => {
                let input = plan.shape(step.reads[0]);
                let spec = layers.transposed[conv.layer].packed.spec();
                spec.weights_len() * input.batch * input.pixels()
            }
            _ => 0,
        };
        let maps: usize = step.values().map(|&value| plan.bytes(value)).sum();
        let outside = match (&step.work, step.work.result()) {
            (Work::Block(_), _) => plan.input.batch_len(),
            (Work::Conv(conv), _) if conv.on_picture => plan.input.batch_len(),
            (_, Some(output)) => plan.results[output].len(),
            _ => 0,
        };
        let weights = plan.weight_bytes(index, &step.work, layers);
        StepTime {
            bytes: (maps + outside * size_of::<f32>() + weights) as u64,
            name: self.name(step).into(),
            algorithm: plan.label(index, &step.work, layers),
            shape: written.map(|s| Shape::new(s.batch, s.channels, s.height, s.width)),
            multiply_adds: multiply_adds as u64,
            seconds,
        }
    }
}
