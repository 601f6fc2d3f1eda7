//! Batches: read, augmented, normalised and in order, by threads of their own.
//!
//! Each epoch goes through all pictures in an order that belongs to (seed, epoch); what an item becomes belongs to
//! (seed, epoch, item). So batches are the same for any number of workers, and [`Loader::epoch`] can begin at any of
//! them. Workers keep a bounded number of batches ahead of the consumer; how long the consumer had to wait is counted.

mod cache;
mod order;
mod queue;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rayon::ThreadPoolBuilder;
use segmenta_image::{Pixels, Preprocess, Resize};

use crate::augment::{Augmentation, Draw};
use crate::{DataError, Dataset, Sample};
use cache::Cache;
use order::order;
use queue::Queue;

/// How batches are made.
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderOptions {
    /// Pictures in a batch, 1 to [`LoaderOptions::MAX_BATCH`].
    pub batch: usize,
    /// Whether each epoch has an order of its own; otherwise it is that of the data set.
    pub shuffle: bool,
    /// What order and augmentation belong to.
    pub seed: u64,
    /// Whether a last batch with fewer pictures is left out.
    pub drop_last: bool,
    /// Threads that prepare pictures, 1 to [`LoaderOptions::MAX_WORKERS`].
    pub workers: usize,
    /// Batches that may be ready before they are asked for, up to [`LoaderOptions::MAX_PREFETCH`].
    pub prefetch: usize,
    /// Bytes of pictures that may be kept in memory, decoded and as far as nothing is drawn resized, for the next
    /// epoch. 0: each is read anew.
    pub cache_bytes: usize,
    /// What is subtracted from values in 0 to 1.
    pub mean: [f32; 3],
    /// What they are then divided by.
    pub std: [f32; 3],
    /// Which plane of a batch is of which colour; mean and deviation follow the planes.
    pub pixels: Pixels,
}

impl LoaderOptions {
    /// The most pictures of a batch.
    pub const MAX_BATCH: usize = 4096;
    /// The most threads that prepare pictures.
    pub const MAX_WORKERS: usize = 256;
    /// The most batches ahead.
    pub const MAX_PREFETCH: usize = 256;

    /// # Errors
    /// The first count that is out of range.
    fn check(&self) -> Result<(), DataError> {
        let counts = [
            ("batch", self.batch, 1..=Self::MAX_BATCH),
            ("workers", self.workers, 1..=Self::MAX_WORKERS),
            ("prefetch", self.prefetch, 0..=Self::MAX_PREFETCH),
        ];
        match counts
            .into_iter()
            .find(|(_, count, range)| !range.contains(count))
        {
            Some((setting, count, range)) => Err(DataError::setting(
                format!("{setting} = {count}"),
                setting,
                format!("give {} to {}", range.start(), range.end()),
            )),
            None => Ok(()),
        }
    }
}

impl Default for LoaderOptions {
    /// Batches of 8, shuffled, a thread a core but one, two batches ahead, up to 1 GiB kept, ImageNet's mean and
    /// deviation.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            batch: 8,
            shuffle: true,
            seed: 0,
            drop_last: false,
            workers: (cores - 1).clamp(1, Self::MAX_WORKERS),
            prefetch: 2,
            cache_bytes: 1 << 30,
            mean: Preprocess::IMAGENET_MEAN,
            std: Preprocess::IMAGENET_STD,
            pixels: Pixels::default(),
        }
    }
}

/// Pictures as a network reads them, and their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// NCHW: for each picture three planes (red, green, blue, or as [`LoaderOptions::pixels`] says) of normalised values, row by row.
    pub pictures: Vec<f32>,
    /// NHW: for each picture the ids of its pixels, 255 where none counts.
    pub labels: Vec<u8>,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Index of each picture in the data set; their count is N.
    pub items: Vec<usize>,
}

impl Batch {
    /// How many pictures.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none, which no batch of a loader is.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// Makes batches of a data set.
pub struct Loader {
    source: Arc<Source>,
    options: LoaderOptions,
}

/// What the workers share.
struct Source {
    dataset: Dataset,
    augmentation: Augmentation,
    normalise: Preprocess,
    cache: Cache,
    seed: u64,
}

/// A picture as it goes into a batch.
struct Prepared {
    item: usize,
    size: (usize, usize),
    picture: Vec<f32>,
    labels: Vec<u8>,
}

impl Loader {
    /// A loader of all pictures in `dataset`.
    ///
    /// # Errors
    /// No pictures, batches, workers or batches ahead that are none or too many, or a setting of the augmentation that
    /// cannot be.
    pub fn new(
        dataset: Dataset,
        augmentation: Augmentation,
        options: LoaderOptions,
    ) -> Result<Self, DataError> {
        augmentation.check()?;
        options.check()?;
        if dataset.is_empty() {
            let remedy = "choose another split, or add pictures";
            return Err(DataError::at("no pictures to load", dataset.root(), remedy));
        }
        let normalise = Preprocess {
            pixels: options.pixels,
            resize: Resize::None,
            center_crop: None,
            mean: options.mean,
            std: options.std,
            pad: None,
        };
        let cache = Cache::new(dataset.len(), options.cache_bytes);
        let seed = options.seed;
        let source = Source {
            dataset,
            augmentation,
            normalise,
            cache,
            seed,
        };
        Ok(Self {
            source: Arc::new(source),
            options,
        })
    }

    /// Batches in an epoch.
    pub fn batches(&self) -> usize {
        let (count, batch) = (self.source.dataset.len(), self.options.batch);
        if self.options.drop_last {
            count / batch
        } else {
            count.div_ceil(batch)
        }
    }

    /// The data set.
    pub fn dataset(&self) -> &Dataset {
        &self.source.dataset
    }

    /// The batches of an epoch (counted from 0) from the `first` on; after a pause, where it was left.
    ///
    /// # Errors
    /// Threads that the system does not give.
    pub fn epoch(&self, epoch: u64, first: usize) -> Result<Batches, DataError> {
        let Self { source, options } = self;
        let mut order = order(
            source.dataset.len(),
            options.shuffle.then_some((source.seed, epoch)),
        );
        order.truncate(self.batches() * options.batch);
        let order = order.split_off((first * options.batch).min(order.len()));
        let queue = Arc::new(Queue::new(order.len(), options.batch, options.prefetch));
        // A pool of one thread a worker: what happens on all threads elsewhere stays on this one here, and the cores
        // are the network's.
        for worker in 0..options.workers.min(order.len()) {
            let pool = ThreadPoolBuilder::new()
                .num_threads(1)
                .thread_name(move |_| format!("data-{worker}"))
                .build()
                .map_err(|cause| {
                    DataError::setting(format!("no thread: {cause}"), "workers", "ask for fewer")
                })?;
            let (queue, source, order) = (queue.clone(), source.clone(), order.clone());
            pool.spawn(move || {
                queue.work(
                    |place| source.prepare(order[place], epoch),
                    |parts| source.assemble(parts),
                );
            });
        }
        Ok(Batches {
            queue,
            waited: Duration::ZERO,
        })
    }
}

impl Source {
    fn prepare(&self, item: usize, epoch: u64) -> Result<Prepared, DataError> {
        let draw = Draw {
            seed: self.seed,
            epoch,
            item,
        };
        let fixed = self.augmentation.fixed();
        let begun = self.cache.get(item, || {
            Ok(self.augmentation.apply_fixed(self.dataset.sample(item)?))
        })?;
        let sample: Sample = self.augmentation.apply_from(fixed, begun, draw);
        let picture = self.normalise.apply(sample.picture()).tensor;
        let size = sample.size();
        let labels = sample.into_parts().1.into_ids();
        Ok(Prepared {
            item,
            size,
            picture,
            labels,
        })
    }

    fn assemble(&self, parts: Vec<Prepared>) -> Result<Batch, DataError> {
        let (width, height) = parts[0].size;
        if let Some(other) = parts.iter().find(|part| part.size != (width, height)) {
            let name = |part: &Prepared| self.dataset.items()[part.item].name().to_owned();
            let (w, h) = other.size;
            return Err(DataError::data(
                format!("pictures of {width}×{height} and {w}×{h} in one batch"),
                format!("{} and {}", name(&parts[0]), name(other)),
                "end the augmentation with a size for all: { name = \"resize\", size = \"256x256\" } or random_crop",
            ));
        }
        let mut batch = Batch {
            pictures: Vec::with_capacity(parts.len() * parts[0].picture.len()),
            labels: Vec::with_capacity(parts.len() * parts[0].labels.len()),
            width,
            height,
            items: Vec::with_capacity(parts.len()),
        };
        for part in parts {
            batch.pictures.extend_from_slice(&part.picture);
            batch.labels.extend_from_slice(&part.labels);
            batch.items.push(part.item);
        }
        Ok(batch)
    }
}

/// The batches of one epoch, in order. Dropping it stops the workers.
pub struct Batches {
    queue: Arc<Queue<Prepared, Batch>>,
    waited: Duration,
}

impl Batches {
    /// How long [`Iterator::next`] has waited for workers in all.
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, DataError>;

    /// The next batch. After an error come the batches behind it.
    fn next(&mut self) -> Option<Self::Item> {
        let start = Instant::now();
        let batch = self.queue.take();
        self.waited += start.elapsed();
        batch
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.queue.stop();
    }
}
