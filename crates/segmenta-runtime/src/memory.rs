//! How much memory there is: asked before it is used, because a system that promises more than it
//! has ends the process later without a word.

/// Bytes that can be had without swapping, where the system says so.
pub(crate) fn available() -> Option<usize> {
    available_in(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

/// As Linux writes it: `MemAvailable:   12345678 kB`.
fn available_in(meminfo: &str) -> Option<usize> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_says_it_in_kibibytes() {
        let text = "MemTotal:       24683520 kB\nMemAvailable:   20758548 kB\n";
        assert_eq!(available_in(text), Some(20_758_548 * 1024));
        assert_eq!(available_in("MemTotal: 1 kB"), None);
        assert_eq!(available_in("MemAvailable: much"), None);
    }
}
