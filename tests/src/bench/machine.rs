//! What the bench runs on, in one line, so that a table can be told from another machine's.

use std::fs;
use std::path::Path;

use nix::sys::utsname::uname;

/// Where the pinned versions of the programs in comparison are.
const REQUIREMENTS: [&str; 2] = [include_str!("../../requirements.txt"), include_str!("../../requirements-bench.txt")];

/// The programs in comparison, and the server that plays AWS.
const SHOWN: [&str; 3] = ["moto", "keymaker", "awscli"];

/// Processor, cores, memory, kernel, and the versions of everything that was run.
pub(super) fn machine() -> String {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default();
    let gibibytes = field(&memory, "MemTotal").and_then(|value| value.split(' ').next()?.parse::<u64>().ok());
    let mut parts = vec![
        format!("{cores} cores of {}", field(&processors, "model name").unwrap_or("an unnamed processor")),
        format!("{} GiB", gibibytes.unwrap_or_default() >> 20),
        format!("Linux {kernel}"),
        format!("load at the start {}", load().unwrap_or_else(|| "unknown".to_owned())),
        format!("Fleetkey {} ({} build)", env!("CARGO_PKG_VERSION"), profile()),
    ];
    parts.extend(SHOWN.iter().filter_map(|name| Some(format!("{name} {}", pinned(name)?))));
    parts.join(", ")
}

/// Processes that ran or waited to, on average over the last minute: on a machine that is busy with other things, times
/// are worth little.
pub(super) fn load() -> Option<String> {
    Some(fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.to_owned())
}

/// A debug build's numbers are good for nothing but trying the bench itself.
fn profile() -> &'static str {
    if cfg!(debug_assertions) { "DEBUG" } else { "release" }
}

/// The value of the first `name : value` line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}

/// The version of a package that the virtual environments hold.
fn pinned(name: &str) -> Option<&'static str> {
    let mut lines = REQUIREMENTS.iter().flat_map(|text| text.lines());
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix("=="))
}

/// The bytes of the files below a folder, in mebibytes; links are not followed.
pub(super) fn size_below(folder: &Path) -> std::io::Result<f64> {
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                bytes += metadata.len();
            }
        }
    }
    Ok(mebibytes(bytes))
}

/// Bytes in mebibytes.
#[expect(clippy::cast_precision_loss, reason = "sizes here are far below 2^52 bytes")]
pub(super) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_the_kernel_and_every_program_in_comparison() {
        let line = machine();
        let kernel = uname().expect("there is a kernel").release().to_string_lossy().into_owned();
        assert!(line.contains(&kernel), "{line}");
        assert!(SHOWN.iter().all(|name| line.contains(&format!(", {name} "))), "{line}");
    }
}
