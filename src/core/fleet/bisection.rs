//! Finding the IDs that make a batch fail.
//!
//! A batch that is answered with 404 holds at least one ID that does not exist, and the API says
//! which only of one that is alone. So it is put into random order and halved, and each half that
//! fails is halved again; what was answered meanwhile stays answered. The first three that come
//! out alone are therefore three random ones: when none of them exists and no part of the batch
//! was answered, it is not some IDs that are wrong but where they are asked for. Then the rest is
//! not halved any further: each is asked for alone.

use std::collections::{BTreeMap, VecDeque};

/// So many random IDs must not exist before the whole batch is in doubt.
const SAMPLE: u32 = 3;

/// Names a batch that failed, while parts of it are to be asked.
pub(super) type BisectionId = u64;

/// Part of a batch that failed.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) slots: Vec<u32>,
    pub(super) of: BisectionId,
}

/// What was learned of a batch that failed.
#[derive(Debug, Clone, Copy, Default)]
struct Learned {
    /// Some part of it was answered.
    answered: bool,
    /// How many were not found alone.
    not_found: u32,
}

impl Learned {
    const fn is_in_doubt(self) -> bool {
        !self.answered && self.not_found >= SAMPLE
    }
}

/// The batches that failed and are being halved.
#[derive(Debug, Clone, Default)]
pub(super) struct Bisections {
    parts: VecDeque<Part>,
    learned: BTreeMap<BisectionId, Learned>,
    next: BisectionId,
}

impl Bisections {
    /// Whether some part waits to be asked.
    pub(super) fn is_waiting(&self) -> bool {
        !self.parts.is_empty()
    }

    /// The part that is to be asked next.
    pub(super) fn pop(&mut self) -> Option<Part> {
        self.parts.pop_front()
    }

    /// Nothing was learned of a part: it comes first again.
    pub(super) fn put_back(&mut self, part: Part) {
        if !part.slots.is_empty() {
            self.parts.push_front(part);
        }
    }

    /// A whole batch failed. `random` puts it into order.
    pub(super) fn begin(&mut self, mut slots: Vec<u32>, random: u64) {
        shuffle(&mut slots, random);
        let of = self.next;
        self.next += 1;
        self.learned.insert(of, Learned::default());
        self.split(Part { slots, of });
    }

    /// A part of several failed. The half that is asked first is halved further before the other
    /// is asked, so that the first single ones come out soon.
    pub(super) fn split(&mut self, part: Part) {
        let Part {
            slots: mut first,
            of,
        } = part;
        let second = first.split_off(first.len() / 2);
        for slots in [second, first] {
            self.put_back(Part { slots, of });
        }
    }

    /// A part was answered.
    pub(super) fn handle_answer(&mut self, of: BisectionId) {
        self.note(of, |learned| learned.answered = true);
    }

    /// One that was alone does not exist.
    pub(super) fn handle_not_found(&mut self, of: BisectionId) {
        self.note(of, |learned| learned.not_found += 1);
    }

    fn note(&mut self, of: BisectionId, note: impl FnOnce(&mut Learned)) {
        if let Some(learned) = self.learned.get_mut(&of) {
            note(learned);
        }
    }

    /// Whether all of a batch is in doubt.
    pub(super) fn is_in_doubt(&self, of: BisectionId) -> bool {
        self.learned
            .get(&of)
            .is_some_and(|learned| learned.is_in_doubt())
    }

    /// Takes out everything of a batch that still waits.
    pub(super) fn give_up(&mut self, of: BisectionId) -> Vec<u32> {
        let (given_up, kept): (VecDeque<Part>, _) =
            self.parts.drain(..).partition(|part| part.of == of);
        self.parts = kept;
        given_up.into_iter().flat_map(|part| part.slots).collect()
    }

    /// Forgets a watch.
    pub(super) fn remove(&mut self, slot: u32) {
        for part in &mut self.parts {
            part.slots.retain(|other| *other != slot);
        }
        self.parts.retain(|part| !part.slots.is_empty());
    }

    /// Forgets what was learned of batches of which no part waits and none is being asked.
    pub(super) fn forget_all_but(&mut self, asked: impl Fn(BisectionId) -> bool) {
        let parts = &self.parts;
        self.learned
            .retain(|of, _| asked(*of) || parts.iter().any(|part| part.of == *of));
    }
}

/// Puts slots into an order drawn from `random` (Fisher and Yates, with `SplitMix64`).
fn shuffle(slots: &mut [u32], mut random: u64) {
    for last in (1..slots.len()).rev() {
        random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut drawn = random;
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        drawn ^= drawn >> 31;
        let bound = u64::try_from(last + 1).unwrap_or(u64::MAX);
        slots.swap(last, usize::try_from(drawn % bound).unwrap_or(last));
    }
}
