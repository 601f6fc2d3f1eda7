//! Where networks run: threads of our own and a bounded queue before them. What answers requests only waits.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use bytes::Bytes;
use segmenta::{Cancel, Error, Picture, PreparedPicture, SegmentOptions, Segmentation, Tensor};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::models::{Entry, Loaded, add};
use crate::problem::Problem;

/// A picture that was segmented.
#[derive(Debug)]
pub struct Segmented {
    /// The picture, upright.
    pub picture: Picture,
    /// What the network says of it.
    pub segmentation: Segmentation,
    /// The network.
    pub loaded: Arc<Loaded>,
    /// From the request's arrival in the queue until a thread took it up.
    pub waited: Duration,
    /// Decoding and preparing it.
    pub read: Duration,
}

/// A place in the queue. It is taken before a request's body is read, so that bodies in memory are bounded with it.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

/// What is done with a picture that was segmented, or that could not be.
type Finish = Box<dyn FnOnce(Result<Segmented, Problem>) + Send>;

/// What takes a network and answers whoever asked.
type Answering = Box<dyn FnOnce(&Loaded, &Entry) + Send>;

/// What is to be done.
enum Task {
    Picture {
        bytes: Bytes,
        options: SegmentOptions,
        finish: Finish,
    },
    /// Anything else that takes a network: it answers by itself.
    Other(Answering),
}

struct Job {
    task: Task,
    entry: Arc<Entry>,
    loaded: Arc<Loaded>,
    cancel: Cancel,
    queued: Instant,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    is_closing: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
    places: Arc<Semaphore>,
    most_pixels: u64,
    busy: AtomicUsize,
    /// A moving mean of what a picture takes, in microseconds: when a full queue will have room.
    mean: AtomicU64,
}

/// The threads and their queue.
pub struct Pool {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    workers: usize,
    waiting: usize,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}

/// Frees a request's work when whoever waits for it is gone.
struct Abandon(Option<Cancel>);

impl Drop for Abandon {
    fn drop(&mut self) {
        if let Some(cancel) = &self.0 {
            cancel.cancel();
        }
    }
}

impl Pool {
    /// `workers` threads, and a queue in which `waiting` requests may wait for them. No picture may have more than
    /// `most_pixels`.
    pub(crate) fn new(workers: usize, waiting: usize, most_pixels: u64) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            arrived: Condvar::new(),
            places: Arc::new(Semaphore::new(workers + waiting)),
            most_pixels,
            busy: AtomicUsize::new(0),
            mean: AtomicU64::new(0),
        });
        let mut threads = Vec::with_capacity(workers);
        for i in 0..workers {
            let shared = Arc::clone(&shared);
            let builder = std::thread::Builder::new().name(format!("serve-{i}"));
            threads.push(builder.spawn(move || shared.work())?);
        }
        Ok(Self {
            shared,
            threads: Mutex::new(threads),
            workers,
            waiting,
        })
    }

    /// A place in the queue.
    ///
    /// # Errors
    /// It is full: 503 with the time after which there should be room.
    pub fn place(&self) -> Result<Place, Problem> {
        let permit = Arc::clone(&self.shared.places).try_acquire_owned();
        permit.map(|permit| Place { _permit: permit }).map_err(|_| {
            let mean = self.shared.mean.load(Ordering::Relaxed);
            let micros = mean * self.waiting as u64 / self.workers.max(1) as u64;
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("the queue is full: {} requests wait", self.waiting),
                "the server",
                "try again later, or start it with a longer --queue",
            )
            .retry_after(micros.div_ceil(1_000_000))
        })
    }

    /// Requests that wait, and threads that work.
    pub(crate) fn load(&self) -> (usize, usize) {
        let waiting = self.shared.lock().jobs.len();
        (waiting, self.shared.busy.load(Ordering::Relaxed))
    }

    /// How many wait at most, and how many threads there are.
    pub(crate) fn limits(&self) -> (usize, usize) {
        (self.waiting, self.workers)
    }

    /// A picture's bytes through a network, and what `make` makes of it, on a thread of the pool. Dropping the future frees
    /// the work.
    ///
    /// # Errors
    /// What the picture or `make` says; 504 after `deadline`.
    pub async fn segment<R: Send + 'static>(
        &self,
        entry: &Arc<Entry>,
        bytes: Bytes,
        options: SegmentOptions,
        place: Option<Place>,
        deadline: Duration,
        make: impl FnOnce(Segmented) -> Result<R, Problem> + Send + 'static,
    ) -> Result<R, Problem> {
        let (sender, receiver) = oneshot::channel();
        let of_finish = Arc::clone(entry);
        let started = Instant::now();
        let finish = move |segmented: Result<Segmented, Problem>| {
            let start = Instant::now();
            let made = segmented.and_then(make);
            let statistics = &of_finish.statistics;
            add(&statistics.output, start.elapsed());
            add(&statistics.request, started.elapsed());
            let count = if made.is_ok() {
                &statistics.succeeded
            } else {
                &statistics.failed
            };
            count.fetch_add(1, Ordering::Relaxed);
            // Nobody may wait any more.
            let _ = sender.send(made);
            drop(place);
        };
        let task = Task::Picture {
            bytes,
            options,
            finish: Box::new(finish),
        };
        self.wait(entry, task, deadline, receiver).await
    }

    /// A tensor through a network: `make` gets its results, in order.
    ///
    /// # Errors
    /// As [`Pool::segment`].
    pub async fn forward<R: Send + 'static>(
        &self,
        entry: &Arc<Entry>,
        input: Tensor,
        place: Option<Place>,
        deadline: Duration,
        make: impl FnOnce(Vec<Tensor>, &Loaded) -> Result<R, Problem> + Send + 'static,
    ) -> Result<R, Problem> {
        let (sender, receiver) = oneshot::channel();
        let started = Instant::now();
        let work = move |loaded: &Loaded, entry: &Entry| {
            let statistics = &entry.statistics;
            add(&statistics.queue, started.elapsed());
            let start = Instant::now();
            let results = loaded.model.engine().forward(&input.data, input.shape);
            add(&statistics.network, start.elapsed());
            statistics.runs.fetch_add(1, Ordering::Relaxed);
            let made = results
                .map_err(|error| Problem::of_text(StatusCode::BAD_REQUEST, &error.to_string()))
                .and_then(|results| make(results, loaded));
            statistics
                .pictures
                .fetch_add(input.shape.batch as u64, Ordering::Relaxed);
            add(&statistics.request, started.elapsed());
            let count = if made.is_ok() {
                &statistics.succeeded
            } else {
                &statistics.failed
            };
            count.fetch_add(1, Ordering::Relaxed);
            let _ = sender.send(made);
            drop(place);
        };
        let task = Task::Other(Box::new(work));
        self.wait(entry, task, deadline, receiver).await
    }

    async fn wait<R>(
        &self,
        entry: &Arc<Entry>,
        task: Task,
        deadline: Duration,
        receiver: oneshot::Receiver<Result<R, Problem>>,
    ) -> Result<R, Problem> {
        let cancel = Cancel::new();
        let job = Job {
            task,
            entry: Arc::clone(entry),
            loaded: entry.get()?,
            cancel: cancel.clone(),
            queued: Instant::now(),
        };
        let mut abandon = Abandon(Some(cancel));
        self.shared.lock().jobs.push_back(job);
        self.shared.arrived.notify_one();
        let answer = tokio::time::timeout(deadline, receiver).await;
        match answer {
            Ok(Ok(made)) => {
                abandon.0 = None;
                made
            }
            Ok(Err(_)) => Err(Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the work ended without a result",
                entry.name(),
                "the server's log has the reason; please report it",
            )),
            Err(_) => Err(Problem::new(
                StatusCode::GATEWAY_TIMEOUT,
                format!("not done within {} s", deadline.as_secs_f64()),
                entry.name(),
                "send a smaller picture, or start the server with a longer --deadline",
            )),
        }
    }

    /// Does what is queued and ends the threads.
    pub(crate) fn close(&self) {
        self.shared.lock().is_closing = true;
        self.shared.arrived.notify_all();
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A thread's panics are caught.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some(jobs) = self.next() {
            self.busy.fetch_add(1, Ordering::Relaxed);
            let (start, count) = (Instant::now(), jobs.len() as u64);
            // Decoders have a guard of their own; this one keeps a thread of few alive whatever happens.
            if catch_unwind(AssertUnwindSafe(|| self.run(jobs))).is_err() {
                tracing::error!("a request's work panicked; its sender was told");
            }
            let micros = start.elapsed().as_micros() as u64 / count;
            let mean = self.mean.load(Ordering::Relaxed);
            self.mean.store((mean * 7 + micros) / 8, Ordering::Relaxed);
            self.busy.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The next work: one job, or several pictures for one network. None once all is done and no more comes.
    fn next(&self) -> Option<Vec<Job>> {
        let mut queue = self.lock();
        let first = loop {
            match queue.jobs.pop_front() {
                // Nobody waits for it any more.
                Some(job) if job.cancel.is_cancelled() => {}
                Some(job) => break job,
                None if queue.is_closing => return None,
                None => {
                    let waited = self.arrived.wait(queue);
                    queue = waited.unwrap_or_else(PoisonError::into_inner);
                }
            }
        };
        let batches = first.loaded.batches;
        let mut jobs = vec![first];
        if batches.most < 2 || key(&jobs[0]).is_none() {
            return Some(jobs);
        }
        let until = Instant::now() + batches.delay;
        loop {
            let mut at = 0;
            while jobs.len() < batches.most && at < queue.jobs.len() {
                let is_alike = key(&queue.jobs[at])
                    .is_some_and(|other| Some(other) == key(&jobs[0]))
                    && Arc::ptr_eq(&queue.jobs[at].loaded, &jobs[0].loaded);
                if is_alike {
                    jobs.extend(queue.jobs.remove(at));
                } else {
                    at += 1;
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if jobs.len() == batches.most || left.is_zero() || !queue.jobs.is_empty() {
                // What woke this thread may have been meant for one that sleeps.
                if !queue.jobs.is_empty() {
                    self.arrived.notify_one();
                }
                return Some(jobs);
            }
            let waited = self.arrived.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn run(&self, jobs: Vec<Job>) {
        let mut pictures = Vec::with_capacity(jobs.len());
        for job in jobs {
            match job.task {
                Task::Other(work) => work(&job.loaded, &job.entry),
                Task::Picture {
                    bytes,
                    options,
                    finish,
                } => {
                    let waited = job.queued.elapsed();
                    add(&job.entry.statistics.queue, waited);
                    let start = Instant::now();
                    let decoded = Picture::decode_up_to(&bytes, self.most_pixels);
                    drop(bytes);
                    let picture = match decoded {
                        Ok(picture) => picture,
                        Err(error) => {
                            let place = "the picture in the request";
                            let text = Error::from(error.of(place));
                            finish(Err(Problem::of_picture(&text)));
                            continue;
                        }
                    };
                    let prepared = options
                        .tiles
                        .is_none()
                        .then(|| job.loaded.model.prepare(&picture, &options));
                    let read = start.elapsed();
                    add(&job.entry.statistics.input, read);
                    pictures.push(Read {
                        picture,
                        prepared,
                        options,
                        finish,
                        entry: job.entry,
                        loaded: job.loaded,
                        cancel: job.cancel,
                        waited,
                        read,
                    });
                }
            }
        }
        pictures.retain(|read| !read.cancel.is_cancelled());
        if pictures.is_empty() {
            return;
        }
        let start = Instant::now();
        let statistics = Arc::clone(&pictures[0].entry);
        let statistics = &statistics.statistics;
        let count = pictures.len() as u64;
        let together = (count > 1).then(|| together(&mut pictures)).flatten();
        let runs = if together.is_some() { 1 } else { count };
        let done: Vec<Result<Segmentation, Error>> = match together {
            Some(done) => done.into_iter().map(Ok).collect(),
            // One by one, also where one of several spoils it for the others.
            None => pictures.iter_mut().map(alone).collect(),
        };
        add(&statistics.network, start.elapsed());
        statistics.runs.fetch_add(runs, Ordering::Relaxed);
        statistics.pictures.fetch_add(count, Ordering::Relaxed);
        for (read, segmentation) in pictures.into_iter().zip(done) {
            (read.finish)(match segmentation {
                Ok(segmentation) => Ok(Segmented {
                    picture: read.picture,
                    segmentation,
                    loaded: read.loaded,
                    waited: read.waited,
                    read: read.read,
                }),
                Err(error) => Err(Problem::of_picture(&error)),
            });
        }
    }
}

/// A picture before its network.
struct Read {
    picture: Picture,
    prepared: Option<PreparedPicture>,
    options: SegmentOptions,
    finish: Finish,
    entry: Arc<Entry>,
    loaded: Arc<Loaded>,
    cancel: Cancel,
    waited: Duration,
    read: Duration,
}

/// What has to be the same for pictures to go through a network together; none for what goes alone.
fn key(job: &Job) -> Option<[bool; 5]> {
    match &job.task {
        Task::Picture { options, .. } if options.tiles.is_none() => Some([
            options.flip,
            options.probability,
            options.network,
            options.logits,
            options.probabilities,
        ]),
        _ => None,
    }
}

/// All at once: none if that fails, with the pictures as they were.
fn together(pictures: &mut [Read]) -> Option<Vec<Segmentation>> {
    let prepared: Option<Vec<_>> = pictures.iter().map(|read| read.prepared.clone()).collect();
    let (first, prepared) = (&pictures[0], prepared?);
    first
        .loaded
        .model
        .segment_prepared(prepared, &first.options)
        .ok()
}

fn alone(read: &mut Read) -> Result<Segmentation, Error> {
    let model = &read.loaded.model;
    if let Some(prepared) = read.prepared.take() {
        let mut done = model.segment_prepared(vec![prepared], &read.options)?;
        return Ok(done.remove(0));
    }
    // Tiles are many runs: whoever went away is noticed between them.
    let cancel = read.cancel.clone();
    model.segment_watched(&read.picture, &read.options, &mut |_| {
        if cancel.is_cancelled() {
            std::ops::ControlFlow::Break(())
        } else {
            std::ops::ControlFlow::Continue(())
        }
    })
}
