//! The lines of an answer, and an operator in an account that is set up.

use anyhow::{Context as _, Result};
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::packages::Packages;
use serde_json::Value;

use super::super::fleetkey::{Operator, Ran};

/// A line: the check, how it stands, what was seen, and what mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) check: String,
    pub(super) state: String,
    pub(super) what: String,
    pub(super) mend: String,
}

/// The lines of an answer.
pub(super) fn lines(ran: &Ran) -> Result<Vec<Line>> {
    let json: Value = serde_json::from_str(&ran.stdout).with_context(|| format!("stdout is JSON: {}", ran.stdout))?;
    let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let lines: Vec<Line> = json["findings"]
        .as_array()
        .context("there are findings")?
        .iter()
        .map(|line| Line {
            check: text(line, "check"),
            state: text(line, "state"),
            what: text(line, "what"),
            mend: text(line, "mend"),
        })
        .collect();
    assert_eq!(json["ok"], lines.iter().all(|line| line.state != "missing"));
    Ok(lines)
}

/// The lines of one check, as `state what`.
pub(super) fn of(lines: &[Line], check: &str) -> Vec<String> {
    let lines = lines.iter().filter(|line| line.check == check);
    lines.map(|line| format!("{} {}", line.state, line.what)).collect()
}

/// Panics unless a check has a line that begins so, and something that mends it.
#[track_caller]
pub(super) fn told(lines: &[Line], check: &str, begins: &str, mend: &str) {
    let found =
        lines.iter().find(|line| line.check == check && format!("{} {}", line.state, line.what).starts_with(begins));
    let found = found.unwrap_or_else(|| panic!("{check} has no line {begins:?}: {lines:#?}"));
    assert!(found.mend.contains(mend), "{found:?}");
}

/// `doctor --output json` and more.
pub(super) async fn doctor(operator: &Operator, more: &[&str]) -> Result<Ran> {
    operator.run(&[&["doctor", "--output", "json"], more].concat()).await
}

/// An operator in an account that is set up, with a key of hers and the agent's packages.
pub(super) async fn at_work() -> Result<Operator> {
    let operator = Operator::new("alice").await?;
    operator.run(&["init", "--yes", "--no-policies"]).await?.ended(0);
    let file = operator.key_file(&TestKey::new("alice")?)?;
    operator.register(&file, &[]).await?.ended(0);
    let packages = Packages::stand_in()?;
    let (deb, rpm) = (packages.deb()?, packages.rpm()?);
    let path = |path: &std::path::Path| path.to_str().map(str::to_owned).context("the path is text");
    operator.run(&["agent", "publish", &path(&deb)?, &path(&rpm)?]).await?.ended(0);
    Ok(operator)
}
