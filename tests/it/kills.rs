//! The main job with SIGKILL: five times, at any moment, the daemon is killed and started again
//! on the same state folder.
//!
//! Fails when, besides what `main_job` fails on:
//! - an event that was committed before a kill never arrives, or one arrives that was never
//!   committed, or with another body;
//! - a kill makes an event by itself: one told again under another ID, or one that nothing true
//!   of the instance explains;
//! - what no outage could delay was late: it is held to the whole promise of `main_job`, the 2 s
//!   included, and at least half of the silences to tell must be of that kind.
//!
//! No failure:
//! - lateness where something fell due while no daemon ran, or within 3 s after one began to
//!   watch again. Nobody can be told then, every instance is asked once within `poll.pending`
//!   (2 s), and the server's clock is learned anew. Such instances may be told later by the
//!   longest outage and those 3 s. The heartbeats of a recovery and repeated absences are counted
//!   in memory, so a kill makes their count begin again.
//! - the same event twice under one ID: it arrived, and the daemon was killed before it could
//!   settle the delivery.
//!
//! The receiver is slow here: it has an event only after it has thought about it, and what a dead
//! daemon sent is not thought about to the end. So an event that was settled before it had
//! arrived would be lost.
//!
//! Not the same in every run: besides what differs in `main_job`, what the daemon is doing at the
//! moment of a kill, and how long it takes to start.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::trouble::{Plan, Stage, Step};

const SEED: u64 = 7;

/// Between two kills there is at least this much, or nothing would ever be undisturbed.
const APART: f64 = 9.0;

/// Up to how long the receiver thinks before it has an event, so that kills find some on their way.
const THINKS: Duration = Duration::from_millis(250);

#[tokio::test(flavor = "multi_thread")]
async fn five_kills_lose_nothing_and_invent_nothing() {
    // Enough at a time for a receiver that thinks about each.
    let stage = Stage::set(1000, SEED, "[delivery]\nin_flight_per_receiver = 64\n").await;
    stage.slow_down_receiver(THINKS, SEED);
    let mut plan = stage.plan(SEED);
    add_kills(&mut plan);
    let outcome = stage.play(plan).await;
    let judged = outcome.assert_told_rightly();
    eprintln!("{judged}");
    let undisturbed = judged.undisturbed.silences_to_tell;
    let all = undisturbed + judged.disturbed.silences_to_tell;
    assert!(
        all >= 50 && undisturbed * 2 >= all,
        "{undisturbed} of {all}"
    );
    outcome.assert_every_kind_occurred();
    outcome.assert_in_order();
    outcome.assert_store_and_receiver_agree();
    eprintln!("{} repeats", outcome.repeats());
}

/// One in each of five parts of the run. The first falls into the first seconds, when everybody
/// becomes ready; two more wait for a moment when an event is on its way.
fn add_kills(plan: &mut Plan) {
    let mut generator = ChaCha8Rng::seed_from_u64(SEED);
    let mut at = generator.random_range(0.5..2.0);
    for number in 0..5 {
        let kill = Step::Kill {
            while_telling: number % 2 == 1,
        };
        plan.push((Duration::from_secs_f64(at), kill));
        at += APART + generator.random_range(0.0..10.0);
    }
    plan.sort_by_key(|(at, _)| *at);
}
