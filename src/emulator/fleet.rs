//! The simulated fleet: pure, seeded, and told the time.
//!
//! Nothing here reads a clock. Times are the emulator's own, the server time of its answers, and
//! never go back: an earlier time than one already seen counts as that one. The same scenario,
//! the same start and the same calls give the same heartbeats.
//!
//! What the scenario has planned lies in a heap and is played in the order of its time; the
//! heartbeats of an instance are made when it is looked at (see `instance.rs`). A million
//! instances that nobody asks about cost memory only.

mod plan;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use self::plan::{Plan, Planned};
use super::chance::{Chance, Purpose, draw_instance_id};
use super::instance::{Action, AgentState, Identity, Instance, Pace};
use super::scenario::{Group, INSTANCES_MAX, Scenario, Span, Start, Step, default_version};
use super::truth::InstanceTruth;
use crate::core::id::InstanceId;
use crate::core::status::{OsType, Status};
use crate::core::time::Timestamp;

/// Why an action was not done.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ActionError {
    /// The fleet never had an instance of that ID.
    #[error("there is no instance {0}")]
    Unknown(InstanceId),
    /// It would change nothing in the state the instance is in.
    #[error("{action} does nothing to {id} while it is {state}", state = .state.as_str())]
    NotApplicable {
        /// Whom it was meant for.
        id: InstanceId,
        /// What was asked.
        action: Action,
        /// What the instance is doing.
        state: AgentState,
    },
}

/// Why no instances were made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CreateError {
    /// None asked for, or more than the emulator holds.
    #[error("count must be 1 or more and leave the fleet at {INSTANCES_MAX} or fewer instances")]
    Count,
    /// Not a region of the scenario.
    #[error("`{0}` is not a region of this emulator")]
    Region(String),
}

/// Instances to make while the fleet runs. They boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewInstances {
    /// How many.
    pub count: u32,
    /// Where; nothing means the first region.
    pub region: Option<String>,
    /// Their system.
    pub os_type: OsType,
    /// How long after now they beat for the first time.
    pub boot_delay: Duration,
}

/// One instance as the control routes show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portrait {
    /// Its region.
    pub region: String,
    /// What it is doing.
    pub state: AgentState,
    /// Its row; nothing once it was released.
    pub status: Option<Status>,
    /// Its history.
    pub truth: InstanceTruth,
}

/// All instances, and what is planned for them.
#[derive(Debug)]
pub struct Fleet {
    pace: Pace,
    regions: Vec<String>,
    instances: Vec<Instance>,
    numbers: HashMap<InstanceId, u32>,
    groups: Vec<(String, Range<u32>)>,
    steps: Vec<Step>,
    planned: BinaryHeap<Reverse<Planned>>,
    plans_made: u64,
    now: Timestamp,
}

impl Fleet {
    /// The fleet of a scenario that begins at `start`.
    #[must_use]
    pub fn new(scenario: &Scenario, start: Timestamp) -> Self {
        let mut fleet = Self {
            pace: Pace {
                window: scenario.window,
                heartbeat: scenario.heartbeat,
                chance: Chance::new(scenario.seed),
            },
            regions: scenario.regions.clone(),
            instances: Vec::new(),
            numbers: HashMap::new(),
            groups: Vec::new(),
            steps: scenario.steps.clone(),
            planned: BinaryHeap::new(),
            plans_made: 0,
            now: start,
        };
        for group in &scenario.groups {
            fleet.add_group(group);
        }
        for (number, step) in (0..).zip(&scenario.steps) {
            fleet.plan(start + step.at, Plan::Step(number));
        }
        fleet
    }

    fn add_group(&mut self, group: &Group) {
        let first = self.next_number();
        let region = self.region_number(&group.region).unwrap_or(0);
        let version: Arc<str> = Arc::from(group.version.as_str());
        for _ in 0..group.count {
            let identity = self.identity(region, group.os_type, &version);
            let instance = self.begin(identity, group.start);
            self.add(instance);
        }
        let members = first..self.next_number();
        self.groups.push((group.name.clone(), members));
    }

    fn begin(&self, identity: Identity, start: Start) -> Instance {
        match start {
            Start::Running => Instance::running(identity, self.now, &self.pace),
            Start::NeverInstalled => Instance::never_installed(identity),
            Start::Boots { over, delay } => {
                let stream = Purpose::Boot(identity.number);
                let chance = &self.pace.chance;
                let begun = chance.within(Span::new(Duration::ZERO, over), stream, 0);
                let booted = chance.within(delay, stream, 1);
                Instance::booting(identity, self.now + begun + booted)
            }
        }
    }

    fn next_number(&self) -> u32 {
        u32::try_from(self.instances.len()).unwrap_or(u32::MAX)
    }

    fn region_number(&self, region: &str) -> Option<u16> {
        let position = self.regions.iter().position(|known| known == region)?;
        u16::try_from(position).ok()
    }

    /// Draws the ID of the next instance; one that is taken already is drawn again.
    fn identity(&self, region: u16, os_type: OsType, version: &Arc<str>) -> Identity {
        let number = self.next_number();
        let name = self.region_name(region);
        let mut generator = self.pace.chance.stream(Purpose::InstanceId(number));
        loop {
            let drawn = draw_instance_id(name, &mut generator).parse::<InstanceId>();
            if let Ok(id) = drawn
                && !self.numbers.contains_key(&id)
            {
                return Identity {
                    id,
                    region,
                    number,
                    os_type,
                    version: Arc::clone(version),
                };
            }
        }
    }

    fn region_name(&self, region: u16) -> &str {
        self.regions
            .get(usize::from(region))
            .map_or("", String::as_str)
    }

    fn add(&mut self, instance: Instance) {
        let identity = &instance.identity;
        self.numbers.insert(identity.id.clone(), identity.number);
        self.instances.push(instance);
    }

    /// The instance, played up to the present, and what it needs to be looked at.
    fn played(&mut self, number: u32) -> Option<(&mut Instance, &Pace)> {
        let instance = self.instances.get_mut(number as usize)?;
        instance.play(self.now, &self.pace);
        Some((instance, &self.pace))
    }

    fn act_on(&mut self, number: u32, action: Action) -> bool {
        let now = self.now;
        self.played(number)
            .is_some_and(|(instance, pace)| instance.act(action, now, pace))
    }

    /// Does something to an instance at `now`.
    ///
    /// # Errors
    /// When there is no such instance, or the action does nothing in the state it is in.
    pub fn act(
        &mut self,
        id: &InstanceId,
        action: Action,
        now: Timestamp,
    ) -> Result<(), ActionError> {
        self.advance(now);
        let unknown = || ActionError::Unknown(id.clone());
        let number = *self.numbers.get(id).ok_or_else(unknown)?;
        if self.act_on(number, action) {
            return Ok(());
        }
        let (instance, _) = self.played(number).ok_or_else(unknown)?;
        Err(ActionError::NotApplicable {
            id: id.clone(),
            action,
            state: instance.state(),
        })
    }

    /// Makes new instances at `now`, and answers their IDs.
    ///
    /// # Errors
    /// When the count or the region is not one the fleet can have.
    pub fn create(
        &mut self,
        order: &NewInstances,
        now: Timestamp,
    ) -> Result<Vec<InstanceId>, CreateError> {
        self.advance(now);
        let total = self.next_number().saturating_add(order.count);
        if order.count == 0 || total > INSTANCES_MAX {
            return Err(CreateError::Count);
        }
        let region = match &order.region {
            None => 0,
            Some(name) => self
                .region_number(name)
                .ok_or_else(|| CreateError::Region(name.clone()))?,
        };
        let version: Arc<str> = Arc::from(default_version(order.os_type));
        let mut ids = Vec::new();
        for _ in 0..order.count {
            let identity = self.identity(region, order.os_type, &version);
            ids.push(identity.id.clone());
            self.add(Instance::booting(identity, self.now + order.boot_delay));
        }
        Ok(ids)
    }

    /// The row of an instance at `now`; nothing where that region has none of that ID.
    pub fn status(&mut self, region: &str, id: &InstanceId, now: Timestamp) -> Option<Status> {
        self.advance(now);
        let region = self.region_number(region)?;
        let (now, number) = (self.now, *self.numbers.get(id)?);
        let (instance, pace) = self.played(number)?;
        if instance.identity.region != region {
            return None;
        }
        instance.status(now, pace)
    }

    /// One instance with its history at `now`.
    pub fn portrait(&mut self, id: &InstanceId, now: Timestamp) -> Option<Portrait> {
        self.advance(now);
        let number = *self.numbers.get(id)?;
        self.portrait_of(number)
    }

    /// The instances from place `offset` on, at most `limit`, in the order they were made.
    pub fn portraits(&mut self, offset: u32, limit: u32, now: Timestamp) -> Vec<Portrait> {
        self.advance(now);
        let end = offset.saturating_add(limit).min(self.next_number());
        (offset..end)
            .filter_map(|number| self.portrait_of(number))
            .collect()
    }

    fn portrait_of(&mut self, number: u32) -> Option<Portrait> {
        let now = self.now;
        let (instance, pace) = self.played(number)?;
        let (state, region) = (instance.state(), instance.identity.region);
        let (status, truth) = (instance.status(now, pace), instance.truth(now, pace));
        Some(Portrait {
            region: self.region_name(region).to_owned(),
            state,
            status,
            truth,
        })
    }

    /// The histories of all instances at `now`, in the order they were made.
    pub fn truths(&mut self, now: Timestamp) -> Vec<InstanceTruth> {
        self.advance(now);
        let (now, pace) = (self.now, &self.pace);
        let history = |instance: &mut Instance| {
            instance.play(now, pace);
            instance.truth(now, pace)
        };
        self.instances.iter_mut().map(history).collect()
    }

    /// The IDs of the first instances, at most `limit`, in the order they were made.
    pub fn ids(&self, limit: usize) -> impl Iterator<Item = &InstanceId> {
        let instances = self.instances.iter().take(limit);
        instances.map(|instance| &instance.identity.id)
    }

    /// The IDs of a group of the scenario; none where it has no such group.
    pub fn group(&self, name: &str) -> impl Iterator<Item = &InstanceId> {
        let members = self.groups.iter().find(|(known, _)| known == name);
        let members = members.map_or(0..0, |(_, range)| range.start as usize..range.end as usize);
        let instances = self.instances.get(members).unwrap_or_default();
        instances.iter().map(|instance| &instance.identity.id)
    }

    /// How many instances there ever were, released ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.instances.len()
    }

    /// Whether there never was an instance.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.instances.is_empty()
    }

    /// The regions it answers for.
    #[must_use]
    pub fn regions(&self) -> &[String] {
        &self.regions
    }
}

#[cfg(test)]
mod tests;
