//! What a network learns or keeps: its state-dict entries.

use crate::init::Init;

/// Index of a [`Parameter`] in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParameterId(pub(crate) u32);

impl ParameterId {
    /// Position in [`crate::Graph::parameters`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What an entry of the state dict is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A convolution's kernel, `[out, in / groups, height, width]`.
    Kernel,
    /// A transposed convolution's kernel, `[in, out / groups, height, width]`.
    TransposedKernel,
    /// A linear layer's matrix, `[out, in]`.
    Matrix,
    /// The bias of a convolution or a linear layer, `[out]`.
    Bias,
    /// A norm's scale (`weight` in state dicts), `[channels]`.
    Scale,
    /// A norm's shift (`bias` in state dicts), `[channels]`.
    Shift,
    /// What stands for a token or a position, `[1, tokens, channels]`.
    Embedding,
    /// Batch norm's running mean, `[channels]`; kept, not learned.
    RunningMean,
    /// Batch norm's running variance, `[channels]`; kept, not learned.
    RunningVar,
    /// What a library keeps in a state dict and no result needs; it stays as it is.
    Buffer,
    /// Batch norm's step counter (`num_batches_tracked`), a scalar that inference never reads.
    Counter,
}

/// One state-dict entry of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// State-dict name: the parameter's identity.
    pub name: String,
    /// Row-major shape.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
    /// What it is before training.
    pub init: Init,
}

impl Parameter {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True for a shape that holds no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True for what an optimiser changes; false for running statistics and counters.
    pub fn is_trainable(&self) -> bool {
        !matches!(
            self.role,
            Role::RunningMean | Role::RunningVar | Role::Buffer | Role::Counter
        )
    }
}
