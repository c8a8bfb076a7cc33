//! Whether the replies of a scope are whole: an empty answer for everybody must make nobody gone.

use std::collections::VecDeque;
use std::time::Duration;

use crate::core::time::Instant;

/// How far back replies are counted.
const SPAN: Duration = Duration::from_secs(60);

/// From how many instances on the share is judged.
const JUDGED_FROM: u32 = 3;

/// Counts, over the last minute, how many instances that had rows before were asked for and how
/// many of them had rows again.
#[derive(Debug, Clone, Default)]
pub(super) struct Completeness {
    replies: VecDeque<(Instant, u32, u32)>,
    asked: u32,
    had_rows: u32,
}

impl Completeness {
    /// Takes in a reply to a call that asked for `asked` such instances.
    pub(super) fn handle_reply(&mut self, asked: u32, had_rows: u32, now: Instant) {
        while let Some((_, asked, had_rows)) =
            self.replies.pop_front_if(|(at, _, _)| *at + SPAN <= now)
        {
            self.asked -= asked;
            self.had_rows -= had_rows;
        }
        self.replies.push_back((now, asked, had_rows));
        self.asked += asked;
        self.had_rows += had_rows;
    }

    /// Whether a missing row means an absent instance: at least half had rows, or too few were
    /// asked for to say.
    pub(super) const fn holds(&self) -> bool {
        self.asked < JUDGED_FROM || self.had_rows * 2 >= self.asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_those_asked_for_in_the_last_minute_must_have_rows() {
        let at = |seconds| Instant::from_origin(Duration::from_secs(seconds));
        let mut completeness = Completeness::default();
        assert!(completeness.holds());
        completeness.handle_reply(2, 0, at(0));
        assert!(completeness.holds(), "two are too few to judge");
        completeness.handle_reply(100, 0, at(10));
        assert!(!completeness.holds());
        completeness.handle_reply(100, 100, at(20));
        assert!(!completeness.holds(), "100 of 202");
        completeness.handle_reply(100, 100, at(65));
        assert!(completeness.holds(), "the first reply no longer counts");
    }
}
