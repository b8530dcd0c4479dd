//! Trouble to order: rules that make the emulator stall, refuse, delay, slow down, cut, lie or fall silent.
//!
//! For every API call the rules are tried in their order, and the first that matches and is *due* is carried out. A
//! rule counts the calls that it matches and no earlier rule took: `nth` says at which it becomes due, `every` at which
//! of them it is, `times` how often. Calls are counted, and chance comes from a seed, so a test gets the same trouble every
//! time; only `from_s` and `to_s` look at the clock.

mod action;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::ids;
use super::log::LoggedCall;
use super::workspace::lock;
use crate::api::Glob;

pub use action::{FaultAction, FaultAnswer};

/// One rule. A field left out matches everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// Only this call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<LoggedCall>,
    /// Only files of this name; `*` and `?` stand for any text and any character. Lists have no name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Only the file with this id, written as `name` is. Uploads and lists have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Due from the `nth` matching call on, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nth: Option<u64>,
    /// Of the calls from the `nth` on, due at the first and then at each so many-th.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// Due for so many calls: without it for one where there is an `nth` and no `every`, else for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// Due from so many seconds after the rules were set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_s: Option<f64>,
    /// Due until so many seconds after the rules were set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_s: Option<f64>,
    /// Due by chance, this often: 0 is never, 1 always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Which chance; without it always the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Before the call has done anything, or after.
    #[serde(default)]
    pub when: FaultMoment,
    /// What happens.
    #[serde(rename = "do")]
    pub action: FaultAction,
}

impl FaultRule {
    /// A rule for every call.
    #[must_use]
    pub fn new(action: FaultAction) -> Self {
        Self {
            call: None,
            name: None,
            id: None,
            nth: None,
            every: None,
            times: None,
            from_s: None,
            to_s: None,
            probability: None,
            seed: None,
            when: FaultMoment::BeforeEffect,
            action,
        }
    }
}

/// When a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultMoment {
    /// Nothing has been stored, read or deleted yet. An upload is met when its part's head has come.
    #[default]
    BeforeEffect,
    /// It has been done; the answer has not begun.
    AfterEffect,
}

/// What strikes, as far as rules look at it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target<'a> {
    /// A connection that has come.
    Connection,
    /// A request of which the head has come.
    Request(LoggedCall),
    /// A call that is known to its name.
    Call {
        call: LoggedCall,
        id: Option<&'a str>,
        name: Option<&'a str>,
    },
}

/// A fault that strikes one call.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) when: FaultMoment,
    pub(super) action: FaultAction,
    pub(super) hold: Hold,
}

/// Holds a call until the rules change.
#[derive(Debug, Clone)]
pub(super) struct Hold(watch::Receiver<u64>);

impl Hold {
    /// Returns when the rules are no longer those that held the call, or the emulator ends.
    pub(super) async fn released(&mut self) {
        let _ = self.0.changed().await;
    }
}

/// The rules in force.
#[derive(Debug)]
pub(super) struct Faults {
    rules: Mutex<Vec<Counted>>,
    generation: watch::Sender<u64>,
}

#[derive(Debug)]
struct Counted {
    rule: FaultRule,
    name: Option<Glob>,
    id: Option<Glob>,
    since: Instant,
    matched: u64,
    struck: u64,
}

impl Faults {
    pub(super) fn new() -> Self {
        Self {
            rules: Mutex::default(),
            generation: watch::Sender::new(0),
        }
    }

    /// Replaces all rules, and lets go what the old ones held.
    pub(super) fn set(&self, rules: Vec<FaultRule>) {
        let mut current = lock(&self.rules);
        *current = rules.into_iter().map(Counted::new).collect();
        self.generation.send_modify(|generation| *generation += 1);
    }

    pub(super) fn rules(&self) -> Vec<FaultRule> {
        lock(&self.rules)
            .iter()
            .map(|counted| counted.rule.clone())
            .collect()
    }

    /// The fault for this target, if any.
    pub(super) fn strike(&self, target: Target<'_>) -> Option<Fault> {
        let mut rules = lock(&self.rules);
        let hit = rules.iter_mut().find_map(|counted| counted.take(target))?;
        // Subscribed under the lock: a release between here and the wait is not missed.
        Some(Fault {
            when: hit.when,
            action: hit.action.clone(),
            hold: Hold(self.generation.subscribe()),
        })
    }
}

impl Counted {
    fn new(rule: FaultRule) -> Self {
        // An empty glob fits nothing, as it says.
        let glob = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok());
        Self {
            name: glob(&rule.name),
            id: glob(&rule.id),
            since: Instant::now(),
            matched: 0,
            struck: 0,
            rule,
        }
    }

    fn take(&mut self, target: Target<'_>) -> Option<&FaultRule> {
        if !self.matches(target) {
            return None;
        }
        self.matched += 1;
        if !self.is_due() {
            return None;
        }
        self.struck += 1;
        Some(&self.rule)
    }

    fn matches(&self, target: Target<'_>) -> bool {
        let rule = &self.rule;
        let is_anonymous = rule.name.is_none() && rule.id.is_none();
        match target {
            Target::Connection => {
                rule.action.is_for_connections() && rule.call.is_none() && is_anonymous
            }
            _ if rule.action.is_for_connections() => false,
            Target::Request(call) => {
                rule.action.is_for_requests()
                    && rule.call.is_none_or(|wanted| wanted == call)
                    && is_anonymous
            }
            _ if rule.action.is_for_requests() => false,
            Target::Call { call, id, name } => {
                rule.call.is_none_or(|wanted| wanted == call)
                    && (rule.name.is_none() || fits(self.name.as_ref(), name))
                    && (rule.id.is_none() || fits(self.id.as_ref(), id))
            }
        }
    }

    /// Whether the call that was counted last is one to strike.
    fn is_due(&self) -> bool {
        let rule = &self.rule;
        let Some(later) = self.matched.checked_sub(rule.nth.unwrap_or(1)) else {
            return false;
        };
        let is_single = rule.nth.is_some() && rule.every.is_none();
        let times = rule.times.unwrap_or(if is_single { 1 } else { u64::MAX });
        let second = |said: Option<f64>| said.and_then(|s| Duration::try_from_secs_f64(s).ok());
        let age = self.since.elapsed();
        self.struck < times
            && later.is_multiple_of(rule.every.unwrap_or(1).max(1))
            && second(rule.from_s).is_none_or(|from| age >= from)
            && second(rule.to_s).is_none_or(|to| age < to)
            && rule
                .probability
                .is_none_or(|probability| self.chance() < probability)
    }

    /// A number of 0..1, another one for each call.
    fn chance(&self) -> f64 {
        let bits = ids::mix(ids::mix(self.rule.seed.unwrap_or(0)) ^ self.matched);
        f64::from((bits >> 32) as u32) / (f64::from(u32::MAX) + 1.0)
    }
}

fn fits(glob: Option<&Glob>, text: Option<&str>) -> bool {
    glob.zip(text)
        .is_some_and(|(glob, text)| glob.matches(text))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn due(rule: FaultRule, calls: usize) -> Vec<bool> {
        let faults = Faults::new();
        faults.set(vec![rule]);
        let target = Target::Call {
            call: LoggedCall::List,
            id: None,
            name: None,
        };
        (0..calls)
            .map(|_| faults.strike(target).is_some())
            .collect()
    }

    #[test]
    fn a_rule_is_due_from_its_nth_call_for_so_many_times() {
        let rule = |nth, every, times| FaultRule {
            nth,
            every,
            times,
            ..FaultRule::new(FaultAction::Stall)
        };
        for (rule, expected) in [
            (rule(None, None, None), "xxxxxx"),
            (rule(None, None, Some(2)), "xx...."),
            (rule(Some(2), None, None), ".x...."),
            (rule(Some(2), None, Some(2)), ".xx..."),
            (rule(None, Some(2), None), "x.x.x."),
            (rule(Some(2), Some(2), None), ".x.x.x"),
            (rule(Some(2), Some(3), Some(1)), ".x...."),
            (rule(None, Some(0), None), "xxxxxx"),
        ] {
            let due: String = due(rule.clone(), 6)
                .into_iter()
                .map(|is_due| if is_due { 'x' } else { '.' })
                .collect();
            assert_eq!(due, expected, "{rule:?}");
        }
    }

    #[test]
    fn chance_is_the_same_every_time() {
        let rule = |probability, seed| FaultRule {
            probability: Some(probability),
            seed: Some(seed),
            ..FaultRule::new(FaultAction::Stall)
        };
        let often = |rule| due(rule, 1000).into_iter().filter(|due| *due).count();
        assert_eq!(often(rule(0.0, 1)), 0);
        assert_eq!(often(rule(1.0, 1)), 1000);
        let third = often(rule(0.33, 1));
        assert!((250..400).contains(&third), "{third}");
        assert_eq!(due(rule(0.33, 1), 1000), due(rule(0.33, 1), 1000));
        assert_ne!(due(rule(0.33, 1), 1000), due(rule(0.33, 2), 1000));
    }

    #[test]
    fn the_clock_begins_when_the_rules_are_set() {
        let rule = |from_s, to_s| FaultRule {
            from_s,
            to_s,
            ..FaultRule::new(FaultAction::Stall)
        };
        assert_eq!(due(rule(None, Some(60.0)), 1), [true]);
        assert_eq!(due(rule(Some(60.0), None), 1), [false]);
        assert_eq!(due(rule(None, Some(0.0)), 1), [false]);
        assert_eq!(due(rule(Some(0.0), None), 1), [true]);
    }

    #[test]
    fn each_action_strikes_what_it_is_for() {
        let call = Target::Call {
            call: LoggedCall::Upload,
            id: None,
            name: Some("a"),
        };
        for (action, expected) in [
            (FaultAction::Refuse, [true, false, false]),
            (FaultAction::CutRequestAfterBytes(1), [false, true, false]),
            (FaultAction::Stall, [false, false, true]),
        ] {
            let faults = Faults::new();
            faults.set(vec![FaultRule::new(action)]);
            let targets = [
                Target::Connection,
                Target::Request(LoggedCall::Upload),
                call,
            ];
            let struck = targets.map(|target| faults.strike(target).is_some());
            assert_eq!(struck, expected);
        }
    }

    #[test]
    fn a_rule_survives_being_written_and_read() {
        let fields = BTreeMap::from([("size_bytes".to_owned(), json!("12"))]);
        for action in [
            FaultAction::Status(FaultAnswer::status(529)),
            FaultAction::All(vec![
                FaultAction::DelayMs(5),
                FaultAction::SetFields(fields),
                FaultAction::CorruptByte(7),
                FaultAction::ResetAfterBytes(9),
            ]),
        ] {
            let rule = FaultRule {
                call: Some(LoggedCall::Content),
                name: Some("*.csv".to_owned()),
                every: Some(2),
                probability: Some(0.5),
                ..FaultRule::new(action)
            };
            let text = serde_json::to_string(&rule).unwrap();
            assert_eq!(serde_json::from_str::<FaultRule>(&text).unwrap(), rule);
        }
    }
}
