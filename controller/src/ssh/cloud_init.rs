//! What `cloud-init status --long` says. Pure.
//!
//! The form differs by version: 22.2 has no other than this one, 23.4 brought `extended_status` and exit code 2, 24.1
//! calls `not run` `not started`. <https://docs.cloud-init.io/en/latest/explanation/failure_states.html>

/// The exit status of a shell that finds no such program: sh(1p).
const NOT_FOUND: i32 = 127;

/// How far cloud-init is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Status {
    /// Not through yet; in its own word.
    Running(String),
    /// Through, or not to run at all.
    Done,
    /// Through, with complaints.
    Degraded(String),
    /// Something that it was told to do failed.
    Failed(String),
    /// It is not on the box.
    Absent,
}

/// Reads its exit status and what it printed.
pub(super) fn read(code: i32, text: &str) -> Status {
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let Some(status) = value("status:") else {
        return if code == NOT_FOUND { Status::Absent } else { Status::Running(first_line(text)) };
    };
    let extended = value("extended_status:").unwrap_or(status);
    let is = |word: &str| status.contains(word) || extended.contains(word);
    if is("error") {
        Status::Failed(details(text, &["detail:", "errors:"]))
    } else if is("running") || is("not run") || is("not started") {
        Status::Running(extended.to_owned())
    } else if is("degraded") {
        Status::Degraded(details(text, &["recoverable_errors:"]))
    } else if is("done") || is("disabled") {
        Status::Done
    } else {
        Status::Running(extended.to_owned())
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().map_or_else(|| "cloud-init does not answer yet".to_owned(), str::to_owned)
}

/// What stands behind the last of these headings that is there, on one line.
fn details(text: &str, headings: &[&str]) -> String {
    let found = headings.iter().rev().find_map(|heading| text.split_once(heading)).map_or(text, |(_, rest)| rest);
    found.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_says_whether_it_is_through() {
        let running = |word: &str| Status::Running(word.to_owned());
        for (code, text, status) in [
            (
                0,
                "status: not run\nboot_status_code: unknown\ndetail:\nSystemd generator may not have run yet.\n",
                running("not run"),
            ),
            (0, "status: not started\nextended_status: not started\n", running("not started")),
            (0, "status: running\nlast_update: x\ndetail:\nRunning in stage: modules-final\n", running("running")),
            (2, "status: running\nextended_status: degraded running\n", running("degraded running")),
            (0, "status: done\nlast_update: x\ndetail:\nDataSourceEc2Local\n", Status::Done),
            (0, "status: disabled\ndetail:\nCloud-init disabled by cloud-init-generator\n", Status::Done),
            (127, "", Status::Absent),
            (1, "", running("cloud-init does not answer yet")),
        ] {
            assert_eq!(read(code, text), status, "{text}");
        }
    }

    #[test]
    fn failures_and_complaints_are_told_in_its_words() {
        let old =
            "status: error\nboot_status_code: enabled-by-generator\ndetail:\n('scripts-user', RuntimeError('x'))\n";
        assert_eq!(read(1, old), Status::Failed("('scripts-user', RuntimeError('x'))".into()));
        let new = "status: error\nextended_status: error - running\ndetail: DataSourceEc2\nerrors:\n\t- it broke\n";
        assert_eq!(read(1, new), Status::Failed("- it broke".into()));
        let degraded = "status: done\nextended_status: degraded done\ndetail: DataSourceEc2\nerrors: []\n\
            recoverable_errors:\nWARNING:\n\t- no such key\n";
        assert_eq!(read(2, degraded), Status::Degraded("WARNING: - no such key".into()));
    }
}
