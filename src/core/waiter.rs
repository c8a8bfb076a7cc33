//! Waiters: somebody who waits for conditions on a set of instances.
//!
//! A waiter is judged on observations, never on phases, so that it gives the same answer with and
//! without a daemon.

use std::collections::BTreeMap;

use super::call::{CallReport, Disposition};
use super::gate::Gate;
use super::id::InstanceId;

/// What the newest observation of an instance said to a waiter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It is fresh and the gate holds.
    Met,
    /// It does not hold, and why.
    NotMet(String),
}

/// Waits until the newest observation of every instance meets the gate.
#[derive(Debug, Clone)]
pub struct Waiter {
    gate: Gate,
    conditions: BTreeMap<InstanceId, Condition>,
}

impl Waiter {
    /// A waiter for these instances, none of them observed yet.
    #[must_use]
    pub fn new(instances: impl IntoIterator<Item = InstanceId>, gate: Gate) -> Self {
        let unobserved = || Condition::NotMet("not observed yet".to_owned());
        let conditions = instances
            .into_iter()
            .map(|instance| (instance, unobserved()))
            .collect();
        Self { gate, conditions }
    }

    /// Takes in a call for `asked`, and gives the instances whose condition is met now and was
    /// not before. Rows are matched by ID; a call that failed says nothing of anybody.
    pub fn handle_report(&mut self, asked: &[InstanceId], report: &CallReport) -> Vec<InstanceId> {
        let rows = match &report.outcome {
            Ok(rows) => rows.as_slice(),
            Err(Disposition::NotFound) if asked.len() == 1 => &[],
            Err(_) => return Vec::new(),
        };
        let mut newly_met = Vec::new();
        for instance in asked {
            let Some(condition) = self.conditions.get_mut(instance) else {
                continue;
            };
            let row = rows.iter().find(|row| row.instance == *instance);
            let seen = match (row, &report.outcome) {
                (Some(row), _) if !row.status.fresh => not_met("no heartbeat within the window"),
                (Some(row), _) => match self.gate.unmet(&row.status) {
                    Some(unmet) => Condition::NotMet(unmet),
                    None => Condition::Met,
                },
                (None, Ok(_)) => not_met("the reply has no row for it"),
                (None, Err(_)) => not_met("the API answers 404 InvalidInstance.NotFound for it"),
            };
            if seen == Condition::Met && *condition != Condition::Met {
                newly_met.push(instance.clone());
            }
            *condition = seen;
        }
        newly_met
    }

    /// Whether the newest observation of every instance meets the gate. Without any instance
    /// there is nothing to wait for, which is no success.
    #[must_use]
    pub fn is_met(&self) -> bool {
        !self.conditions.is_empty() && self.unmet().next().is_none()
    }

    /// The instances whose condition does not hold, and why, in the order of their IDs.
    pub fn unmet(&self) -> impl Iterator<Item = (&InstanceId, &str)> {
        self.conditions
            .iter()
            .filter_map(|(instance, condition)| match condition {
                Condition::Met => None,
                Condition::NotMet(why) => Some((instance, why.as_str())),
            })
    }

    /// How many instances it waits for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.conditions.len()
    }

    /// Whether it waits for nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }
}

fn not_met(why: &str) -> Condition {
    Condition::NotMet(why.to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::call::Row;
    use crate::core::status::Status;
    use crate::core::time::Instant;

    fn ids(names: &[&str]) -> Vec<InstanceId> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn report(outcome: Result<&[(&str, bool)], Disposition>) -> CallReport {
        let now = Instant::from_origin(Duration::ZERO);
        let outcome = outcome.map(|rows| {
            rows.iter()
                .map(|(id, fresh)| Row {
                    instance: id.parse().unwrap(),
                    status: Status {
                        fresh: *fresh,
                        ..Status::default()
                    },
                })
                .collect()
        });
        CallReport {
            sent: now,
            received: now,
            date: None,
            outcome,
        }
    }

    #[test]
    fn every_instance_must_be_met_and_rows_are_matched_by_id() {
        let asked = ids(&["i-a", "i-b", "i-c"]);
        let mut waiter = Waiter::new(asked.clone(), Gate::default());
        let shuffled = report(Ok(&[("i-c", true), ("i-b", false), ("i-a", true)]));
        assert_eq!(
            waiter.handle_report(&asked, &shuffled),
            ids(&["i-a", "i-c"])
        );
        assert!(!waiter.is_met());
        let whole = report(Ok(&[("i-b", true), ("i-a", true), ("i-c", true)]));
        assert_eq!(waiter.handle_report(&asked, &whole), ids(&["i-b"]));
        assert!(waiter.is_met());
    }

    #[test]
    fn a_missing_row_is_never_success() {
        let asked = ids(&["i-a", "i-b"]);
        let mut waiter = Waiter::new(asked.clone(), Gate::default());
        waiter.handle_report(&asked, &report(Ok(&[("i-a", true)])));
        assert!(!waiter.is_met());
        let unmet: Vec<_> = waiter.unmet().map(|(id, why)| (id.as_str(), why)).collect();
        assert_eq!(unmet, [("i-b", "the reply has no row for it")]);
    }

    #[test]
    fn one_that_falls_silent_before_the_others_are_ready_is_waited_for_again() {
        let asked = ids(&["i-a", "i-b"]);
        let mut waiter = Waiter::new(asked.clone(), Gate::default());
        waiter.handle_report(&asked, &report(Ok(&[("i-a", true), ("i-b", false)])));
        waiter.handle_report(&asked, &report(Ok(&[("i-a", false), ("i-b", true)])));
        assert!(!waiter.is_met());
    }

    #[test]
    fn failed_calls_say_nothing_and_an_empty_set_is_never_met() {
        let asked = ids(&["i-a"]);
        let mut waiter = Waiter::new(asked.clone(), Gate::default());
        waiter.handle_report(&asked, &report(Ok(&[("i-a", true)])));
        for disposition in [Disposition::Retry, Disposition::Throttled { after: None }] {
            waiter.handle_report(&asked, &report(Err(disposition)));
            assert!(waiter.is_met());
        }
        waiter.handle_report(&asked, &report(Err(Disposition::NotFound)));
        assert!(!waiter.is_met());
        assert!(!Waiter::new([], Gate::default()).is_met());
    }
}
