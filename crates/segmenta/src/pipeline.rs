//! Decoding with preparing, network and whatever follows it at the same time, each on its own thread, in the order
//! of what comes in.

use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use segmenta_image::{Notice, Picture};

use crate::cancel::Cancel;
use crate::error::Error;
use crate::model::Model;
use crate::options::SegmentOptions;
use crate::segment::PreparedPicture;
use crate::segmentation::Segmentation;

/// How long a wish to stop may wait to be seen while the network computes.
const GLANCE: Duration = Duration::from_millis(20);

/// Segments any number of pictures, wherever they come from: while the network computes, the next picture is decoded
/// and the one before is handed over. For pictures in files whose results are files, [`Job`](crate::Job) does all of it.
///
/// Pictures wait in queues that hold a batch before the network and one picture behind it, so that memory does not
/// grow with their number.
///
/// ```no_run
/// use std::ops::ControlFlow;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = segmenta::Model::load("deeplabv3_mobilenet_v2", "voc.safetensors")?;
/// let files = ["a.jpg", "b.jpg"];
/// segmenta::Pipeline::new(&model).run(
///     files,
///     |file| Ok(segmenta::Picture::open(file)?),
///     |segmented| {
///         match segmented.result {
///             Ok((_, found)) => println!("{}: {} classes", segmented.item, found.shares().len()),
///             Err(error) => eprintln!("{error}"),
///         }
///         ControlFlow::Continue(())
///     },
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Pipeline<'a> {
    model: &'a Model,
    options: SegmentOptions,
    batch: usize,
    cancel: Cancel,
}

/// A picture after the network, or why it did not come so far.
#[derive(Debug)]
#[non_exhaustive]
pub struct Segmented<T> {
    /// What the picture was made of.
    pub item: T,
    /// The picture and what is in it.
    pub result: Result<(Picture, Segmentation), Error>,
    /// How long it took to open, in milliseconds.
    pub decode_ms: f64,
    /// What is to be known of how the file was read.
    pub(crate) notices: Vec<Notice>,
}

/// How work came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Ended {
    /// All of it was done, or failed.
    Done,
    /// It was stopped before.
    Stopped,
}

struct Decoded<T> {
    item: T,
    picture: Result<Picture, Error>,
    /// What the network reads, if it reads the picture in one piece.
    prepared: Option<PreparedPicture>,
    decode_ms: f64,
    notices: Vec<Notice>,
}

/// A picture, and what is to be known of how it was read.
pub(crate) type Opened = (Picture, Vec<Notice>);

impl<'a> Pipeline<'a> {
    /// One picture at a time through `model`.
    pub fn new(model: &'a Model) -> Self {
        Self {
            model,
            options: SegmentOptions::default(),
            batch: 1,
            cancel: Cancel::new(),
        }
    }

    /// How pictures are segmented.
    #[must_use]
    pub fn options(mut self, options: SegmentOptions) -> Self {
        self.options = options;
        self
    }

    /// How many pictures that follow each other go through the network together, where their sizes agree; 0 is 1.
    #[must_use]
    pub fn batch(mut self, batch: usize) -> Self {
        self.batch = batch.max(1);
        self
    }

    /// The switch that stops it: what has been handed over by then stays, the rest is dropped.
    #[must_use]
    pub fn cancel(mut self, cancel: &Cancel) -> Self {
        self.cancel = cancel.clone();
        self
    }

    /// Opens each of `items` and hands it over segmented, in their order. `open` and `each` run on threads of their
    /// own; `each` stops everything by giving [`ControlFlow::Break`].
    pub fn run<T: Send>(
        &self,
        items: impl IntoIterator<Item = T, IntoIter: Send>,
        open: impl Fn(&T) -> Result<Picture, Error> + Send,
        mut each: impl FnMut(Segmented<T>) -> ControlFlow<()> + Send,
    ) -> Ended {
        let open = move |item: &T| Ok((open(item)?, Vec::new()));
        self.run_into(items, open, |mut segmented| {
            let broken = segmented.try_for_each(&mut each).is_break();
            if broken || segmented.stopped {
                Ended::Stopped
            } else {
                Ended::Done
            }
        })
    }

    /// As [`Pipeline::run`], with the thread behind the network as a whole.
    pub(crate) fn run_into<T: Send, R: Send>(
        &self,
        items: impl IntoIterator<Item = T, IntoIter: Send>,
        open: impl Fn(&T) -> Result<Opened, Error> + Send,
        consume: impl FnOnce(Stream<'_, T>) -> R + Send,
    ) -> R {
        let items = items.into_iter();
        thread::scope(|scope| {
            let (decoded, to_segment) = sync_channel(self.batch);
            let (segmented, to_consume) = sync_channel(1);
            // A side that hangs up ends the one before it: sending fails.
            scope.spawn(move || {
                for item in items {
                    if self.cancel.is_cancelled() || decoded.send(self.decode(item, &open)).is_err()
                    {
                        return;
                    }
                }
            });
            let consumer = scope.spawn(move || {
                consume(Stream {
                    segmented: to_consume,
                    cancel: &self.cancel,
                    stopped: false,
                })
            });
            self.segment(&to_segment, &segmented);
            drop((segmented, to_segment));
            consumer.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    fn decode<T>(&self, item: T, open: impl Fn(&T) -> Result<Opened, Error>) -> Decoded<T> {
        let start = Instant::now();
        let (picture, notices) = match open(&item) {
            Ok((picture, notices)) => (Ok(picture), notices),
            Err(error) => (Err(error), Vec::new()),
        };
        let decode_ms = milliseconds(start);
        let whole = picture
            .as_ref()
            .ok()
            .filter(|_| self.options.tiles.is_none());
        Decoded {
            item,
            prepared: whole.map(|picture| self.model.prepare(picture, &self.options)),
            picture,
            decode_ms,
            notices,
        }
    }

    fn segment<T>(&self, decoded: &Receiver<Decoded<T>>, segmented: &SyncSender<Segmented<T>>) {
        let mut waiting = Vec::new();
        loop {
            let next = decoded.recv().ok();
            let is_last = next.is_none();
            waiting.extend(next);
            if self.cancel.is_cancelled() {
                return;
            }
            if waiting.len() == self.batch || is_last {
                for done in self.segment_batch(std::mem::take(&mut waiting)) {
                    if segmented.send(done).is_err() {
                        return;
                    }
                }
            }
            if is_last {
                return;
            }
        }
    }

    fn segment_batch<T>(&self, mut batch: Vec<Decoded<T>>) -> Vec<Segmented<T>> {
        let prepared: Vec<_> = batch.iter_mut().filter_map(|d| d.prepared.take()).collect();
        let pictures: Vec<&Picture> = batch
            .iter()
            .filter_map(|d| d.picture.as_ref().ok())
            .collect();
        // Tiles are not prepared, and go through the network one by one.
        let answers = if prepared.is_empty() {
            None
        } else {
            Some(self.model.segment_prepared(prepared, &self.options))
        };
        let mut together = match answers {
            Some(Ok(all)) => all.into_iter().map(Ok).collect::<Vec<_>>(),
            Some(Err(error)) if pictures.len() == 1 => vec![Err(error)],
            // One of them is to blame, or only together are they too large.
            Some(Err(_)) | None => pictures.iter().map(|picture| self.alone(picture)).collect(),
        }
        .into_iter();
        let mut answer = |picture: Picture| {
            let found = together.next().expect("an answer for each picture");
            found.map(|segmentation| (picture, segmentation))
        };
        let done = batch.into_iter().map(|decoded| Segmented {
            item: decoded.item,
            result: decoded.picture.and_then(&mut answer),
            decode_ms: decoded.decode_ms,
            notices: decoded.notices,
        });
        done.collect()
    }

    /// A picture by itself; between two of its tiles it can be stopped.
    fn alone(&self, picture: &Picture) -> Result<Segmentation, Error> {
        let mut watch = |_| {
            if self.cancel.is_cancelled() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        self.model
            .segment_watched(picture, &self.options, &mut watch)
    }
}

/// What comes out of the network, until there is no more or it is to stop.
pub(crate) struct Stream<'a, T> {
    segmented: Receiver<Segmented<T>>,
    cancel: &'a Cancel,
    /// Whether it ended because it was to stop.
    pub(crate) stopped: bool,
}

impl<T> Iterator for Stream<'_, T> {
    type Item = Segmented<T>;

    fn next(&mut self) -> Option<Segmented<T>> {
        loop {
            if self.cancel.is_cancelled() {
                self.stopped = true;
                return None;
            }
            match self.segmented.recv_timeout(GLANCE) {
                Ok(segmented) => return Some(segmented),
                Err(RecvTimeoutError::Timeout) => {}
                // The threads before this one end early when it was to stop while they looked.
                Err(RecvTimeoutError::Disconnected) => {
                    self.stopped = self.cancel.is_cancelled();
                    return None;
                }
            }
        }
    }
}

pub(crate) fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
