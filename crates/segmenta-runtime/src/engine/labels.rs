//! What a result says: labels, and how sure the network is of them.

use segmenta_kernels::{self as kernels, Logits, ToProbability};

use super::{Engine, RuntimeError};
use crate::memory;

impl Engine {
    /// The label map of one picture's logits, resized to `height`×`width` and taken the argmax of
    /// in one pass. See [`Logits`] for the part that counts, and for what may stand for logits.
    pub fn labels(&self, logits: Logits<'_>, size: [usize; 2]) -> Vec<u8> {
        let mut labels = vec![0; size[0] * size[1]];
        self.threads
            .run(|| kernels::labels(self.isa(), logits, size, &mut labels));
        labels
    }

    /// How sure the network is of each pixel's label, 0 to 1.
    pub fn winning_probability(
        &self,
        logits: Logits<'_>,
        how: ToProbability,
        size: [usize; 2],
    ) -> Vec<f32> {
        let mut scores = vec![0.0; size[0] * size[1]];
        self.threads
            .run(|| kernels::winning_probability(self.isa(), logits, how, size, &mut scores));
        scores
    }

    /// Every class's values at `height`×`width` pixels, resized bilinearly: `[classes][height][width]`.
    ///
    /// # Errors
    /// [`RuntimeError::Size`] if they do not fit into memory.
    pub fn class_scores(
        &self,
        logits: Logits<'_>,
        size: [usize; 2],
    ) -> Result<Vec<f32>, RuntimeError> {
        let extents = [logits.classes, size[0], size[1], size_of::<f32>()];
        let mut product = extents.into_iter();
        let bytes = product.try_fold(1_usize, usize::checked_mul);
        let bytes = bytes.filter(|&bytes| memory::available().is_none_or(|room| bytes <= room));
        let bytes = bytes.ok_or(RuntimeError::Size {
            classes: logits.classes,
            size,
        })?;
        let mut scores = vec![0.0; bytes / size_of::<f32>()];
        self.threads
            .run(|| kernels::class_scores(self.isa(), logits, size, &mut scores));
        Ok(scores)
    }

    /// The probability of each id of a label map, 0 to 1, from [`Engine::class_scores`]: `[ids][pixels]`. One class
    /// gives two ids, the background and it.
    pub fn label_probabilities(
        &self,
        scores: Vec<f32>,
        classes: usize,
        how: ToProbability,
    ) -> Vec<f32> {
        self.threads
            .run(|| kernels::label_probabilities(self.isa(), scores, classes, how))
    }
}
