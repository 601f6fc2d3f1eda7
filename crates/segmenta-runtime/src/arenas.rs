//! The arenas that runs take and give back: kept for the next run, but no more than recent runs used.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use segmenta_kernels::{Arena, OutOfMemory};

/// Runs that are remembered: an arena that none of them could have used is given back to the system.
const RECENT: usize = 32;

/// What one run took.
#[derive(Clone, Copy, Debug)]
struct Taken {
    /// Values that it needed.
    len: usize,
    /// Runs that were under way then, itself included.
    together: usize,
}

#[derive(Debug, Default)]
struct State {
    /// By size, the smallest first.
    idle: Vec<Arena>,
    lent: usize,
    recent: VecDeque<Taken>,
}

/// A bounded store of arenas, shared between threads.
#[derive(Debug, Default)]
pub(crate) struct Arenas(Mutex<State>);

/// An arena in use; it goes back where it came from when this is dropped, after a panic too.
#[derive(Debug)]
pub(crate) struct Lent<'a> {
    store: &'a Arenas,
    pub(crate) arena: Arena,
}

impl Arenas {
    /// An arena of at least `len` values that nobody else uses.
    pub(crate) fn take(&self, len: usize) -> Result<Lent<'_>, OutOfMemory> {
        let found = {
            let mut state = self.lock();
            let found = state.best_for(len).map(|at| state.idle.remove(at));
            state.lent += 1;
            let together = state.lent;
            if state.recent.len() == RECENT {
                state.recent.pop_front();
            }
            state.recent.push_back(Taken { len, together });
            found
        };
        // Not under the lock: the system takes its time to map and clear large memory.
        let arena = match found {
            Some(arena) if arena.len() >= len => Ok(arena),
            // One that is too small is freed before the larger one is asked for.
            too_small => {
                drop(too_small);
                Arena::new(len)
            }
        };
        let lend = |arena| Lent { store: self, arena };
        arena.map(lend).inspect_err(|_| self.lock().lent -= 1)
    }

    /// Values that a run of `len` needs beyond those of the arena that it would take.
    pub(crate) fn growth(&self, len: usize) -> usize {
        let state = self.lock();
        let kept = state.best_for(len).map_or(0, |at| state.idle[at].len());
        len.saturating_sub(kept)
    }

    /// Values of the arenas that nobody uses.
    pub(crate) fn idle(&self) -> usize {
        self.lock().idle.iter().map(Arena::len).sum()
    }

    /// Frees the arenas that nobody uses, and forgets what runs used: those under way keep theirs, which go when
    /// they are done unless runs to come need them.
    pub(crate) fn trim(&self) {
        let freed = {
            let mut state = self.lock();
            state.recent.clear();
            std::mem::take(&mut state.idle)
        };
        drop(freed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The smallest idle arena that is large enough, or else the largest.
    fn best_for(&self, len: usize) -> Option<usize> {
        let fits = self.idle.iter().position(|arena| arena.len() >= len);
        fits.or(self.idle.len().checked_sub(1))
    }

    /// Takes an arena back; gives what is kept no longer.
    fn give_back(&mut self, arena: Arena) -> Vec<Arena> {
        self.lent -= 1;
        let at = self.idle.partition_point(|idle| idle.len() <= arena.len());
        self.idle.insert(at, arena);
        let largest = self.recent.iter().map(|run| run.len).max().unwrap_or(0);
        let together = self.recent.iter().map(|run| run.together).max();
        let most = together.unwrap_or(0).saturating_sub(self.lent);
        let is_used = |arena: &Arena| arena.len() <= largest;
        let fitting = self.idle.iter().take_while(|arena| is_used(arena)).count();
        let mut freed = self.idle.split_off(fitting);
        // The smallest go: the larger ones serve every run.
        let surplus = self.idle.len().saturating_sub(most);
        freed.extend(self.idle.drain(..surplus));
        freed
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let Ok(nothing) = Arena::new(0) else { return };
        let arena = std::mem::replace(&mut self.arena, nothing);
        let freed = self.store.lock().give_back(arena);
        drop(freed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arenas: &Arenas, len: usize) {
        let lent = arenas.take(len).unwrap();
        assert!(lent.arena.len() >= len);
    }

    #[test]
    fn one_arena_serves_one_run_after_the_other() {
        let arenas = Arenas::default();
        for len in [100, 300, 200] {
            run(&arenas, len);
        }
        assert_eq!(arenas.idle(), 300, "it grew, and is kept");
        assert_eq!(arenas.growth(250), 0);
        assert_eq!(arenas.growth(1000), 700);
    }

    #[test]
    fn a_large_one_goes_when_runs_no_longer_need_it() {
        let arenas = Arenas::default();
        run(&arenas, 1_000_000);
        for _ in 0..RECENT - 1 {
            run(&arenas, 10);
            assert_eq!(arenas.idle(), 1_000_000, "a large picture may come again");
        }
        for _ in 0..2 {
            run(&arenas, 10);
            assert!(arenas.idle() <= 10, "{}", arenas.idle());
        }
        run(&arenas, 10);
        assert_eq!(arenas.idle(), 10);
    }

    #[test]
    fn no_more_are_kept_than_runs_had_at_once() {
        let arenas = Arenas::default();
        let together: Vec<Lent<'_>> = (1..=8).map(|n| arenas.take(n * 10).unwrap()).collect();
        assert_eq!(arenas.idle(), 0);
        drop(together);
        assert_eq!(arenas.idle(), (1..=8).map(|n| n * 10).sum());
        // One after the other from now on: in the end one is left, the largest that they need.
        for _ in 0..=RECENT {
            run(&arenas, 20);
        }
        assert_eq!(arenas.lock().idle.len(), 1);
        assert_eq!(arenas.idle(), 20);
    }

    #[test]
    fn trimming_frees_what_is_idle_and_leaves_what_is_in_use() {
        let arenas = Arenas::default();
        let used = arenas.take(50).unwrap();
        run(&arenas, 70);
        assert_eq!(arenas.idle(), 70);
        arenas.trim();
        assert_eq!((arenas.idle(), used.arena.len()), (0, 50));
        drop(used);
        assert_eq!(arenas.idle(), 0, "nobody asked for one since");
        run(&arenas, 5);
        assert_eq!(arenas.idle(), 5);
    }

    #[test]
    fn a_run_that_panics_or_finds_no_memory_is_counted_out() {
        let arenas = Arenas::default();
        let panics = || {
            let _lent = arenas.take(10).unwrap();
            panic!("in a kernel");
        };
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics));
        assert!(caught.is_err());
        assert!(arenas.take(usize::MAX / 8).is_err());
        assert_eq!(arenas.lock().lent, 0);
        run(&arenas, 10);
        assert_eq!(arenas.idle(), 10);
    }
}
