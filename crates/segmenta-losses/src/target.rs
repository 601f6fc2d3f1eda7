//! What a batch's pixels truly are.

use std::fmt;

use segmenta_files::count;

use super::LossError;

/// How many classes a pixel can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// One mask: the logits have one channel, squashed by a sigmoid.
    Binary,
    /// Exactly one of several: a label map; the logits are squashed by a softmax.
    Multiclass,
    /// Any number of several: a mask for each; every channel is squashed by its own sigmoid.
    Multilabel,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Binary => "binary",
            Self::Multiclass => "multiclass",
            Self::Multilabel => "multilabel",
        })
    }
}

/// The truth of a batch, checked.
///
/// Labels become known here before any arithmetic: a value that no class has is an error that names it, and pixels
/// of each class are counted, so that every loss knows its divisor, on a device without asking it.
#[derive(Clone, Debug)]
pub struct Target {
    mode: Mode,
    /// N, C, H, W of the logits that fit.
    shape: [usize; 4],
    /// The values as they were given.
    values: Vec<u8>,
    ignore_index: Option<u8>,
    some_ignored: bool,
    /// Pixels of each class in each image, `[N][C]`.
    positives: Vec<u64>,
    /// Pixels that count for each class in each image, `[N][C]`.
    counted: Vec<u64>,
}

impl Target {
    /// Label maps, `[image][row][column]`, of shape N, H, W; pixels labelled `ignore_index` teach nothing.
    ///
    /// # Errors
    /// A label that is neither below `classes` nor ignored; a count that does not fit the shape; fewer than two
    /// classes; an ignore index that is a class.
    pub fn labels(
        labels: Vec<u8>,
        [images, height, width]: [usize; 3],
        classes: usize,
        ignore_index: Option<u8>,
    ) -> Result<Self, LossError> {
        check_count(&labels, &[images, height, width])?;
        if !(2..=256).contains(&classes) {
            return Err(LossError::Target(
                format!("label maps of {}", count(classes, "class")),
                "give 2 to 256 classes, or a binary mask",
            ));
        }
        if let Some(index) = ignore_index.filter(|&index| usize::from(index) < classes) {
            return Err(LossError::Target(
                format!("ignore index {index} is one of the {classes} classes"),
                "ignore a label that is no class, such as 255",
            ));
        }
        let plane = height * width;
        let mut positives = vec![0_u64; images * classes];
        let mut counted = vec![0_u64; images * classes];
        for (image, labels) in labels.chunks_exact(plane).enumerate() {
            let mut seen = [0_u64; 256];
            labels
                .iter()
                .for_each(|&label| seen[usize::from(label)] += 1);
            let unknown = |label: usize| ignore_index.map(usize::from) != Some(label);
            if let Some(wrong) = (classes..256).find(|&label| seen[label] > 0 && unknown(label)) {
                let value = wrong as u8;
                let at = labels.iter().position(|&label| label == value).unwrap_or(0);
                return Err(LossError::Label {
                    value,
                    image,
                    row: at / width,
                    column: at % width,
                    classes,
                });
            }
            let whole = seen[..classes].iter().sum();
            positives[image * classes..][..classes].copy_from_slice(&seen[..classes]);
            counted[image * classes..][..classes].fill(whole);
        }
        Ok(Self {
            mode: Mode::Multiclass,
            shape: [images, classes, height, width],
            some_ignored: ignore_index.is_some_and(|index| labels.contains(&index)),
            values: labels,
            ignore_index,
            positives,
            counted,
        })
    }

    /// Masks of 0 and 1, `[image][class][row][column]`, of shape N, C, H, W; values that are `ignore_index`
    /// teach nothing. One class is binary, several are multilabel.
    ///
    /// # Errors
    /// A value that is neither 0, 1 nor ignored; a count that does not fit the shape; an ignore index of 0 or 1.
    pub fn masks(
        masks: Vec<u8>,
        shape: [usize; 4],
        ignore_index: Option<u8>,
    ) -> Result<Self, LossError> {
        check_count(&masks, &shape)?;
        if let Some(index @ 0..=1) = ignore_index {
            return Err(LossError::Target(
                format!("ignore index {index} is a value of masks"),
                "ignore another value, such as 255",
            ));
        }
        let [_, classes, height, width] = shape;
        let (mut positives, mut counted) = (Vec::new(), Vec::new());
        for (at, mask) in masks.chunks_exact(height * width).enumerate() {
            let (mut ones, mut count) = (0, 0);
            for (pixel, &value) in mask.iter().enumerate() {
                match value {
                    0 | 1 => (ones, count) = (ones + u64::from(value), count + 1),
                    _ if Some(value) == ignore_index => {}
                    _ => {
                        return Err(LossError::Mask {
                            value,
                            image: at / classes,
                            class: at % classes,
                            row: pixel / width,
                            column: pixel % width,
                        });
                    }
                }
            }
            positives.push(ones);
            counted.push(count);
        }
        Ok(Self {
            mode: if classes == 1 {
                Mode::Binary
            } else {
                Mode::Multilabel
            },
            shape,
            some_ignored: ignore_index.is_some_and(|index| masks.contains(&index)),
            values: masks,
            ignore_index,
            positives,
            counted,
        })
    }

    /// How many classes a pixel can have.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The shape of the logits that fit: N, C, H, W.
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.shape[1]
    }

    /// The values as they were given, ignored ones included: `[image][row][column]` of labels,
    /// `[image][class][row][column]` of masks.
    pub fn values(&self) -> &[u8] {
        &self.values
    }

    /// The value whose pixels teach nothing, whether any has it or not.
    pub fn ignore_index(&self) -> Option<u8> {
        self.ignore_index
    }

    /// Pixels of each class in the batch.
    pub fn positives(&self) -> Vec<u64> {
        self.over_images(&self.positives)
    }

    /// Pixels that count for each class in the batch.
    pub fn counted(&self) -> Vec<u64> {
        self.over_images(&self.counted)
    }

    /// [`Target::ignore_index`] where a pixel has it: none where all count.
    pub fn ignored(&self) -> Option<u8> {
        self.ignore_index.filter(|_| self.some_ignored)
    }

    /// Pixels of each class in one image.
    pub fn positives_in(&self, image: usize) -> &[u64] {
        &self.positives[image * self.classes()..][..self.classes()]
    }

    /// Number of values in the logits.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a target of nothing is refused"
    )]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    fn over_images(&self, counts: &[u64]) -> Vec<u64> {
        let of_class = |class: usize| counts.iter().skip(class).step_by(self.classes());
        (0..self.classes())
            .map(|class| of_class(class).sum())
            .collect()
    }
}

fn check_count(values: &[u8], shape: &[usize]) -> Result<(), LossError> {
    let product = shape
        .iter()
        .try_fold(1_usize, |product, &side| product.checked_mul(side));
    if values.is_empty() || product != Some(values.len()) {
        return Err(LossError::Count {
            values: values.len(),
            shape: shape.to_vec(),
        });
    }
    Ok(())
}
