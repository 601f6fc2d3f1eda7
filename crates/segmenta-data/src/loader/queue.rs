//! Work dealt out part by part and handed over batch by batch, in order, a bounded way ahead.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::DataError;

/// Parts `0..parts` become batches of `batch`; workers take parts in order, and none beyond `ahead` batches after
/// the one that the consumer waits for.
pub(super) struct Queue<P, B> {
    parts: usize,
    batch: usize,
    ahead: usize,
    state: Mutex<State<P, B>>,
    changed: Condvar,
}

struct State<P, B> {
    /// The next part that no worker has taken.
    next: usize,
    /// Batches handed over.
    taken: usize,
    /// Those after them, as far as a worker has begun.
    open: VecDeque<Open<P, B>>,
    stopped: bool,
}

/// A batch in the making.
enum Open<P, B> {
    Parts {
        parts: Vec<Option<Result<P, DataError>>>,
        left: usize,
    },
    Assembling,
    Done(Result<B, DataError>),
}

impl<P, B> Queue<P, B> {
    pub(super) fn new(parts: usize, batch: usize, ahead: usize) -> Self {
        let state = State {
            next: 0,
            taken: 0,
            open: VecDeque::new(),
            stopped: false,
        };
        Self {
            parts,
            batch,
            ahead,
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// A worker's life: makes parts as long as there are any; who makes the last of a batch assembles it.
    pub(super) fn work(
        &self,
        make: impl Fn(usize) -> Result<P, DataError>,
        assemble: impl Fn(Vec<P>) -> Result<B, DataError>,
    ) {
        while let Some(part) = self.next_part() {
            let made = caught(|| make(part));
            let Some(parts) = self.put(part, made) else {
                continue;
            };
            let batch = parts.into_iter().collect::<Result<Vec<P>, _>>();
            let batch = batch.and_then(|parts| caught(|| assemble(parts)));
            let mut state = self.lock();
            // Batches before it may have been handed over meanwhile.
            let place = part / self.batch - state.taken;
            state.open[place] = Open::Done(batch);
            self.changed.notify_all();
        }
    }

    fn next_part(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            if state.stopped || state.next >= self.parts {
                return None;
            }
            let batch = state.next / self.batch;
            if batch <= state.taken + self.ahead {
                let part = state.next;
                state.next += 1;
                if batch - state.taken == state.open.len() {
                    let count = self.batch.min(self.parts - batch * self.batch);
                    let parts = (0..count).map(|_| None).collect();
                    state.open.push_back(Open::Parts { parts, left: count });
                }
                return Some(part);
            }
            state = self.wait(state);
        }
    }

    /// Keeps a part; gives all parts of its batch if it was the last of them.
    fn put(&self, part: usize, made: Result<P, DataError>) -> Option<Vec<Result<P, DataError>>> {
        let mut state = self.lock();
        let place = part / self.batch - state.taken;
        let open = &mut state.open[place];
        if let Open::Parts { parts, left } = open {
            parts[part % self.batch] = Some(made);
            *left -= 1;
            if *left > 0 {
                return None;
            }
        }
        match std::mem::replace(open, Open::Assembling) {
            Open::Parts { parts, .. } => Some(parts.into_iter().flatten().collect()),
            other => {
                *open = other;
                None
            }
        }
    }

    /// The next batch, waited for; `None` when all have been handed over.
    pub(super) fn take(&self) -> Option<Result<B, DataError>> {
        let mut state = self.lock();
        loop {
            if state.stopped || state.taken * self.batch >= self.parts {
                return None;
            }
            if matches!(state.open.front(), Some(Open::Done(_))) {
                let front = state.open.pop_front();
                state.taken += 1;
                self.changed.notify_all();
                return match front {
                    Some(Open::Done(batch)) => Some(batch),
                    _ => None,
                };
            }
            state = self.wait(state);
        }
    }

    /// Nobody wants more: workers end after what they are at.
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<P, B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<P, B>>) -> MutexGuard<'a, State<P, B>> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A defect in a worker must not leave the consumer waiting for ever.
fn caught<T>(work: impl FnOnce() -> Result<T, DataError>) -> Result<T, DataError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let remedy = "report it with the picture, please: this is a defect of the program";
        Err(DataError::data(
            "a worker failed",
            "loading pictures",
            remedy,
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::time::Duration;

    fn spawn(queue: &Arc<Queue<usize, Vec<usize>>>, workers: usize, made: &Arc<AtomicUsize>) {
        for _ in 0..workers {
            let (queue, made) = (queue.clone(), made.clone());
            std::thread::spawn(move || {
                let make = |part: usize| {
                    // Parts end in another order than they begin.
                    std::thread::sleep(Duration::from_micros((part * 7919 % 5) as u64 * 300));
                    made.fetch_add(1, SeqCst);
                    assert_ne!(part, 13, "unlucky");
                    Ok(part)
                };
                queue.work(make, Ok);
            });
        }
    }

    #[test]
    fn batches_come_in_order_and_a_failure_is_one_batchs() {
        for workers in [1, 2, 7] {
            let queue = Arc::new(Queue::new(23, 5, 1));
            spawn(&queue, workers, &Arc::default());
            let batches: Vec<_> = std::iter::from_fn(|| queue.take()).collect();
            assert_eq!(batches.len(), 5);
            for (n, batch) in batches.into_iter().enumerate() {
                match batch {
                    Ok(parts) => {
                        assert_eq!(parts, (n * 5..(n * 5 + 5).min(23)).collect::<Vec<_>>());
                    }
                    Err(error) => assert!(n == 2 && error.to_string().contains("a worker failed")),
                }
            }
        }
    }

    #[test]
    fn workers_stay_within_the_bound() {
        let (queue, made) = (Arc::new(Queue::new(1000, 4, 2)), Arc::default());
        spawn(&queue, 3, &made);
        for taken in 0..3 {
            std::thread::sleep(Duration::from_millis(50));
            assert_eq!(made.load(SeqCst), (taken + 3) * 4);
            queue.take().unwrap().unwrap();
        }
        queue.stop();
        assert!(queue.take().is_none());
    }
}
