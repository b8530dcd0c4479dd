//! What a fault does: the actions, and how they are written.
//!
//! Written, an action is an object with one field or several; each field is one thing that happens to the call.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::past;

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
    /// The same, and resets the connection (RST) instead of closing it.
    ResetAfterBytes(u64),
    /// Takes so many bytes of the request's body, then closes the connection. It strikes when the request's head has come,
    /// so that its rule can't ask for an upload's name.
    CutRequestAfterBytes(u64),
    /// Takes the request whole, then closes the connection without an answer.
    DropAnswer,
    /// The same, and resets the connection (RST) instead of closing it.
    ResetAnswer,
    /// Says in `content-length` that the answer's body has so many bytes. Where it has fewer, the connection is closed behind
    /// them; where it has more, they are not sent.
    SaysLength(u64),
    /// Turns all bits of this byte of the answer's body, counted from 0.
    CorruptByte(u64),
    /// Leaves this field out of every object of a JSON answer.
    DropField(String),
    /// Gives these fields of every object of a JSON answer other values. Objects that have no such field stay as they are.
    SetFields(BTreeMap<String, Value>),
    /// A list answers as the workspace was so many seconds ago: what came since is missing, what went since is there. What
    /// is said of a single file stays true. What was there when the emulator started was always there.
    StaleListing(f64),
    /// An upload finds the quota used up.
    QuotaFull,
    /// The service's clock is so many seconds ahead, or behind where negative: in the `created_at` of what is uploaded, and
    /// in the answer's `date`.
    SkewedClock(i64),
    /// Resets new connections as they come, before anything is read. No call has begun then, so that its rule can't ask for one;
    /// nor does the side door answer meanwhile.
    Refuse,
    /// Several of these, each once.
    All(Vec<FaultAction>),
}

/// A hundred years: what is more can't be written as a time everywhere.
const MOST_SKEW_S: i64 = 100 * 365 * 86_400;

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

impl FaultAction {
    /// The things that happen, each by itself.
    pub(in super::super) fn parts(&self) -> &[Self] {
        match self {
            Self::All(parts) => parts,
            one => std::slice::from_ref(one),
        }
    }

    /// How long ago a list looks, of one part.
    pub(in super::super) fn stale_listing(&self) -> Option<Duration> {
        match self {
            Self::StaleListing(seconds) => Duration::try_from_secs_f64(*seconds).ok(),
            _ => None,
        }
    }

    /// Whether one part has uploads find no room.
    pub(in super::super) fn quota_full(&self) -> Option<()> {
        matches!(self, Self::QuotaFull).then_some(())
    }

    /// How far the clock is ahead, in microseconds, of one part.
    pub(in super::super) fn skewed_clock_us(&self) -> Option<i64> {
        match self {
            Self::SkewedClock(seconds) => {
                Some((*seconds).clamp(-MOST_SKEW_S, MOST_SKEW_S) * 1_000_000)
            }
            _ => None,
        }
    }

    /// Whether it strikes when a request's head has come.
    pub(super) fn is_for_requests(&self) -> bool {
        let cuts = |part: &Self| matches!(part, Self::CutRequestAfterBytes(_));
        self.parts().iter().any(cuts)
    }

    /// Whether it strikes connections.
    pub(super) fn is_for_connections(&self) -> bool {
        self.parts().contains(&Self::Refuse)
    }
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

    fn check(&self) -> Result<(), String> {
        if !(200..=599).contains(&self.status) {
            return Err(format!("`status` must be 200 to 599, not {}", self.status));
        }
        for (name, value) in &self.headers {
            if name.parse::<HeaderName>().is_err() || value.parse::<HeaderValue>().is_err() {
                return Err(format!("`headers`: {name:?} is no header HTTP can carry"));
            }
        }
        Ok(())
    }
}

/// An action as it is written: all fields of all actions, so that a misspelt one is told by its name.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ActionForm {
    #[serde(skip_serializing_if = "is_false")]
    refuse: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cut_request_after_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
    #[serde(skip_serializing_if = "is_false")]
    stall: bool,
    #[serde(skip_serializing_if = "is_false")]
    drop_answer: bool,
    #[serde(skip_serializing_if = "is_false")]
    reset_answer: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stale_listing_s: Option<f64>,
    #[serde(skip_serializing_if = "is_false")]
    quota_full: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    skewed_clock_s: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drop_field: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    set_fields: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    corrupt_byte: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    says_length: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stall_after_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slow_bytes_per_second: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cut_after_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reset_after_bytes: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl TryFrom<ActionForm> for FaultAction {
    type Error = String;

    fn try_from(form: ActionForm) -> Result<Self, String> {
        form.check()?;
        // In the order in which they happen.
        let mut parts = Vec::new();
        parts.extend(form.refuse.then_some(Self::Refuse));
        parts.extend(form.cut_request_after_bytes.map(Self::CutRequestAfterBytes));
        parts.extend(form.delay_ms.map(Self::DelayMs));
        parts.extend(form.stall.then_some(Self::Stall));
        parts.extend(form.drop_answer.then_some(Self::DropAnswer));
        parts.extend(form.reset_answer.then_some(Self::ResetAnswer));
        if let Some(status) = form.status {
            let answer = FaultAnswer {
                status,
                headers: form.headers,
                body: form.body,
            };
            answer.check()?;
            parts.push(Self::Status(answer));
        }
        parts.extend(form.stale_listing_s.map(Self::StaleListing));
        parts.extend(form.quota_full.then_some(Self::QuotaFull));
        parts.extend(form.skewed_clock_s.map(Self::SkewedClock));
        parts.extend(form.drop_field.map(Self::DropField));
        if !form.set_fields.is_empty() {
            parts.push(Self::SetFields(form.set_fields));
        }
        parts.extend(form.corrupt_byte.map(Self::CorruptByte));
        parts.extend(form.says_length.map(Self::SaysLength));
        parts.extend(form.stall_after_bytes.map(Self::StallAfterBytes));
        parts.extend(form.slow_bytes_per_second.map(Self::SlowBytesPerSecond));
        parts.extend(form.cut_after_bytes.map(Self::CutAfterBytes));
        parts.extend(form.reset_after_bytes.map(Self::ResetAfterBytes));
        match (parts.pop(), parts.is_empty()) {
            (None, _) => Err("`do` holds no action".to_owned()),
            (Some(only), true) => Ok(only),
            (Some(last), false) => {
                parts.push(last);
                Ok(Self::All(parts))
            }
        }
    }
}

impl ActionForm {
    fn check(&self) -> Result<(), String> {
        if self.slow_bytes_per_second == Some(0) {
            let why = "`slow_bytes_per_second` must be at least 1; use `stall` for nothing at all";
            return Err(why.to_owned());
        }
        let longest = past::LONGEST.as_secs_f64();
        if self
            .stale_listing_s
            .is_some_and(|age| !(0.0..=longest).contains(&age))
        {
            return Err(format!("`stale_listing_s` must be 0 to {longest}"));
        }
        if self
            .skewed_clock_s
            .is_some_and(|skew| skew.unsigned_abs() > MOST_SKEW_S.unsigned_abs())
        {
            return Err(format!(
                "`skewed_clock_s` must be -{MOST_SKEW_S} to {MOST_SKEW_S}"
            ));
        }
        if self.status.is_none() && (self.body.is_some() || !self.headers.is_empty()) {
            return Err("`headers` and `body` need a `status`".to_owned());
        }
        Ok(())
    }

    fn add(&mut self, part: FaultAction) {
        match part {
            FaultAction::Stall => self.stall = true,
            FaultAction::StallAfterBytes(bytes) => self.stall_after_bytes = Some(bytes),
            FaultAction::DelayMs(millis) => self.delay_ms = Some(millis),
            FaultAction::Status(answer) => {
                self.status = Some(answer.status);
                self.headers = answer.headers;
                self.body = answer.body;
            }
            FaultAction::SlowBytesPerSecond(rate) => self.slow_bytes_per_second = Some(rate),
            FaultAction::CutAfterBytes(bytes) => self.cut_after_bytes = Some(bytes),
            FaultAction::ResetAfterBytes(bytes) => self.reset_after_bytes = Some(bytes),
            FaultAction::CutRequestAfterBytes(bytes) => self.cut_request_after_bytes = Some(bytes),
            FaultAction::DropAnswer => self.drop_answer = true,
            FaultAction::ResetAnswer => self.reset_answer = true,
            FaultAction::SaysLength(length) => self.says_length = Some(length),
            FaultAction::CorruptByte(at) => self.corrupt_byte = Some(at),
            FaultAction::DropField(name) => self.drop_field = Some(name),
            FaultAction::SetFields(fields) => self.set_fields = fields,
            FaultAction::StaleListing(seconds) => self.stale_listing_s = Some(seconds),
            FaultAction::QuotaFull => self.quota_full = true,
            FaultAction::SkewedClock(seconds) => self.skewed_clock_s = Some(seconds),
            FaultAction::Refuse => self.refuse = true,
            FaultAction::All(parts) => parts.into_iter().for_each(|part| self.add(part)),
        }
    }
}

impl From<FaultAction> for ActionForm {
    fn from(action: FaultAction) -> Self {
        let mut form = Self::default();
        form.add(action);
        form
    }
}
