//! The main job: a thousand instances, much of what can happen to them, one daemon, nobody who
//! disturbs it.
//!
//! Fails when:
//! - a silence longer than window, grace and slack was not told as stale, or one shorter than
//!   window and grace was;
//! - `instance.stale` was received more than 2 s after window and grace since the true last
//!   heartbeat, or any other event later than the promise allows;
//! - an event was told twice under two IDs, or does not follow from the one before;
//! - first deliveries of an instance came out of order;
//! - the receiver got something that is not committed, or not everything that is;
//! - a signature does not verify;
//! - the daemon logged an error, ended by itself, or did not end well when asked.
//!
//! No failure: which of the silences between window and grace and the slack are told.
//!
//! Not the same in every run: the moment of every call and commit, and by some milliseconds of
//! every trouble; so the order of events of different instances, which instances are seen late,
//! and the figures. Kinds, moments and instances of the troubles are fixed by the seed. What
//! happened is read from the emulator, never assumed. A failure says whether the machine kept up.

use crate::trouble::Stage;

const SEED: u64 = 20_261_122;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_instances_in_trouble_are_told_rightly_and_in_time() {
    let stage = Stage::set(1000, SEED, "").await;
    let plan = stage.plan(SEED);
    let outcome = stage.play(plan).await;
    let judged = outcome.assert_told_rightly();
    eprintln!("{judged}");
    let to_tell = judged.undisturbed.silences_to_tell;
    assert!(to_tell >= 100, "only {to_tell} silences to tell");
    outcome.assert_every_kind_occurred();
    outcome.assert_in_order();
    outcome.assert_store_and_receiver_agree();
    let (calls, most) = outcome.calls();
    eprintln!("{calls} calls, at most {most} in a minute");
    // Some 400 of them look for the two dozen released, 15 calls to find one among a hundred.
    assert!(most <= 800, "{most} calls in a minute");
}
