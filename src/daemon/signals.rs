//! The signals a daemon lives with: SIGTERM and SIGINT ask it to stop, a second one of them ends it
//! at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_util::StreamExt as _;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_tokio::Signals;

/// Signals of this process, from the moment this was made.
pub struct StopSignals(Signals);

impl StopSignals {
    /// Takes over SIGTERM and SIGINT. Must be called within the runtime.
    ///
    /// The second signal ends the process from within its handler, so that it works even when the
    /// runtime hangs; its exit code is that of a process the signal killed (128 and its number).
    ///
    /// # Errors
    /// The system refused, which it does for no signal named here.
    pub fn listen() -> io::Result<Self> {
        for signal in [SIGTERM, SIGINT] {
            let stopping = Arc::new(AtomicBool::new(false));
            // In this order: on the first signal the flag is still down when this looks at it.
            signal_hook::flag::register_conditional_shutdown(
                signal,
                128 + signal,
                Arc::clone(&stopping),
            )?;
            signal_hook::flag::register(signal, stopping)?;
        }
        Ok(Self(Signals::new([SIGTERM, SIGINT])?))
    }

    /// The name of the next signal. Never returns once the stream has ended.
    pub async fn next(&mut self) -> &'static str {
        match self.0.next().await {
            Some(SIGINT) => "SIGINT",
            Some(_) => "SIGTERM",
            None => std::future::pending().await,
        }
    }
}
