//! The pace of hints: the first is passed on at once, and those of a flood ever more slowly.
//!
//! Whoever can publish to the topic could otherwise have the whole fleet ask IAM without pause. No hint is lost: of
//! those that arrive during a pause one is kept, and it is passed on when the pause ends.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::coalesce::Hint;

/// The pause after a hint that came out of the blue.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause in a flood.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The two ends of the way of a hint. It holds one hint: that one stands for all that come while it waits.
pub(super) fn channel() -> (mpsc::Sender<Hint>, mpsc::Receiver<Hint>) {
    mpsc::channel(1)
}

/// Passes hints on until the sender is gone.
pub(super) async fn deliver(mut waiting: mpsc::Receiver<Hint>, hints: impl Fn(Hint)) {
    let mut pause = Duration::ZERO;
    let mut ready_since = Instant::now();
    while let Some(hint) = waiting.recv().await {
        pause = next_pause(pause, ready_since.elapsed());
        hints(hint);
        sleep(pause).await;
        ready_since = Instant::now();
    }
}

/// The pause after a hint: twice the last one, unless it had been quiet for as long as that one.
fn next_pause(last: Duration, quiet: Duration) -> Duration {
    if quiet >= last { SHORTEST_PAUSE } else { (last * 2).min(LONGEST_PAUSE) }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const HINT: Hint = Hint { sent: None };

    #[tokio::test]
    async fn the_first_hint_is_passed_on_at_once_and_those_that_follow_as_one_after_a_pause() {
        let passed = RefCell::new(Vec::new());
        let (sender, receiver) = channel();
        let start = Instant::now();
        sender.try_send(HINT).unwrap();
        let work = async {
            sleep(SHORTEST_PAUSE / 10).await;
            sender.try_send(HINT).unwrap();
            assert!(sender.try_send(HINT).is_err(), "a hint that waits stands for the others");
            drop(sender);
        };
        tokio::join!(deliver(receiver, |_| passed.borrow_mut().push(start.elapsed())), work);
        let passed = passed.into_inner();
        assert!(passed.len() == 2 && passed[0] < SHORTEST_PAUSE && passed[1] >= SHORTEST_PAUSE, "{passed:?}");
    }

    #[test]
    fn t11_a_flood_of_an_hour_is_passed_on_once_in_ten_seconds() {
        // In a flood a hint waits whenever a pause ends.
        let pauses = std::iter::successors(Some(SHORTEST_PAUSE), |&last| Some(next_pause(last, Duration::ZERO)));
        let ends = pauses.scan(Duration::ZERO, |now, pause| {
            *now += pause;
            Some(*now)
        });
        let passed = ends.take_while(|&end| end < Duration::from_hours(1)).count();
        assert!((360..=370).contains(&passed), "{passed}");
    }

    #[test]
    fn after_a_quiet_time_the_pause_is_the_shortest_again() {
        assert_eq!(next_pause(LONGEST_PAUSE, Duration::from_secs(1)), LONGEST_PAUSE);
        assert_eq!(next_pause(LONGEST_PAUSE, LONGEST_PAUSE), SHORTEST_PAUSE);
        assert_eq!(next_pause(SHORTEST_PAUSE, Duration::ZERO), 2 * SHORTEST_PAUSE);
    }
}
