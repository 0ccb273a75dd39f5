//! Which of the messages in a queue are news: many messages about one change cost one look.
//!
//! Pure, and without a clock of its own: what AWS says about when a message was sent is only ever compared with what
//! AWS says about when another was received, so that a wrong clock on the box changes nothing.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

/// How far the clocks of two AWS hosts are taken to be apart at most.
const CLOCK_MARGIN: SignedDuration = SignedDuration::from_secs(1);

/// A hint to look: nothing in it is to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hint {
    /// When the newest message behind it was sent, by the clock of AWS; for the log only.
    pub sent: Option<Timestamp>,
}

/// A message as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Received {
    /// The id that SQS gave it; a message that is delivered again keeps its own.
    pub(super) id: String,
    /// `SentTimestamp`.
    pub(super) sent: Option<Timestamp>,
    /// `ApproximateFirstReceiveTimestamp`.
    pub(super) first_receipt: Option<Timestamp>,
    /// Whether it could be read as a hint.
    pub(super) hint: bool,
}

/// What is remembered of the batch that last triggered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    received: Option<Timestamp>,
    ids: BTreeSet<String>,
}

impl Seen {
    /// Whether the message can tell of something that a look after the last trigger did not see.
    ///
    /// Without time stamps it is taken for news: a look too many is better than one too few.
    fn is_news(&self, message: &Received) -> bool {
        if self.ids.contains(&message.id) {
            return false;
        }
        match (message.sent, self.received) {
            (Some(sent), Some(received)) => sent.duration_since(received) > -CLOCK_MARGIN,
            _ => true,
        }
    }
}

/// Takes the next batch: what to remember, and the hint to pass on, if any message in it is news.
pub(super) fn coalesce(seen: Seen, batch: &[Received]) -> (Seen, Option<Hint>) {
    let Some(newest) = batch.iter().filter(|message| message.hint && seen.is_news(message)).max_by_key(|m| m.sent)
    else {
        return (seen, None);
    };
    let hint = Hint { sent: newest.sent };
    // A message delivered again has an old time of first receipt; the batch was received at its latest.
    let received = batch.iter().filter_map(|message| message.first_receipt).max().max(seen.received);
    let ids = batch.iter().map(|message| message.id.clone()).collect();
    (Seen { received, ids }, Some(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millisecond: i64) -> Option<Timestamp> {
        Timestamp::from_millisecond(1_700_000_000_000 + millisecond).ok()
    }

    fn message(id: i64, sent: i64, received: i64) -> Received {
        Received { id: id.to_string(), sent: at(sent), first_receipt: at(received), hint: true }
    }

    /// Runs the batches through and counts the triggers.
    fn triggers<'a>(batches: impl IntoIterator<Item = &'a [Received]>) -> usize {
        let mut seen = Seen::default();
        let mut count = 0;
        for batch in batches {
            let (next, hint) = coalesce(seen, batch);
            seen = next;
            count += usize::from(hint.is_some());
        }
        count
    }

    #[test]
    fn the_first_hint_triggers_at_once_and_names_the_newest_message() {
        let (_, hint) = coalesce(Seen::default(), &[message(1, 10, 50), message(2, 30, 50), message(3, 20, 50)]);
        assert_eq!(hint, Some(Hint { sent: at(30) }));
    }

    #[test]
    fn r12_ten_thousand_queued_messages_in_any_order_trigger_once() {
        let mut backlog: Vec<_> = (0..10_000).map(|n| message(n, -2_000 - n, n)).collect();
        fastrand::Rng::with_seed(12).shuffle(&mut backlog);
        for (n, message) in (0..).zip(&mut backlog) {
            message.first_receipt = at(n);
        }
        assert_eq!(triggers(backlog.chunks(10)), 1);
    }

    #[test]
    fn r12_a_message_that_is_delivered_again_does_not_trigger_again() {
        let batch = [message(1, 0, 100), message(2, 5, 100)];
        assert_eq!(triggers([&batch[..], &batch[..1], &batch[1..]]), 1);
    }

    #[test]
    fn a_message_sent_after_the_last_trigger_was_received_triggers_again() {
        assert_eq!(triggers([&[message(1, 0, 100)][..], &[message(2, 200, 300)]]), 2);
    }

    #[test]
    fn a_message_sent_within_the_margin_before_the_last_trigger_triggers_again() {
        let first = [message(1, 0, 5_000)];
        assert_eq!(triggers([&first[..], &[message(2, 4_001, 5_100)]]), 2);
        assert_eq!(triggers([&first[..], &[message(2, 4_000, 5_100)]]), 1);
    }

    #[test]
    fn a_redelivered_old_message_does_not_move_the_last_trigger_back() {
        let late = message(1, 90_000, 100_000);
        // Received for the first time long ago, without time stamps of use; its own batch triggers.
        let odd = Received { sent: None, ..message(2, 0, 10) };
        assert_eq!(triggers([&[late][..], &[odd], &[message(3, 50_000, 100_200)]]), 2);
    }

    #[test]
    fn t11_messages_that_are_no_hints_trigger_nothing_and_change_nothing() {
        let forged = Received { hint: false, ..message(1, 0, 100) };
        assert_eq!(coalesce(Seen::default(), &[forged]), (Seen::default(), None));
    }

    #[test]
    fn messages_without_time_stamps_trigger() {
        let bare = |id| Received { sent: None, first_receipt: None, ..message(id, 0, 0) };
        assert_eq!(triggers([&[bare(1)][..], &[bare(2)]]), 2);
    }
}
