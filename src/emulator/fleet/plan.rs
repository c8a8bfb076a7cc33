//! What happens to a fleet by itself, in the order of its time.

use std::cmp::Reverse;
use std::time::Duration;

use rand::RngExt;

use super::Fleet;
use crate::core::time::Timestamp;
use crate::emulator::chance::{Purpose, draw_within};
use crate::emulator::instance::Action;
use crate::emulator::scenario::{Pick, Span};

/// Something that happens by itself. Ordered by time, then by when it was planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Planned {
    at: Timestamp,
    order: u64,
    what: Plan,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Plan {
    /// A step chooses its instances.
    Step(u32),
    /// An instance that was chosen has its turn.
    Act { number: u32, action: Action },
}

impl Fleet {
    pub(super) fn plan(&mut self, at: Timestamp, what: Plan) {
        let order = self.plans_made;
        self.plans_made += 1;
        self.planned.push(Reverse(Planned { at, order, what }));
    }

    /// Plays everything that was planned up to `now`, in the order of its time.
    pub fn advance(&mut self, now: Timestamp) {
        while let Some(Reverse(next)) = self.planned.peek().copied()
            && next.at <= now
        {
            self.planned.pop();
            self.now = self.now.max(next.at);
            match next.what {
                Plan::Step(number) => self.take_step(number),
                // Since it was chosen something else may have happened to it.
                Plan::Act { number, action } => {
                    self.act_on(number, action);
                }
            }
        }
        self.now = self.now.max(now);
    }

    /// Chooses the instances of a step at random among those of its group to which the action
    /// applies, and does it to them, at once or spread over the step's span.
    fn take_step(&mut self, number: u32) {
        let Some(step) = self.steps.get(number as usize).cloned() else {
            return;
        };
        let Some((_, members)) = self.groups.iter().find(|(name, _)| *name == step.group) else {
            return;
        };
        let mut candidates: Vec<u32> = members.clone().collect();
        let mut wanted = step.pick.of(candidates.len());
        let mut generator = self.pace.chance.stream(Purpose::Step(number));
        let span = Span::new(Duration::ZERO, step.over);
        let at = self.now;
        while wanted > 0 && !candidates.is_empty() {
            let candidate = candidates.swap_remove(generator.random_range(0..candidates.len()));
            let applies = self
                .played(candidate)
                .is_some_and(|(instance, _)| step.action.applies_to(instance.state()));
            if !applies {
                continue;
            }
            wanted -= 1;
            if step.over.is_zero() {
                self.act_on(candidate, step.action);
            } else {
                let what = Plan::Act {
                    number: candidate,
                    action: step.action,
                };
                self.plan(at + draw_within(span, &mut generator), what);
            }
        }
    }
}

impl Pick {
    /// How many of a group of this size it takes.
    fn of(self, size: usize) -> usize {
        match self {
            Self::All => size,
            Self::Count(count) => size.min(count as usize),
            Self::Share(share) => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    clippy::cast_precision_loss,
                    reason = "a share in 0..=1 of at most a few million instances"
                )]
                let part = (size as f64 * share).round() as usize;
                part.clamp(size.min(1), size)
            }
        }
    }
}
