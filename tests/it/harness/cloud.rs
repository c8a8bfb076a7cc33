//! The cloud API of this process, from a simulated fleet.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use readygate::clock::Clock;
use readygate::core::id::InstanceId;
use readygate::emulator::{Emulator, EmulatorHandle, Scenario, Span};
use tokio::task::JoinSet;

/// A free port on loopback.
pub(super) const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// An emulator that serves until it is dropped.
pub(crate) struct Cloud {
    pub(crate) handle: EmulatorHandle,
    pub(crate) endpoint: String,
    pub(crate) clock: Clock,
    _serving: JoinSet<()>,
}

impl Cloud {
    pub(crate) async fn serve(scenario: &Scenario) -> Self {
        let clock = Clock::start();
        let emulator = Emulator::bind(scenario, LOOPBACK, clock).await.unwrap();
        let (handle, endpoint) = (emulator.handle(), emulator.announcement().endpoint);
        let mut serving = JoinSet::new();
        serving.spawn(async move { emulator.serve(std::future::pending()).await.unwrap() });
        Self {
            handle,
            endpoint,
            clock,
            _serving: serving,
        }
    }

    /// Instances that all beat, as much of the window apart as the cloud's are.
    pub(crate) async fn healthy(instances: u32, window: Duration) -> Self {
        let heartbeat = Span::new(window * 55 / 120, window * 65 / 120);
        Self::serve(&Scenario::healthy(instances, window, heartbeat, 5).unwrap()).await
    }

    /// The IDs of all instances.
    pub(crate) fn ids(&self) -> Vec<InstanceId> {
        self.handle.ids()
    }
}
