//! What a score means, in words: two numbers of the same name may be different measurements.

use std::fmt;

use segmenta_files::count;

/// A number and how it was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// 0 to 1 for most metrics; `None` if there was nothing to measure (n/a).
    pub value: Option<f64>,
    /// How it was made.
    pub protocol: Protocol,
}

/// How a score was made: what was averaged over what, what was ignored.
#[derive(Clone, Debug, PartialEq)]
pub struct Protocol {
    /// The formula's name.
    pub metric: String,
    /// What was averaged over what.
    pub over: Over,
    /// Number of classes.
    pub classes: usize,
    /// Number of images, where they were told apart.
    pub images: Option<usize>,
    /// Classes without a score of their own (n/a).
    pub absent: Vec<usize>,
    /// The label whose pixels were left out.
    pub ignore_index: Option<u32>,
    /// What was left out, in the words of the data, where its files say it by other values than the ignore index:
    /// `pixels labelled 0, 255 ignored`.
    pub ignored: Option<String>,
    /// How pictures were segmented, where that is more than once through the network in one piece:
    /// `averaged with mirror images`.
    pub segmented: Option<String>,
    /// Which pictures were measured on, where a data set has several parts: `the split test`.
    pub measured_on: Option<String>,
    /// What stands for a score that has nothing to divide; `None` if it is left out.
    pub zero_division: Option<f64>,
}

/// What was averaged over what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Nothing: the share of all pixels.
    Pixels,
    /// Nothing: one class against the rest, pixels of all images counted together.
    OneClass(usize),
    /// Pixels of all images counted together, then the mean over classes.
    Classes,
    /// As `Classes`, classes weighted by their share of the truth's pixels.
    ClassesByFrequency,
    /// As `Classes`, with weights that were given.
    ClassesWeighted,
    /// Pixels of all images and classes counted together ("micro").
    Everything,
    /// Classes counted together in each image, then the mean over images.
    Images,
    /// Pixels of as many images as there are in a batch counted together, then the mean over batches: the number depends
    /// on the batch's size.
    Batches(usize),
    /// Every class of every image by itself, then the mean over both.
    ImagesAndClasses,
    /// As `ImagesAndClasses`, classes with weights that were given.
    ImagesAndClassesWeighted,
}

impl Score {
    /// The same score, which says in the words of the data what was left out; see [`Protocol::ignored`].
    #[must_use]
    pub fn ignoring(mut self, words: impl Into<String>) -> Self {
        self.protocol.ignored = Some(words.into());
        self
    }

    /// The same score, which says what was measured on; see [`Protocol::measured_on`].
    #[must_use]
    pub fn on(mut self, part: impl Into<String>) -> Self {
        self.protocol.measured_on = Some(part.into());
        self
    }

    /// The same score, which says how pictures were segmented; see [`Protocol::segmented`].
    #[must_use]
    pub fn segmented(mut self, words: impl Into<String>) -> Self {
        self.protocol.segmented = Some(words.into());
        self
    }
}

impl Protocol {
    /// The classes that have no score.
    pub(crate) fn absent(of_classes: &[Option<f64>]) -> Vec<usize> {
        let classes = of_classes.iter().enumerate();
        classes
            .filter(|(_, score)| score.is_none())
            .map(|(class, _)| class)
            .collect()
    }
}

/// The mean of the scores that are there.
pub(crate) fn mean_of(scores: &[Option<f64>]) -> Option<f64> {
    let there: Vec<f64> = scores.iter().copied().flatten().collect();
    (!there.is_empty()).then(|| there.iter().sum::<f64>() / there.len() as f64)
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.metric)?;
        if let Over::OneClass(class) = self.over {
            write!(f, "of class {class}, ")?;
        }
        f.write_str(match self.over {
            Over::OneClass(_) => "from pixels of all images together",
            Over::Pixels => "over all pixels",
            Over::Classes => "from pixels of all images together, mean over classes",
            Over::ClassesByFrequency => {
                "from pixels of all images together, mean over classes weighted by their share of pixels"
            }
            Over::ClassesWeighted => {
                "from pixels of all images together, mean over classes with given weights"
            }
            Over::Everything => "from pixels of all images and classes together",
            Over::Batches(images) => {
                return write!(
                    f,
                    "from pixels of each batch of {} together, mean over batches",
                    count(images, "image")
                )
                .and_then(|()| self.fmt_rest(f));
            }
            Over::Images => "from pixels of all classes together, mean over images",
            Over::ImagesAndClasses => "of each class in each image, mean over both",
            Over::ImagesAndClassesWeighted => {
                "of each class in each image, mean over both with given class weights, \
                 divided by the number of classes once more (as segmentation_models_pytorch does)"
            }
        })?;
        self.fmt_rest(f)
    }
}

impl Protocol {
    /// What was counted, left out and put in its place.
    fn fmt_rest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "; {}", count(self.classes, "class"))?;
        if let Some(images) = self.images {
            write!(f, ", {}", count(images, "image"))?;
        }
        match (self.absent.as_slice(), self.zero_division) {
            (_, Some(value)) => write!(f, ", {value} where there was nothing to divide")?,
            ([], None) => {}
            (absent, None) => {
                let absent: Vec<_> = absent.iter().map(usize::to_string).collect();
                write!(f, ", n/a and left out: {}", absent.join(", "))?;
            }
        }
        match (&self.ignored, self.ignore_index) {
            (Some(ignored), _) => write!(f, "; {ignored}")?,
            (None, Some(index)) => write!(f, "; pixels labelled {index} ignored")?,
            (None, None) => f.write_str("; no pixel ignored")?,
        }
        if let Some(segmented) = &self.segmented {
            write!(f, "; {segmented}")?;
        }
        match &self.measured_on {
            Some(part) => write!(f, "; on {part}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            Some(value) => write!(f, "{value:.4}"),
            None => f.write_str("n/a"),
        }?;
        write!(f, " ({})", self.protocol)
    }
}
