//! Decoding with preparing, network and writing at the same time, each on its own thread, in the order
//! of the inputs.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use segmenta::{Error, Model, Picture, PreparedPicture, SegmentOptions, Segmentation};

use segmenta_image::Notice;

use crate::inputs::Input;
use crate::message::explain_for;

/// A picture after the network, or why it did not come so far.
pub(crate) struct Done<'a> {
    pub(crate) input: &'a Input,
    pub(crate) result: Result<(Picture, Segmentation), String>,
    pub(crate) decode_ms: f64,
    /// What is to be known of how the file was read.
    pub(crate) notices: Vec<Notice>,
}

struct Decoded<'a> {
    input: &'a Input,
    picture: Result<Picture, String>,
    /// What the network reads, if it reads the picture in one piece.
    prepared: Option<PreparedPicture>,
    decode_ms: f64,
    notices: Vec<Notice>,
}

/// Segments all `inputs`, `batch` at a time, and gives each to `write`, which runs on a thread of its
/// own. An error of `write` ends everything.
///
/// Pictures wait in channels that hold a batch before the network and one picture behind it, so
/// memory does not grow with the number of inputs.
pub(crate) fn run<'a>(
    model: &Model,
    inputs: &'a [Input],
    batch: usize,
    options: &SegmentOptions,
    mut write: impl FnMut(Done<'a>) -> anyhow::Result<()> + Send,
) -> anyhow::Result<()> {
    thread::scope(|scope| {
        let (decoded, to_segment) = sync_channel(batch);
        let (segmented, to_write) = sync_channel(1);
        // A side that hangs up ends the one before it: sending fails.
        scope.spawn(move || {
            for input in inputs {
                if decoded.send(decode(model, options, input)).is_err() {
                    return;
                }
            }
        });
        let writer = scope.spawn(move || to_write.into_iter().try_for_each(&mut write));
        segment(model, batch, options, &to_segment, &segmented);
        drop((segmented, to_segment));
        writer
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

pub(crate) fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn decode<'a>(model: &Model, options: &SegmentOptions, input: &'a Input) -> Decoded<'a> {
    let start = Instant::now();
    let opened = Picture::open_with_notices(&input.path);
    let (picture, notices) = match opened {
        Ok((picture, notices)) => (Ok(picture), notices),
        Err(error) => (Err(error), Vec::new()),
    };
    let decode_ms = milliseconds(start);
    let whole = picture.as_ref().ok().filter(|_| options.tiles.is_none());
    Decoded {
        input,
        prepared: whole.map(|picture| model.prepare(picture, options)),
        picture: picture.map_err(|error| explain_for(&input.path, &error.into())),
        decode_ms,
        notices,
    }
}

fn segment<'a>(
    model: &Model,
    batch: usize,
    options: &SegmentOptions,
    decoded: &Receiver<Decoded<'a>>,
    segmented: &SyncSender<Done<'a>>,
) {
    let mut waiting = Vec::new();
    loop {
        let next = decoded.recv().ok();
        let is_last = next.is_none();
        waiting.extend(next);
        if waiting.len() == batch || is_last {
            for done in segment_batch(model, options, std::mem::take(&mut waiting)) {
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

fn segment_batch<'a>(
    model: &Model,
    options: &SegmentOptions,
    mut batch: Vec<Decoded<'a>>,
) -> Vec<Done<'a>> {
    let prepared: Vec<_> = batch.iter_mut().filter_map(|d| d.prepared.take()).collect();
    let pictures: Vec<&Picture> = batch
        .iter()
        .filter_map(|d| d.picture.as_ref().ok())
        .collect();
    let answers = if prepared.is_empty() {
        model.segment_batch(&pictures, options)
    } else {
        model.segment_prepared(prepared, options)
    };
    let mut together = match answers {
        Ok(all) => all.into_iter().map(Ok).collect::<Vec<_>>(),
        Err(error) if pictures.len() == 1 => vec![Err(error)],
        // One of them is to blame, or only together are they too large.
        Err(_) => pictures
            .iter()
            .map(|picture| model.segment_with(picture, options))
            .collect(),
    }
    .into_iter();
    let mut answer = |path: &Path, picture: Picture| match together.next() {
        Some(Ok(segmentation)) => Ok((picture, segmentation)),
        Some(Err(error)) => Err(explain_for(path, &error)),
        None => Err(explain_for(
            path,
            &Error::Setting("the network gave no answer".into()),
        )),
    };
    let done = batch.into_iter().map(
        |Decoded {
             input,
             picture,
             decode_ms,
             notices,
             ..
         }| Done {
            input,
            result: picture.and_then(|picture| answer(&input.path, picture)),
            decode_ms,
            notices,
        },
    );
    done.collect()
}
