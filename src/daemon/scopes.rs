//! All scopes, and the budgets they share.

use crate::core::budget::Budget;
use crate::core::time::Instant;

use super::poller::Polled;
use super::scope::Scope;

/// The scopes in the order of the settings. Those of one account and region share a budget.
#[derive(Debug)]
pub(super) struct Scopes {
    pub(super) list: Vec<Scope>,
    /// Each scope knows the index of its own.
    pub(super) budgets: Vec<SharedBudget>,
}

/// A budget and the name under which it is stored.
#[derive(Debug)]
pub(super) struct SharedBudget {
    pub(super) name: String,
    pub(super) budget: Budget,
}

impl Scopes {
    /// When there is next something to decide without an answer.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let timeouts = self.list.iter().filter_map(|scope| {
            let shared = self.budgets.get(scope.budget)?;
            scope.fleet.poll_timeout(&shared.budget)
        });
        let records = self.budgets.iter();
        let records = records.filter_map(|shared| shared.budget.record_due());
        let (at, reason) = timeouts.chain(records).min_by_key(|(at, _)| *at)?;
        tracing::trace!(?at, reason, "next timeout");
        Some(at)
    }

    /// Decides on every call that may be made now.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        for scope in &mut self.list {
            if let Some(shared) = self.budgets.get_mut(scope.budget) {
                scope.fleet.handle_timeout(now, &mut shared.budget);
            }
        }
    }

    /// Takes in a call that has ended.
    pub(super) fn handle_polled(&mut self, polled: &Polled) {
        let Polled {
            scope,
            batch,
            instances,
            report,
            error,
            unusable_rows,
        } = polled;
        let Some(scope) = self.list.get_mut(*scope) else {
            return;
        };
        let Some(shared) = self.budgets.get_mut(scope.budget) else {
            return;
        };
        tracing::debug!(
            scope = %scope.name,
            instances,
            unusable_rows,
            rows = report.outcome.as_ref().map_or(0, Vec::len),
            duration_ms = report.received.saturating_since(report.sent).as_millis(),
            "a call ended"
        );
        scope.handle_report(*batch, report, error.as_ref(), &mut shared.budget);
    }
}
