//! Trouble to order: rules that make the emulator stall, refuse, delay, slow down, cut or fall silent.
//!
//! For every API call the rules are tried in their order, and the first that matches and is *due* is carried out. A
//! rule counts the calls that it matches and no earlier rule took: `nth` says at which it becomes due, `times` for
//! how many it stays so. Everything is counted, nothing is left to chance, so a test gets the same trouble every time.

use std::collections::BTreeMap;
use std::sync::Mutex;

use axum::http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

use super::log::LoggedCall;
use super::workspace::lock;

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
    /// Due for so many calls: without it for one where there is an `nth`, else for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
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
            times: None,
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

/// What a fault does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ActionForm", into = "ActionForm")]
pub enum FaultAction {
    /// Holds the call until the rules change, then lets it go on.
    Stall,
    /// Sends the answer's head and so many bytes of its body, and holds the rest until the rules change.
    StallAfterBytes(u64),
    /// Holds the call for so many milliseconds, then lets it go on.
    DelayMs(u64),
    /// Answers something else.
    Status(FaultAnswer),
    /// Sends the answer's body at this speed.
    SlowBytesPerSecond(u64),
    /// Sends the answer's head and so many bytes of its body, then closes the connection.
    CutAfterBytes(u64),
    /// Takes the request whole, then closes the connection without an answer.
    DropAnswer,
}

/// An answer of a rule's own.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultAnswer {
    /// Its status.
    pub status: u16,
    /// Its headers, beside the usual ones.
    pub headers: BTreeMap<String, String>,
    /// Its body: a string as it is, anything else as JSON. `None`: the error body the service has for this status.
    pub body: Option<Value>,
}

impl FaultAnswer {
    /// The service's own answer of this status.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: BTreeMap::new(),
            body: None,
        }
    }
}

/// An action as it is written: all fields of all actions, so that a misspelt one is told by its name.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ActionForm {
    #[serde(skip_serializing_if = "Option::is_none")]
    stall: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stall_after_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slow_bytes_per_second: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cut_after_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drop_answer: Option<bool>,
}

impl TryFrom<ActionForm> for FaultAction {
    type Error = String;

    fn try_from(form: ActionForm) -> Result<Self, String> {
        let has_answer_parts = form.headers.is_some() || form.body.is_some();
        let mut found = Vec::new();
        found.extend((form.stall == Some(true)).then_some(Self::Stall));
        found.extend(form.stall_after_bytes.map(Self::StallAfterBytes));
        found.extend(form.delay_ms.map(Self::DelayMs));
        found.extend(form.slow_bytes_per_second.map(Self::SlowBytesPerSecond));
        found.extend(form.cut_after_bytes.map(Self::CutAfterBytes));
        found.extend((form.drop_answer == Some(true)).then_some(Self::DropAnswer));
        if let Some(status) = form.status {
            found.push(Self::Status(FaultAnswer {
                status,
                headers: form.headers.unwrap_or_default(),
                body: form.body,
            }));
        }
        match (found.pop(), found.is_empty()) {
            (Some(Self::SlowBytesPerSecond(0)), true) => Err(
                "`slow_bytes_per_second` must be at least 1; use `stall` for nothing at all"
                    .to_owned(),
            ),
            (Some(Self::Status(answer)), true) => answer.checked().map(Self::Status),
            (Some(_), true) if has_answer_parts => {
                Err("`headers` and `body` need a `status`".to_owned())
            }
            (Some(action), true) => Ok(action),
            (Some(_), false) => Err("`do` holds more than one action".to_owned()),
            (None, _) => Err("`do` holds no action".to_owned()),
        }
    }
}

impl FaultAnswer {
    fn checked(self) -> Result<Self, String> {
        if !(200..=599).contains(&self.status) {
            return Err(format!("`status` must be 200 to 599, not {}", self.status));
        }
        for (name, value) in &self.headers {
            if name.parse::<HeaderName>().is_err() || value.parse::<HeaderValue>().is_err() {
                return Err(format!("`headers`: {name:?} is no header HTTP can carry"));
            }
        }
        Ok(self)
    }
}

impl From<FaultAction> for ActionForm {
    fn from(action: FaultAction) -> Self {
        let mut form = Self::default();
        match action {
            FaultAction::Stall => form.stall = Some(true),
            FaultAction::StallAfterBytes(bytes) => form.stall_after_bytes = Some(bytes),
            FaultAction::DelayMs(millis) => form.delay_ms = Some(millis),
            FaultAction::Status(answer) => {
                form.status = Some(answer.status);
                form.headers = Some(answer.headers).filter(|headers| !headers.is_empty());
                form.body = answer.body;
            }
            FaultAction::SlowBytesPerSecond(rate) => form.slow_bytes_per_second = Some(rate),
            FaultAction::CutAfterBytes(bytes) => form.cut_after_bytes = Some(bytes),
            FaultAction::DropAnswer => form.drop_answer = Some(true),
        }
        form
    }
}

/// What a call is, as far as rules look at it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) call: LoggedCall,
    pub(super) id: Option<&'a str>,
    pub(super) name: Option<&'a str>,
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
    matched: u64,
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
        *current = rules
            .into_iter()
            .map(|rule| Counted { rule, matched: 0 })
            .collect();
        self.generation.send_modify(|generation| *generation += 1);
    }

    pub(super) fn rules(&self) -> Vec<FaultRule> {
        lock(&self.rules)
            .iter()
            .map(|counted| counted.rule.clone())
            .collect()
    }

    /// The fault for this call, if any.
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
    fn take(&mut self, target: Target<'_>) -> Option<&FaultRule> {
        let rule = &self.rule;
        let matches = rule.call.is_none_or(|call| call == target.call)
            && fits(rule.name.as_deref(), target.name)
            && fits(rule.id.as_deref(), target.id);
        if !matches {
            return None;
        }
        self.matched += 1;
        let first = rule.nth.unwrap_or(1);
        let times = rule
            .times
            .unwrap_or(if rule.nth.is_some() { 1 } else { u64::MAX });
        let is_due = self.matched >= first && self.matched - first < times;
        is_due.then_some(rule)
    }
}

fn fits(pattern: Option<&str>, text: Option<&str>) -> bool {
    match (pattern, text) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(pattern), Some(text)) => glob(pattern, text),
    }
}

/// `*` is any text, `?` any character, everything else itself.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where to go on when the text after the last star did not fit: one character further.
    let mut retry = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p + 1, t + 1));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((star, next)) = retry else {
                    return false;
                };
                (p, t) = (star, next);
                retry = Some((star, next + 1));
            }
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, text, fitting) in [
            ("a.txt", "a.txt", true),
            ("a.txt", "b.txt", false),
            ("*", "", true),
            ("*.txt", "a.b.txt", true),
            ("*.txt", "a.txt.md", false),
            ("a*b*c", "aXbXbc", true),
            ("?", "\u{e9}", true),
            ("?", "", false),
            ("", "", true),
        ] {
            assert_eq!(glob(pattern, text), fitting, "{pattern} {text}");
        }
    }

    fn due(rule: FaultRule, calls: usize) -> Vec<bool> {
        let faults = Faults::new();
        faults.set(vec![rule]);
        let target = Target {
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
        let rule = |nth, times| FaultRule {
            nth,
            times,
            ..FaultRule::new(FaultAction::Stall)
        };
        assert_eq!(due(rule(None, None), 3), [true, true, true]);
        assert_eq!(due(rule(None, Some(2)), 3), [true, true, false]);
        assert_eq!(due(rule(Some(2), None), 3), [false, true, false]);
        assert_eq!(due(rule(Some(2), Some(2)), 4), [false, true, true, false]);
    }

    #[test]
    fn a_rule_survives_being_written_and_read() {
        let rule = FaultRule {
            call: Some(LoggedCall::Content),
            name: Some("*.csv".to_owned()),
            ..FaultRule::new(FaultAction::Status(FaultAnswer::status(529)))
        };
        let text = serde_json::to_string(&rule).unwrap();
        assert_eq!(serde_json::from_str::<FaultRule>(&text).unwrap(), rule);
    }
}
