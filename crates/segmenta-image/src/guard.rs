//! Other people's decoders, run so that their defects stay theirs.
//!
//! A decoder that panics over a file must cost that file, not the folder or the server that it came with, and its
//! panic's message is nothing that a user can act on. Whatever reads a file's bytes runs in [`guarded`].

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use crate::PictureError;
use crate::decode::damaged;

thread_local! {
    /// Whether a panic on this thread will be caught here.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`, which reads a file of a format called `name`; a panic becomes an error.
pub(crate) fn guarded<T>(
    name: &str,
    work: impl FnOnce() -> Result<T, PictureError>,
) -> Result<T, PictureError> {
    quietly(work).unwrap_or_else(|| {
        Err(damaged(format!(
            "its {name} decoder gave up: the file is damaged, or of a layout that it does not know"
        )))
    })
}

/// Runs `work`; `None` if it panics, of which nothing is printed. What it was changing must be dropped with it.
pub(crate) fn quietly<T>(work: impl FnOnce() -> T) -> Option<T> {
    hush();
    let before = CAUGHT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(before);
    result.ok()
}

/// Puts a hook before the program's own, once: it passes on every panic but those that are caught here.
fn hush() {
    static ONCE: Once = Once::new();
    // A thread that panics may not change hooks; it prints what it prints.
    if std::thread::panicking() {
        return;
    }
    ONCE.call_once(|| {
        let previous = take_hook();
        set_hook(Box::new(move |info| {
            if !CAUGHT.get() {
                previous(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn a_panic_is_an_error_and_the_next_file_is_read() {
        let index = std::hint::black_box(3);
        let error = guarded("TIFF", || Ok([0; 3][index])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
        assert!(error.to_string().contains("TIFF decoder"), "{error}");
        assert!(!CAUGHT.get());
        assert_eq!(guarded("TIFF", || Ok(7)).unwrap(), 7);
    }
}
