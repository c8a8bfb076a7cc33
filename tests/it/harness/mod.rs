//! What the tests of the whole stand on: the real binary as a process, the cloud API from the
//! emulator, receivers that record, and waiting that says what was missing.
//!
//! Nothing here sleeps in the hope that something has happened: [`until`] looks again and again
//! and has a deadline. All times are those of one [`Clock`], the emulator's and the receivers'.

mod cloud;
mod hook;
mod process;
mod pulse;
mod site;

use std::time::Duration;

use readygate::clock::Clock;

pub(crate) use cloud::Cloud;
pub(crate) use hook::{Answer, Hook, KEY, Received};
pub(crate) use process::{Ended, Process};
pub(crate) use pulse::Pulse;
pub(crate) use site::{Daemon, Site, webhook, write_private};

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Looks until there is an answer, and gives it. `look` says what is still missing.
///
/// Fails the test when there is none within this time, with what was missing last.
pub(crate) async fn until<T>(
    clock: Clock,
    within: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<T, String>,
) -> T {
    let deadline = clock.now() + within;
    loop {
        let missing = match look() {
            Ok(answer) => return answer,
            Err(missing) => missing,
        };
        assert!(
            clock.now() < deadline,
            "waited {within:?} for {what}: {missing}"
        );
        clock.sleep(LOOK).await;
    }
}
