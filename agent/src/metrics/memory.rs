//! Memory use from the text of `/proc/meminfo`. Pure.

/// The share of memory that is not available to new programs, in percent; `None` when the text does not say.
///
/// As psutil's `virtual_memory().percent`, which CGCloud used: caches that the kernel would give up count as
/// available. Format: proc_meminfo(5).
pub(super) fn used_percent(meminfo: &str) -> Option<f64> {
    let total = kibibytes(meminfo, "MemTotal").filter(|&total| total > 0)?;
    let available = kibibytes(meminfo, "MemAvailable").or_else(|| {
        // Kernels before 3.14, and some containers, do not have it.
        let parts = ["MemFree", "Buffers", "Cached"].map(|name| kibibytes(meminfo, name));
        parts.into_iter().try_fold(0_u32, |sum, part| Some(sum.saturating_add(part?)))
    })?;
    Some(f64::from(total.saturating_sub(available)) / f64::from(total) * 100.0)
}

/// A field of the file. 32 bits of kibibytes are four tebibytes; what is larger counts as that much.
fn kibibytes(meminfo: &str, name: &str) -> Option<u32> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let value: u64 = value.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(u32::try_from(value).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_available_is_in_use() {
        let meminfo = "MemTotal:        8000 kB\nMemFree:          100 kB\nMemAvailable:    6000 kB\nSwapTotal: 0 kB\n";
        assert_eq!(used_percent(meminfo), Some(25.0));
    }

    #[test]
    fn without_that_field_free_memory_and_caches_are_available() {
        let meminfo = "MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 50 kB\nCached: 350 kB\nSwapCached: 9 kB\n";
        assert_eq!(used_percent(meminfo), Some(50.0));
    }

    #[test]
    fn what_does_not_say_it_gives_nothing() {
        for bad in
            ["", "MemTotal: 1000 kB\n", "MemTotal: 0 kB\nMemAvailable: 0 kB\n", "MemTotal: x kB\nMemAvailable: 1 kB"]
        {
            assert_eq!(used_percent(bad), None, "{bad:?}");
        }
    }
}
