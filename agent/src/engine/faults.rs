//! What a look could not find out, since when, and when what was known before is too old to stand for it.

use std::collections::BTreeSet;

use super::Engine;
use crate::clock::Moment;
use crate::resolve::{Known, Part, Resolution, resolve};
use crate::source::Findings;

impl Engine {
    /// Resolves the findings on top of what is known and not too old.
    pub(super) fn resolve(&self, findings: &Findings) -> Resolution {
        let now = Moment::now();
        let too_old = |since: &Moment| since.age(&now) > self.settings.guard.max_stale;
        let stale = self.state.failing.iter().filter(|(_, since)| too_old(since));
        let mut stale: BTreeSet<Part> = stale.map(|(part, _)| part.clone()).collect();
        let grants = &self.settings.grants;
        let known = Known { key_set: &self.state.key_set, revoked: &self.state.revoked, stale: &stale };
        let resolution = resolve(grants, findings, known);
        if !too_old(&self.state.reached) {
            return resolution;
        }
        // What fails for the first time was last reached by the look before this one, too long ago by now.
        stale.extend(resolution.faults.into_keys().filter(|part| !self.state.failing.contains_key(part)));
        resolve(grants, findings, Known { key_set: &self.state.key_set, revoked: &self.state.revoked, stale: &stale })
    }

    /// Keeps which parts fail and since when, and says so when that changes.
    pub(super) fn note_faults(&mut self, resolution: &Resolution, findings: &Findings) {
        for (part, fault) in &resolution.faults {
            if self.faults.get(part) != Some(fault) {
                tracing::warn!(action = "fault", part = %part, "{part} could not be looked up, what was known stands: {fault}");
            }
        }
        for part in self.faults.keys().filter(|part| !resolution.faults.contains_key(part)) {
            tracing::info!(action = "fault-over", part = %part, "{part} can be looked up again");
        }
        for notice in resolution.notices.difference(&self.notices) {
            tracing::warn!(action = "notice", "{notice}");
        }
        self.faults.clone_from(&resolution.faults);
        self.notices.clone_from(&resolution.notices);

        let failing = &mut self.state.failing;
        let before = failing.len();
        failing.retain(|part, _| resolution.faults.contains_key(part) || is_hidden(part, resolution, findings));
        let mut changed = failing.len() != before;
        for part in resolution.faults.keys() {
            if !failing.contains_key(part) {
                // It was last reached by the look before this one.
                failing.insert(part.clone(), self.state.reached.clone());
                changed = true;
            }
        }
        if changed {
            self.saved = None;
        }
        self.note_too_old();
    }

    /// Finds out what let people in as last known and does so no more, and says so once.
    fn note_too_old(&mut self) {
        let (now, max_stale) = (Moment::now(), self.settings.guard.max_stale);
        let expired = |part: &Part| self.state.failing.get(part).is_some_and(|since| since.age(&now) > max_stale);
        // What is barred is barred without end.
        let parts = self.faults.keys().filter(|part| **part != Part::Revocations && expired(part));
        let too_old: BTreeSet<_> = parts.cloned().collect();
        for part in too_old.difference(&self.too_old) {
            tracing::warn!(
                action = "too-old", part = %part,
                "{part} could not be looked up for longer than max_stale: what was known of it lets nobody in any more"
            );
        }
        self.too_old = too_old;
    }
}

/// Whether a look could not say how it stands with a part, because of another part that failed. Its time goes on then:
/// faults that take turns do not make what was last known good for ever.
fn is_hidden(part: &Part, resolution: &Resolution, findings: &Findings) -> bool {
    let leads_to_people = |fault: &Part| matches!(fault, Part::Group(_) | Part::User(_) | Part::Names(_));
    match part {
        Part::Keys(person, _) if !findings.keys.contains_key(person) => {
            resolution.faults.keys().any(|fault| *fault == Part::Source || leads_to_people(fault))
        }
        _ => resolution.faults.contains_key(&Part::Source),
    }
}
