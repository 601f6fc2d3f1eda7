//! Pictures from files to files: masks, overlays, cut-outs, sheets and a record of all of them.

mod outputs;
mod report;
mod sheets;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use segmenta_image::{Notice, Picture};

use crate::cancel::Cancel;
use crate::error::{Error, Failure, OutputError};
use crate::inputs::{Input, Inputs};
use crate::model::Model;
use crate::options::SegmentOptions;
use crate::pipeline::{Ended, Pipeline, Segmented, Stream, milliseconds};

use outputs::Drawing;
pub use outputs::{What, check_folder, prepare_folder};
pub(crate) use report::REPORT;
pub use report::{
    ClassRecord, Milliseconds, ModelRecord, PictureRecord, Report, SettingsRecord, ShareRecord,
};
pub(crate) use sheets::SHEETS;
use sheets::Sheets;
pub use sheets::SheetsWritten;

/// Segments pictures into files. It is set up in steps, and runs on any [`Inputs`].
///
/// What can be done is done: a picture that cannot be read or written is one of the report's
/// [`failed`](Report::failed), and the others follow. Every file is there whole or not at all, and none replaces a
/// picture that is an input. Memory does not grow with the number of pictures.
///
/// ```no_run
/// use std::ops::ControlFlow;
///
/// use segmenta::{Event, Inputs, Job, Model, What};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = Model::load("deeplabv3_mobilenet_v2", "voc.safetensors")?;
/// let inputs = Inputs::collect(["photos"]);
/// let outcome = Job::new(&model)
///     .out("segmentation")
///     .write([What::Mask, What::Cutout])
///     .run(inputs, |event| {
///         if let Event::Done(picture) = event {
///             println!("{}", picture.file.display());
///         }
///         ControlFlow::Continue(())
///     })?;
/// for failure in &outcome.report.failed {
///     eprintln!("{failure}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Job<'a> {
    model: &'a Model,
    out: PathBuf,
    drawing: Drawing,
    sheets: bool,
    batch: usize,
    options: SegmentOptions,
    cancel: Cancel,
}

/// What happens while a [`Job`] runs, told on the thread that writes.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// So many pictures are to be segmented.
    Started {
        /// Their number.
        pictures: usize,
    },
    /// A picture's file was read in a way that its owner should know of; what became of the picture follows.
    Notice {
        /// The picture.
        input: &'a Input,
        /// What is to be known.
        notice: &'a Notice,
    },
    /// A picture is done, and its files are there.
    Done(&'a PictureRecord),
    /// A picture could not be read, segmented or written.
    Failed(&'a Failure),
    /// The two sheets are there.
    Sheets(SheetsWritten),
    /// It stops before its end; `predictions.json` has what is done. The network may still compute what nobody waits
    /// for.
    Stopped {
        /// Pictures that are done.
        done: usize,
        /// Pictures that there are.
        of: usize,
    },
}

/// How a [`Job`] ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// What became of every picture; the same is in `predictions.json`.
    pub report: Report,
    /// Whether it came to its end.
    pub ended: Ended,
}

impl<'a> Job<'a> {
    /// Segments with `model` as its description says: masks and overlays into the folder `segmentation`, a picture
    /// at a time.
    pub fn new(model: &'a Model) -> Self {
        Self {
            model,
            out: "segmentation".into(),
            drawing: Drawing {
                what: vec![What::Mask, What::Overlay],
                alpha: 0.6,
                legend: false,
            },
            sheets: false,
            batch: 1,
            options: SegmentOptions::default(),
            cancel: Cancel::new(),
        }
    }

    /// The folder for results; it is made if it is not there.
    pub fn out(mut self, folder: impl Into<PathBuf>) -> Self {
        self.out = folder.into();
        self
    }

    /// What is written about each picture.
    pub fn write(mut self, what: impl IntoIterator<Item = What>) -> Self {
        self.drawing.what = what.into_iter().collect();
        self
    }

    /// Strength of the colours in overlays, 0 to 1; 0.6 if not given.
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.drawing.alpha = alpha;
        self
    }

    /// Whether overlays name the classes beside the picture.
    pub fn legend(mut self, legend: bool) -> Self {
        self.drawing.legend = legend;
        self
    }

    /// Whether there are also two sheets, `image_samples.png` and `segmentation_output.png`, with the first 64
    /// pictures at the size that the network saw, four in a row.
    pub fn sheets(mut self, sheets: bool) -> Self {
        self.sheets = sheets;
        self
    }

    /// How many pictures go through the network together, where their sizes agree.
    pub fn batch(mut self, batch: usize) -> Self {
        self.batch = batch.max(1);
        self
    }

    /// How pictures are segmented. [`What::Probability`] asks for probabilities by itself.
    pub fn options(mut self, options: SegmentOptions) -> Self {
        self.options = options;
        self
    }

    /// The switch that stops it, for another thread. What is being written is finished, then `predictions.json`.
    pub fn cancel(mut self, cancel: &Cancel) -> Self {
        self.cancel = cancel.clone();
        self
    }

    /// Segments all pictures, tells `each` what happens, and writes `predictions.json` at the end. `each` runs on the
    /// thread that writes; it stops the job, as [`Job::cancel`] does, by giving [`ControlFlow::Break`].
    ///
    /// # Errors
    /// If the folder cannot be written to, a strength is none, or the sheets or `predictions.json` cannot be written.
    /// What is wrong with a single picture is in the report.
    pub fn run(
        mut self,
        inputs: Inputs,
        each: impl FnMut(Event<'_>) -> ControlFlow<()> + Send,
    ) -> Result<Outcome, Error> {
        if !(0.0..=1.0).contains(&self.drawing.alpha) {
            let alpha = self.drawing.alpha;
            return Err(Error::Setting(format!(
                "a strength of {alpha} · colours of overlays · give a number from 0 to 1"
            )));
        }
        self.options.probability = self.drawing.writes(What::Probability);
        self.options.logits = self.drawing.writes(What::Logits);
        self.options.probabilities = self.drawing.writes(What::Probabilities);
        self.options.network = self.sheets;
        if self.options.tiles.is_some() {
            self.options.check_tiles()?;
        }
        prepare_folder(&self.out)?;
        self.protect(&inputs)?;
        let pictures = inputs.named(&self.out);
        let mut report = Report::new(&self);
        (report.left_out, report.failed) = inputs.into_parts();
        let sheets = self
            .sheets
            .then(|| Sheets::new(&self.model.description().preprocess, self.drawing.alpha));
        let writer = Writer {
            job: &self,
            report,
            sheets,
            total: pictures.len(),
            each,
        };
        let pipeline = Pipeline::new(self.model)
            .options(self.options.clone())
            .batch(self.batch)
            .cancel(&self.cancel);
        let open = |input: &&Input| Ok(Picture::open_with_notices(input.path())?);
        pipeline.run_into(&pictures, open, |stream| writer.run(stream))
    }

    /// Sheets have fixed names: they may not replace one of the pictures.
    fn protect(&self, inputs: &Inputs) -> Result<(), Error> {
        if !self.sheets {
            return Ok(());
        }
        let sheets = SHEETS.map(|name| self.out.join(name).canonicalize().ok());
        let taken = inputs
            .all_paths()
            .find(|path| sheets.contains(&path.canonicalize().ok()) && path.exists());
        taken.map_or(Ok(()), |path| {
            Err(OutputError::Replaces(path.to_owned()).into())
        })
    }
}

/// The thread behind the network.
struct Writer<'a, E> {
    job: &'a Job<'a>,
    report: Report,
    sheets: Option<Sheets>,
    total: usize,
    each: E,
}

impl<E: FnMut(Event<'_>) -> ControlFlow<()>> Writer<'_, E> {
    fn run(mut self, mut stream: Stream<'_, &Input>) -> Result<Outcome, Error> {
        let problems = self.report.failed.len();
        let mut broken = (self.each)(Event::Started {
            pictures: self.total,
        })
        .is_break();
        while !broken && let Some(segmented) = stream.next() {
            let input = segmented.item;
            for notice in &segmented.notices {
                broken |= (self.each)(Event::Notice { input, notice }).is_break();
            }
            broken |= match self.write(segmented) {
                Ok(record) => {
                    self.report.pictures.push(record);
                    let record = self.report.pictures.last().expect("one was pushed");
                    (self.each)(Event::Done(record))
                }
                Err(failure) => {
                    self.report.failed.push(failure);
                    let failure = self.report.failed.last().expect("one was pushed");
                    (self.each)(Event::Failed(failure))
                }
            }
            .is_break();
        }
        let done = self.report.pictures.len();
        let over = done + self.report.failed.len() - problems == self.total;
        let out = &self.job.out;
        let sheets = self.sheets.filter(|_| over).map(|sheets| sheets.save(out));
        // Whatever became of the sheets, the record of what is done is kept.
        self.report.save(out)?;
        if let Some(written) = sheets.transpose()?.flatten() {
            // All is done: there is nothing left to stop.
            let _ = (self.each)(Event::Sheets(written));
        }
        let ended = if over { Ended::Done } else { Ended::Stopped };
        if ended == Ended::Stopped {
            let of = self.total;
            let _ = (self.each)(Event::Stopped { done, of });
        }
        Ok(Outcome {
            report: self.report,
            ended,
        })
    }

    /// Writes the files about a picture.
    fn write(&mut self, segmented: Segmented<&Input>) -> Result<PictureRecord, Failure> {
        let Segmented {
            item: input,
            result,
            decode_ms,
            ..
        } = segmented;
        let fail = |error: Error| Failure::new(input.path().to_owned(), error);
        let (picture, segmentation) = result.map_err(fail)?;
        let start = Instant::now();
        let Job { out, drawing, .. } = self.job;
        // What is drawn over a picture has its size: at another it is drawn over what the network saw.
        let size = segmentation.labels().size();
        let shown = if size == picture.size() {
            None
        } else {
            let recipe = &self.job.model.description().preprocess;
            let seen = sheets::seen(recipe, &picture).map_err(fail)?;
            Some(seen.resize(size.0, size.1, recipe.pixels.filter))
        };
        let shown = shown.as_ref().unwrap_or(&picture);
        let written = drawing
            .write(out, input, shown, &segmentation)
            .map_err(fail)?;
        if let Some(sheets) = &mut self.sheets {
            sheets.add(&picture, &segmentation).map_err(fail)?;
        }
        let stages = segmentation.stages();
        Ok(PictureRecord {
            name: input.name().to_owned(),
            file: input.path().to_owned(),
            width: picture.width(),
            height: picture.height(),
            model: self.report.model.architecture.clone(),
            classes: segmentation.shares().into_iter().map(Into::into).collect(),
            written,
            milliseconds: Milliseconds {
                decode: decode_ms,
                prepare: stages.prepare_ms,
                network: stages.network_ms,
                labels: stages.labels_ms,
                write: milliseconds(start),
            },
        })
    }
}
