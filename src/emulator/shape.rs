//! The shapes that faults give to answers: slow, held, cut, corrupt, or about something else.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use serde_json::{Map, Value};

use super::answer::Answer;
use super::content::Chunks;
use super::faults::{Fault, FaultAction, Hold};

/// Gives an answer the shape that a fault asks for.
pub(super) async fn shaped(mut answer: Answer, fault: &Fault, wire: &WireCutter) -> Answer {
    for part in fault.action.parts() {
        answer = match part {
            FaultAction::DropField(name) => {
                edited(answer, &|object| drop(object.remove(name))).await
            }
            FaultAction::SetFields(fields) => {
                let set = |object: &mut Map<String, Value>| {
                    for (name, value) in fields {
                        if let Some(field) = object.get_mut(name) {
                            *field = value.clone();
                        }
                    }
                };
                edited(answer, &set).await
            }
            FaultAction::SaysLength(length) => Answer {
                said_length: Some(*length),
                ..answer
            },
            _ => sent_otherwise(answer, part, &fault.hold, wire),
        };
    }
    answer
}

/// What happens to a body on its way out.
fn sent_otherwise(answer: Answer, part: &FaultAction, hold: &Hold, wire: &WireCutter) -> Answer {
    let is_within = |bytes| bytes < answer.length;
    let body = match *part {
        FaultAction::CorruptByte(at) => corrupt(answer.body, at),
        FaultAction::SlowBytesPerSecond(rate) => slow(answer.body, rate),
        FaultAction::CutAfterBytes(bytes) if is_within(bytes) => {
            split(answer.body, bytes, Box::pin(wire.clone().cut(CLOSE)))
        }
        FaultAction::ResetAfterBytes(bytes) if is_within(bytes) => {
            split(answer.body, bytes, Box::pin(wire.clone().cut(RESET)))
        }
        FaultAction::StallAfterBytes(bytes) => {
            let mut hold = hold.clone();
            let pause = Box::pin(async move { hold.released().await });
            split(answer.body, bytes, pause)
        }
        _ => answer.body,
    };
    Answer { body, ..answer }
}

/// Changes every object of a JSON answer. Others stay as they are.
async fn edited(answer: Answer, edit: &(dyn Fn(&mut Map<String, Value>) + Sync)) -> Answer {
    let mut text = Vec::new();
    let mut body = answer.body;
    while let Some(Ok(chunk)) = body.next().await {
        text.extend_from_slice(&chunk);
    }
    if let Ok(mut value) = serde_json::from_slice::<Value>(&text) {
        edit_objects(&mut value, edit);
        text = value.to_string().into_bytes();
    }
    Answer {
        length: text.len() as u64,
        body: Box::pin(stream::iter([Ok(text.into())])),
        ..answer
    }
}

fn edit_objects(value: &mut Value, edit: &(dyn Fn(&mut Map<String, Value>) + Sync)) {
    match value {
        Value::Object(object) => {
            edit(object);
            object
                .values_mut()
                .for_each(|value| edit_objects(value, edit));
        }
        Value::Array(values) => values
            .iter_mut()
            .for_each(|value| edit_objects(value, edit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Ends a connection from the inside.
#[derive(Debug, Clone, Default)]
pub(super) struct WireCutter(Arc<AtomicU8>);

/// Flags of a [`WireCutter`]: end the connection once what was written to it has left; end it by RST instead of FIN.
const CLOSE: u8 = 1;
const RESET: u8 = 2 | CLOSE;

impl WireCutter {
    /// Whether the connection is to end when everything has left.
    pub(super) fn is_due(&self) -> bool {
        self.0.load(Ordering::Acquire) & CLOSE == CLOSE
    }

    /// Whether its end is to be a reset.
    pub(super) fn is_reset(&self) -> bool {
        self.0.load(Ordering::Acquire) & RESET == RESET
    }

    /// Has the end of the connection be a reset, which is to follow.
    pub(super) fn reset(&self) {
        self.0.store(RESET, Ordering::Release);
    }

    /// Never returns: waiting here makes the connection flush, and having flushed it finds that it is to end.
    async fn cut(self, how: u8) {
        self.0.store(how, Ordering::Release);
        std::future::pending::<()>().await;
    }
}

type Pause = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Passes so many bytes, waits for `pause`, and passes the rest.
fn split(chunks: Chunks, bytes: u64, pause: Pause) -> Chunks {
    struct Split {
        chunks: Chunks,
        left: u64,
        rest: Option<Bytes>,
        pause: Option<Pause>,
    }
    let state = Split {
        chunks,
        left: bytes,
        rest: None,
        pause: Some(pause),
    };
    Box::pin(stream::unfold(state, |mut state| async move {
        if state.left == 0
            && let Some(pause) = state.pause.take()
        {
            pause.await;
        }
        let chunk = match state.rest.take() {
            Some(rest) => Ok(rest),
            None => state.chunks.next().await?,
        };
        let chunk = chunk.map(|mut chunk| {
            if state.pause.is_some() {
                let now = (chunk.len() as u64).min(state.left) as usize;
                state.rest = Some(chunk.split_off(now)).filter(|rest| !rest.is_empty());
                state.left -= now as u64;
            }
            chunk
        });
        Some((chunk, state))
    }))
}

/// Passes a body at this speed, in up to twenty steps a second.
fn slow(chunks: Chunks, bytes_per_second: u64) -> Chunks {
    let step = (bytes_per_second / 20).max(1);
    let wait = Duration::from_micros(1_000_000 / (bytes_per_second / step));
    Box::pin(stream::unfold(
        (chunks, Bytes::new()),
        move |(mut chunks, mut rest)| async move {
            if rest.is_empty() {
                match chunks.next().await? {
                    Ok(chunk) => rest = chunk,
                    Err(error) => return Some((Err(error), (chunks, rest))),
                }
            }
            tokio::time::sleep(wait).await;
            let now = rest.split_to((step as usize).min(rest.len()));
            Some((Ok(now), (chunks, rest)))
        },
    ))
}

/// Turns all bits of one byte.
fn corrupt(chunks: Chunks, at: u64) -> Chunks {
    let mut passed = 0;
    Box::pin(chunks.map(move |chunk| {
        let chunk = chunk?;
        let here = at.checked_sub(passed).filter(|at| *at < chunk.len() as u64);
        passed += chunk.len() as u64;
        let Some(here) = here else {
            return Ok(chunk);
        };
        let mut bytes = chunk.to_vec();
        bytes[here as usize] ^= 0xff;
        Ok(Bytes::from(bytes))
    }))
}
