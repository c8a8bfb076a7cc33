//! The table of phases: what a sighting means for an instance in its phase.

use std::time::Duration;

use super::{Newest, View, Watch};
use crate::core::event::{EventType, ReasonCode};
use crate::core::phase::Phase;
use crate::core::rules::{HEARTBEAT_RESOLUTION, Rules};
use crate::core::status::Status;
use crate::core::time::Timestamp;

/// How often one that was seen must be found absent before it is `gone`.
const ABSENCES_TO_BE_GONE: u32 = 3;

/// Heartbeats counted towards the end of `stale`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recovery {
    heartbeats: u32,
    newest: Timestamp,
}

/// What the rules say of a sighting.
pub(super) struct Judgement {
    pub(super) phase: Phase,
    pub(super) event: Option<EventType>,
    pub(super) code: ReasonCode,
    pub(super) message: String,
}

impl Watch {
    fn stay(&self, code: ReasonCode, message: String) -> Judgement {
        Judgement {
            phase: self.phase,
            event: None,
            code,
            message,
        }
    }

    pub(super) fn judge_row(&mut self, status: &Status, view: View, rules: &Rules) -> Judgement {
        if self.phase == Phase::Gone {
            self.revive(view);
        }
        self.seen = true;
        self.absent_since = None;
        self.absences = 0;
        // An older time can only come from a reply that was overtaken.
        self.last_heartbeat = self.last_heartbeat.max(status.last_heartbeat);
        if status.fresh {
            self.newest = Newest::Fresh;
            self.silent_from = Some(view.until);
            self.judge_fresh(status, view, rules)
        } else {
            self.newest = Newest::Silent;
            self.recovery = None;
            self.judge_silent(status, view, rules)
        }
    }

    /// The ID came back: whatever it is now, it starts over.
    fn revive(&mut self, view: View) {
        self.transition_to(Phase::Pending, view.at);
        self.generation = self.generation.saturating_add(1);
        self.started = Some(view.until);
        self.overdue_told = false;
        self.last_heartbeat = None;
        self.silent_from = None;
    }

    fn judge_fresh(&mut self, status: &Status, view: View, rules: &Rules) -> Judgement {
        let message = match self.last_heartbeat {
            Some(beat) => format!(
                "heartbeat {} s old",
                view.at.saturating_since(beat).as_secs()
            ),
            None => "fresh, without a heartbeat time".to_owned(),
        };
        let ready = |event| Judgement {
            phase: Phase::Ready,
            event,
            code: ReasonCode::GateHolds,
            message: message.clone(),
        };
        match self.phase {
            Phase::Pending => match self.policy.gate.unmet(status) {
                None => ready(Some(EventType::Ready)),
                Some(unmet) => self.stay_pending(ReasonCode::GateNotMet, unmet, view.at),
            },
            Phase::Ready | Phase::Late => ready(None),
            Phase::Stale => {
                let wanted = rules.recover_heartbeats;
                let counted = self.count_heartbeat(status, view.at, rules);
                if counted >= wanted {
                    return ready(Some(EventType::Recovered));
                }
                let message = format!("{counted} of {wanted} heartbeats since it was stale");
                self.stay(ReasonCode::Recovering, message)
            }
            Phase::Gone => self.stay(ReasonCode::NotFound, message),
        }
    }

    fn count_heartbeat(&mut self, status: &Status, at: Timestamp, rules: &Rules) -> u32 {
        // Where the API names no time, a fresh reply stands for one heartbeat per half window:
        // two of them cannot then be one heartbeat seen twice in every case, but nearly.
        let (beat, apart) = match status.last_heartbeat {
            Some(beat) => (beat, Duration::from_micros(1)),
            None => (at, rules.window / 2),
        };
        let recovery = match self.recovery {
            None => Recovery {
                heartbeats: 1,
                newest: beat,
            },
            Some(counted) if beat >= counted.newest + apart => Recovery {
                heartbeats: counted.heartbeats.saturating_add(1),
                newest: beat,
            },
            Some(counted) => counted,
        };
        self.recovery = Some(recovery);
        recovery.heartbeats
    }

    fn judge_silent(&mut self, status: &Status, view: View, rules: &Rules) -> Judgement {
        if matches!(self.phase, Phase::Ready | Phase::Late) {
            // It was fresh before this process began, so it is silent at the latest from here.
            self.silent_from.get_or_insert(view.until);
        }
        let beat = self.last_heartbeat.or(self.silent_from);
        let silence = beat.map(|beat| view.at.saturating_since(beat + HEARTBEAT_RESOLUTION));
        let message = match silence {
            Some(silence) => format!("no heartbeat for {} s", silence.as_secs()),
            None => "no heartbeat seen".to_owned(),
        };
        match self.phase {
            Phase::Pending => {
                let code = if self.last_heartbeat.is_none() && status.agent_version.is_none() {
                    ReasonCode::NeverBeat
                } else {
                    ReasonCode::Silent
                };
                self.stay_pending(code, message, view.at)
            }
            Phase::Ready | Phase::Late => {
                let over = silence.is_some_and(|silence| silence >= rules.stale_after());
                let (phase, event, code) = if over && view.silence_counts {
                    (
                        Phase::Stale,
                        Some(EventType::Stale),
                        ReasonCode::HeartbeatTimeout,
                    )
                } else if self.phase == Phase::Ready {
                    (Phase::Late, Some(EventType::Late), ReasonCode::Silent)
                } else {
                    (Phase::Late, None, ReasonCode::Silent)
                };
                Judgement {
                    phase,
                    event,
                    code,
                    message,
                }
            }
            Phase::Stale => self.stay(ReasonCode::HeartbeatTimeout, message),
            Phase::Gone => self.stay(ReasonCode::NotFound, message),
        }
    }

    /// Still pending: overdue where the deadline has passed, which is told once.
    fn stay_pending(&mut self, code: ReasonCode, message: String, at: Timestamp) -> Judgement {
        let overdue = self.overdue_at().is_some_and(|deadline| at >= deadline);
        self.overdue_told |= overdue;
        let event = overdue.then_some(EventType::Overdue);
        Judgement {
            phase: Phase::Pending,
            event,
            code,
            message,
        }
    }

    pub(super) fn judge_absence(
        &mut self,
        not_found: bool,
        view: View,
        rules: &Rules,
    ) -> Judgement {
        self.recovery = None;
        let (newest, code, message) = if not_found {
            let message = "the API answers 404 InvalidInstance.NotFound for it";
            (Newest::NotFound, ReasonCode::NotFound, message)
        } else {
            (
                Newest::NoRow,
                ReasonCode::NoRow,
                "the reply has no row for it",
            )
        };
        self.newest = newest;
        let message = message.to_owned();
        if self.phase == Phase::Gone {
            return self.stay(code, message);
        }
        // One that was never seen may simply never have had an agent: only a 404 counts.
        if self.seen || not_found {
            self.absent_since.get_or_insert(view.until);
            self.absences = self.absences.saturating_add(1);
        }
        let enough = !self.seen || self.absences >= ABSENCES_TO_BE_GONE;
        let long_enough = self
            .gone_at(rules)
            .is_some_and(|gone_at| view.at >= gone_at);
        if enough && long_enough && view.silence_counts {
            let event = Some(EventType::Gone);
            return self.forget(Judgement {
                phase: Phase::Gone,
                event,
                code,
                message,
            });
        }
        if self.phase == Phase::Pending {
            return self.stay_pending(code, message, view.at);
        }
        self.stay(code, message)
    }

    /// What the generation that ends knew does not hold for the next one.
    fn forget(&mut self, judgement: Judgement) -> Judgement {
        self.seen = false;
        self.absent_since = None;
        self.absences = 0;
        judgement
    }
}
