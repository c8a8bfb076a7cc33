//! readygate says when Alibaba Cloud ECS instances take commands, and when they stop taking them.
//!
//! A new instance cannot take commands until its Cloud Assistant Agent beats; what is sent to a
//! dead one is lost or times out. readygate watches instance IDs through one API operation,
//! `DescribeCloudAssistantStatus`, decides when each becomes ready or goes stale, and says so.
//!
//! # The way data flows
//!
//! ```text
//!  settings, files                                      agents / cloud
//!         |                                                   |
//!       watches                                               v
//!         v         batch            signed call        +---------+
//!     +-------+  ---------->  poller  --------------->  | ecs API |
//!     | fleet |  <----------   (IO)   <---------------  +---------+
//!     +-------+  observations + server time
//!         | changes
//!         v
//!     +-------+   one transaction: phase + event + deliveries
//!     | store |
//!     +-------+
//!         | deliveries that are due
//!         v
//!     deliverer  -->  webhook, file
//! ```
//!
//! One direction, no callbacks. The [fleet](core::fleet) decides, everything else carries. An event
//! exists only after its transaction has committed, and nothing is told to anybody before that.
//!
//! # One instance, from its first poll to the webhook
//!
//! 1. The dispatcher sleeps until [`Fleet::poll_timeout`](core::fleet::Fleet::poll_timeout). The
//!    instance is due, so `handle_timeout` puts it into a batch, and fills the other seats of that
//!    call with whoever is due next.
//! 2. The poller makes the [call](ecs::client::Client::describe) and notes when it was sent, when
//!    the reply was complete and what its `Date` said.
//! 3. `handle_report` narrows down [what time it is at the server](core::server_time), finds the
//!    instance's row by its ID, and shows it to its [watch](core::watch), which answers with a change:
//!    `pending` to `ready`, to be told as `instance.ready`.
//! 4. The [store] commits the phase, the event with the bytes that everybody will get, and a
//!    delivery for each receiver that wants it, in one synced transaction.
//! 5. The deliverer is rung, takes the head of the [lane](core::delivery::Lane), and the
//!    [webhook](notify::webhook) posts it, signed. What follows from the answer is stored, and the
//!    lane moves on.
//!
//! A kill between any two steps loses nothing: what was not committed is observed again, what was
//! committed is delivered (again), with the same event ID.
//!
//! # Phases
//!
//! A status is the provider's word, a phase is ours. `fresh` and `silent` say whether the newest reply
//! says that the status is true; W is the window (120 s), G the grace (15 s), and age the server's
//! time less the newest heartbeat known.
//!
//! ```text
//!  pending -> ready    fresh and the gate holds           instance.ready
//!  ready -> late       silent, age below W + G            instance.late, only where asked for
//!  ready -> stale      silent, age W + G or more          instance.stale
//!  late -> stale       silent, age W + G or more          instance.stale
//!  late -> ready       fresh                              nothing
//!  stale -> ready      fresh, 2 different heartbeats      instance.recovered
//!  pending -> gone     absent                             instance.gone
//!  ready -> gone       absent                             instance.gone
//!  late -> gone        absent                             instance.gone
//!  stale -> gone       absent                             instance.gone
//!  gone -> pending     a row, not ready                   nothing
//!  gone -> ready       a row, fresh and the gate holds    instance.ready
//! ```
//!
//! Everything else changes nothing. A pending one is told as `instance.overdue`, once, when
//! `ready_deadline` has passed. *Absent* is one that was seen and then had no row in whole replies, or a
//! 404 for it alone, three times over at least half a window; or one that was never seen and was
//! answered with 404 for `absent_after`. An empty answer for everybody makes nobody gone: at least
//! half of those that had rows before must have had rows in the last minute.
//!
//! Why 15 s of grace: agents beat every 55 to 65 s, so one lost beat leaves a gap of 110 to 130 s,
//! which the raw flag reports as dead half the time; 135 s cannot be one lost beat.
//!
//! # When to ask
//!
//! Between heartbeats nothing can change, so asking is useless. A ready instance is due at its
//! heartbeat plus W + G, plus one second because the API tells whole seconds: if it still beats,
//! the reply moves the due time on; if not, it is stale, known at the first moment it can be.
//! Pending ones are due every 5 s at first, stale ones every 15 s. A call goes out when its most
//! urgent instance is due and takes 100, so the other 99 seats are free and go to whoever is due next.
//! See [`core::schedule`] for all of it, and [`core::budget`] for what holds it back.
//!
//! One ID that does not exist makes a whole call fail with 404. Such a batch is halved until the ID
//! is found; from then on it is asked for alone, more and more rarely, while the others go on. Both
//! have a share of the budget when it is short, a fifth and a tenth.
//!
//! What is spent of a budget is stored. Calls are written down in small blocks before they are
//! made, so that a kill between the two cannot grant any of them a second time.
//!
//! # Layers
//!
//! [`core`] is pure: no IO, no async, no clock, no randomness but what is passed in. The adapters
//! ([`config`], [`ecs`], [`emulator`], [`store`], [`notify`], [`telemetry`]) use it and not each
//! other, except that the emulator shares the wire format and the signature with the client.
//! [`daemon`] composes them, [`cli`] is the command line. [`clock`] is the only reader of clocks,
//! [`environment`] the only reader of the environment. A test enforces all of this.

pub mod cli;
pub mod clock;
pub mod config;
pub mod core;
pub mod daemon;
pub mod ecs;
pub mod emulator;
pub mod environment;
pub mod notify;
pub mod store;
pub mod telemetry;
pub mod tls;
