//! The last line of defence against a panic inside a reader that is not ours.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `read`, and gives a panic in it back as its message.
///
/// Weight files come from strangers, and no byte of them may bring down a server. Sizes are checked
/// before this, so a panic here is a defect of the reader; what it was reading is dropped whole,
/// so that nothing half-changed is seen afterwards.
pub(crate) fn without_panic<T>(read: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read)).map_err(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        format!(
            "the reader gave up ({})",
            message.unwrap_or("no reason given")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(without_panic(|| 3), Ok(3));
        let text = without_panic(|| [0][std::hint::black_box(1)]).unwrap_err();
        assert!(text.contains("out of bounds"), "{text}");
    }
}
