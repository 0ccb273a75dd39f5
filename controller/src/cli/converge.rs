//! What `reset-security` and `update-instance-profile` have in common: how changes are shown and asked about.

use anyhow::Error;
use serde::Serialize;

use super::asking;
use super::on_box::told;
use crate::aws::CallError;
use crate::launch::converge::Step;
use crate::launch::plan::Change;
use crate::printer::Printer;
use crate::refusal::Refusal;
use crate::table::Table;
use crate::work::Outcome;

/// A change as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    action: &'static str,
    what: String,
    /// What it is changed in: a group, a profile.
    r#in: String,
    result: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Row {
    pub(super) fn new(step: &Step, of: &str) -> Self {
        let (action, what) = (step.change.action(), step.change.what());
        let error = step.error.as_ref().map(ToString::to_string);
        Self { action, what, r#in: of.to_owned(), result: step.outcome, error }
    }
}

/// The rows as a table.
pub(super) fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["ACTION", "WHAT", "IN", "RESULT"]);
    for row in rows {
        table.row(vec![row.action.into(), row.what.clone(), row.r#in.clone(), row.result.in_words().into()]);
    }
    table
}

/// An error of looking at what there is.
pub(super) fn looked(error: Error) -> Error {
    match error.downcast::<CallError>() {
        Ok(call) => told(call),
        Err(other) => other,
    }
}

/// Asks before something is taken away: `doing` that, in words, and the question.
pub(super) async fn agree(
    planned: &[Row],
    mut changes: impl Iterator<Item = &Change>,
    doing: &str,
    question: String,
) -> anyhow::Result<()> {
    if changes.any(takes_away) {
        asking::needs_a_terminal(doing, "--dry-run shows them")?;
        asking::confirm(table(planned), question).await?;
    }
    Ok(())
}

fn takes_away(change: &Change) -> bool {
    matches!(
        change,
        Change::Revoke { .. } | Change::DeletePolicy { .. } | Change::DetachPolicy { .. } | Change::RemoveRole { .. }
    )
}

/// The end of the command: an error if a change failed.
pub(super) fn finish(steps: &[Step], what: &str, printer: Printer) -> anyhow::Result<()> {
    let failed: Vec<_> = steps.iter().filter_map(|step| step.error.clone()).collect();
    let Some(first) = failed.first() else {
        if steps.iter().any(|step| step.outcome == Outcome::Done) {
            printer.note(&format!("{what}: done"));
        }
        return Ok(());
    };
    let refusal = Refusal::new(format!("{what}: not all was done")).hint_permissions(&failed);
    Err(Error::from(first.clone()).context(refusal.hint("the same command goes on")))
}
