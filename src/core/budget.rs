//! The budget: how many calls may be made now, and when the next one may.
//!
//! The provider counts calls per (account, region, operation) and does not publish how many it
//! allows, so the user says how many are ours: at most that many in any 60 s, every attempt
//! counted. Calls are paced: a small burst, and then one after another at even distances, so that
//! whoever needs all of the budget is never kept waiting for most of a minute.
//!
//! After a throttling answer there is silence until the time the answer named, or else the next
//! UTC minute, because the provider counts in minutes. Then calls go on at half their rate, which
//! grows back by a constant amount per second, and without a burst: whatever used up the account's
//! quota may still be at it.
//!
//! Of a budget that is short, bisection of failing batches takes at most a fifth, suspects at most
//! a tenth. What nobody else wants they may use.

use std::collections::VecDeque;
use std::time::Duration;

use super::time::{Instant, Timestamp};

mod ledger;

pub use ledger::BudgetRecord;

use ledger::Ledger;

/// The span in which at most `calls_per_minute` are made. One second longer than the provider's
/// minute: two calls may travel for different times and arrive closer together than they left.
const SPAN: Duration = Duration::from_secs(61);

/// How many calls may be made at once: a tenth of the limit, and of a small limit up to ten
/// calls, but never more than half of it.
const BURST_DIVISOR: u32 = 10;
const BURST_OF_SMALL: u32 = 10;

/// The smallest share of its rate that throttling leaves, however often it is repeated.
const SHARE_MIN: f64 = 0.125;

/// How long the rate takes to grow back from the smallest share.
const GROWTH: Duration = Duration::from_secs(120);

/// The longest pause after calls that failed for other reasons than throttling.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What a call is for. Looking for bad IDs must not cost the good ones their turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Asking for whoever is due.
    Routine,
    /// Finding out which ID made a batch fail: a fifth of the budget.
    Bisection,
    /// Asking alone for an ID that would make a batch fail: a tenth of the budget.
    Suspect,
}

/// A throttling answer: what it said, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttling {
    /// What `x-acs-retry-after` named.
    pub after: Option<Duration>,
    /// When the call was sent.
    pub sent: Instant,
    /// When the answer was here.
    pub received: Instant,
    /// The `Date` of the answer: the minute in which the provider counted the call.
    pub date: Option<Timestamp>,
    /// The earliest it can be at the server when the answer was here, as far as known.
    pub server_now: Option<Timestamp>,
}

/// The rate after throttling.
#[derive(Debug, Clone, Copy)]
struct Growth {
    /// When the throttling answer came. Calls sent before it were throttled for the same reason.
    throttled_at: Instant,
    /// From when on the rate grows: the end of the silence.
    from: Instant,
    /// The share of the full rate at that time.
    share: f64,
}

impl Growth {
    fn share_at(self, now: Instant) -> f64 {
        let grown = now.saturating_since(self.from).as_secs_f64() / GROWTH.as_secs_f64();
        (self.share + grown * (1.0 - SHARE_MIN)).min(1.0)
    }

    /// When the rate is the full one again.
    fn full_at(self) -> Instant {
        self.from + GROWTH.mul_f64(((1.0 - self.share) / (1.0 - SHARE_MIN)).clamp(0.0, 1.0))
    }
}

/// Counts the calls of one (account, region) and says when the next one may be made. Scopes that
/// share an account and a region share it.
#[derive(Debug, Clone)]
pub struct Budget {
    calls_per_minute: u32,
    /// When each call of the last span stops counting, oldest first.
    frees: VecDeque<Instant>,
    /// The same of those that bisected.
    bisections: VecDeque<Instant>,
    /// The same of those for suspects.
    suspects: VecDeque<Instant>,
    /// When the next call would be made if all so far had been evenly spaced. It may run ahead of
    /// the time by a burst.
    even: Instant,
    held_until: Instant,
    growth: Option<Growth>,
    throttled: u64,
    /// Where it is kept across restarts.
    ledger: Option<Ledger>,
}

impl Budget {
    /// A budget of so many calls in any minute, none spent; at least one. It is not kept across
    /// restarts: see [`Self::restore`] for one that is.
    #[must_use]
    pub fn new(calls_per_minute: u32) -> Self {
        Self {
            calls_per_minute: calls_per_minute.max(1),
            frees: VecDeque::new(),
            bisections: VecDeque::new(),
            suspects: VecDeque::new(),
            even: ORIGIN,
            held_until: ORIGIN,
            growth: None,
            throttled: 0,
            ledger: None,
        }
    }

    /// The first moment at which a call for this purpose may be made, and what forbids it until
    /// then. Where more than a quarter of the budget is left, no purpose is held to its share.
    #[must_use]
    pub fn available_at(&self, purpose: Purpose) -> (Instant, &'static str) {
        let paced = self.even.saturating_sub(self.lead());
        let reasons = [
            (self.spent_until().unwrap_or(ORIGIN), "the budget is spent"),
            (paced, "calls are spaced evenly"),
            (self.held_until, "the API asked for a pause"),
            (
                self.share_until(purpose),
                "its share of the budget is spent",
            ),
            (self.covered_from(), "the next calls are being recorded"),
        ];
        reasons.into_iter().fold((ORIGIN, "nothing"), later)
    }

    /// Whether a call for this purpose may take the turn of one that is due.
    #[must_use]
    pub fn is_within_share(&self, purpose: Purpose, now: Instant) -> bool {
        self.share(purpose)
            .is_none_or(|(used, share)| room_from(used, share).is_none_or(|from| from <= now))
    }

    /// A call is made now.
    pub fn spend(&mut self, purpose: Purpose, now: Instant) {
        if let Some(ledger) = &mut self.ledger {
            ledger.spend();
        }
        let (interval, lead) = (self.interval(), self.lead());
        let slowed = self.growth.filter(|growth| growth.share_at(now) < 1.0);
        self.even = match slowed {
            Some(growth) => {
                // Never longer than until the full rate allows it.
                let full = growth.full_at().saturating_since(now).max(interval);
                now + interval.div_f64(growth.share_at(now)).min(full) + lead
            }
            None => {
                // A burst is saved up only while there is room for it.
                let full_at = self.growth.map(Growth::full_at);
                let saved_from = self.spent_until().max(full_at);
                let saved_from = saved_from.map_or(ORIGIN, |from| from + lead);
                self.even.max(now).max(saved_from) + interval
            }
        };
        let counted_as = match purpose {
            Purpose::Routine => None,
            Purpose::Bisection => Some(&mut self.bisections),
            Purpose::Suspect => Some(&mut self.suspects),
        };
        for counted in [Some(&mut self.frees), counted_as].into_iter().flatten() {
            while counted.pop_front_if(|free| *free <= now).is_some() {}
            counted.push_back(now + SPAN);
        }
    }

    /// A call was throttled. `unit` in 0..1 spreads what would else return together.
    pub fn handle_throttling(&mut self, throttling: &Throttling, unit: f64) {
        self.throttled += 1;
        if let Some(ledger) = &mut self.ledger {
            ledger.handle_throttling();
        }
        let Throttling { sent, received, .. } = *throttling;
        let pause = throttling
            .after
            .unwrap_or_else(|| to_next_minute(throttling));
        let until = received + pause + Duration::from_secs(1).mul_f64(unit.clamp(0.0, 1.0));
        self.held_until = self.held_until.max(until);
        let from = self.held_until;
        self.growth = Some(match self.growth {
            Some(known) if sent <= known.throttled_at => Growth { from, ..known },
            known => Growth {
                throttled_at: received,
                from,
                share: (known.map_or(1.0, |known| known.share_at(received)) / 2.0).max(SHARE_MIN),
            },
        });
    }

    /// How many calls were throttled so far.
    #[must_use]
    pub const fn throttled(&self) -> u64 {
        self.throttled
    }

    /// When the calls of the last span leave room for one more; nothing while they always do.
    fn spent_until(&self) -> Option<Instant> {
        room_from(&self.frees, self.calls_per_minute)
    }

    fn covered_from(&self) -> Instant {
        match &self.ledger {
            Some(ledger) if !ledger.covers_a_call() => Instant::END,
            Some(_) | None => ORIGIN,
        }
    }

    fn share_until(&self, purpose: Purpose) -> Instant {
        let Some((used, share)) = self.share(purpose) else {
            return ORIGIN;
        };
        let own = room_from(used, share).unwrap_or(ORIGIN);
        let contended = self.calls_per_minute - self.calls_per_minute / 4;
        let idle = room_from(&self.frees, contended).unwrap_or(ORIGIN);
        own.min(idle)
    }

    /// The calls of the last span that count against the share of a purpose, and that share.
    fn share(&self, purpose: Purpose) -> Option<(&VecDeque<Instant>, u32)> {
        match purpose {
            Purpose::Routine => None,
            Purpose::Bisection => Some((&self.bisections, (self.calls_per_minute / 5).max(1))),
            Purpose::Suspect => Some((&self.suspects, (self.calls_per_minute / 10).max(1))),
        }
    }

    /// The even distance of calls.
    fn interval(&self) -> Duration {
        SPAN / self.calls_per_minute
    }

    /// How far ahead of the even distances calls may be made.
    fn lead(&self) -> Duration {
        self.interval() * (self.burst() - 1)
    }

    fn burst(&self) -> u32 {
        let small = BURST_OF_SMALL.min(self.calls_per_minute / 2);
        (self.calls_per_minute / BURST_DIVISOR).max(small).max(1)
    }
}

const ORIGIN: Instant = Instant::ORIGIN;

/// When at most `limit` less one of these still count; nothing where that is so already.
fn room_from(frees: &VecDeque<Instant>, limit: u32) -> Option<Instant> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let index = frees.len().checked_sub(limit)?;
    frees.get(index).copied()
}

fn later(one: (Instant, &'static str), other: (Instant, &'static str)) -> (Instant, &'static str) {
    if other.0 > one.0 { other } else { one }
}

/// How long it is until the minute in which the call was counted is certainly over.
fn to_next_minute(throttling: &Throttling) -> Duration {
    let Some(now) = throttling.server_now else {
        return Duration::from_secs(60);
    };
    let minute = throttling.date.unwrap_or(now).as_seconds().div_euclid(60);
    Timestamp::from_seconds((minute + 1) * 60).saturating_since(now)
}

/// Pauses one scope after calls that failed, longer after each: what fails for one scope (wrong
/// keys, say) is no reason to pause another.
#[derive(Debug, Clone, Default)]
pub struct FailurePause {
    failures: u32,
    until: Option<Instant>,
}

impl FailurePause {
    /// Until when no call is to be made.
    #[must_use]
    pub const fn until(&self) -> Option<Instant> {
        self.until
    }

    /// The API answered, if only with a 404.
    pub fn handle_answer(&mut self) {
        *self = Self::default();
    }

    /// A call failed; `first` is the pause after the first of several failures in a row.
    pub fn handle_failure(&mut self, first: Duration, now: Instant) {
        let pause = first
            .saturating_mul(1 << self.failures.min(10))
            .min(PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        self.until = self.until.max(Some(now + pause));
    }
}

#[cfg(test)]
mod tests;
