//! The upload call: a form whose part `file` becomes a file, however large, without ever being in memory whole.

use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;

use super::answer::Answer;
use super::content::Incoming;
use super::dialect::{self, Dialect};
use super::exchange::{End, Exchange, RequestBody};
use super::faults::FaultAction;
use super::http::{internal, not_stored};
use super::multipart::{Event, Multipart, PartHead};
use super::rules::{self, Refusal};
use super::side_door::guess;
use super::workspace::{Expiry, NewFile, StoreError};

/// Receives a form and stores its file.
pub(super) async fn receive(
    exchange: &mut Exchange,
    headers: &HeaderMap,
    body: &mut RequestBody,
) -> Result<Answer, End> {
    let mut form = Form {
        parser: Multipart::new(&rules::boundary(headers)?),
        file: None,
        lifetime: None,
        reading: Reading::Nothing,
    };
    loop {
        if form.advance(exchange).await? {
            break;
        }
        match body.next(&exchange.trace).await {
            Some(piece) => form.parser.push(piece?),
            None => return Err(Refusal::invalid("Malformed multipart body: it has no end").into()),
        }
    }
    // Only a request that came whole is carried out: what follows the form is read before anything is stored.
    while let Some(rest) = body.next(&exchange.trace).await {
        rest?;
    }
    let file = form
        .file
        .ok_or_else(|| Refusal::invalid("file: Field required"))?;
    let expiry = match (exchange.spoken.dialect, form.lifetime) {
        (Dialect::Ga, Some(field)) => Expiry::After(dialect::lifetime(&field)?),
        (Dialect::Beta, _) | (Dialect::Ga, None) => Expiry::Never,
    };
    Ok(store(exchange, file, expiry).await?)
}

/// A form on its way in.
struct Form {
    parser: Multipart,
    file: Option<FilePart>,
    /// The field `expires_in_seconds`, as it stands there.
    lifetime: Option<Vec<u8>>,
    reading: Reading,
}

/// Which part is coming in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    File,
    Lifetime,
    /// One that means nothing.
    Nothing,
}

/// A field's value beyond this length is none.
const MAX_FIELD: usize = 100;

/// The part that becomes a file.
struct FilePart {
    filename: String,
    mime_type: String,
    content: Incoming,
}

impl Form {
    /// Takes in what has arrived. True at the form's end.
    async fn advance(&mut self, exchange: &mut Exchange) -> Result<bool, End> {
        loop {
            let event = self
                .parser
                .next()
                .map_err(|problem| Refusal::invalid(problem.0))?;
            match event {
                None => return Ok(false),
                Some(Event::End) => return Ok(true),
                Some(Event::Part(head)) => {
                    // What becomes of a second `file` is unknown; here the first counts. Other parts are ignored.
                    self.reading = match head.name.as_str() {
                        "file" if self.file.is_none() => Reading::File,
                        "expires_in_seconds" if self.lifetime.is_none() => Reading::Lifetime,
                        _ => Reading::Nothing,
                    };
                    match self.reading {
                        Reading::File => self.file = Some(begin(exchange, &head).await?),
                        Reading::Lifetime => self.lifetime = Some(Vec::new()),
                        Reading::Nothing => {}
                    }
                }
                Some(Event::Data(data)) => match (self.reading, &mut self.file) {
                    (Reading::File, Some(file)) => take(exchange, file, data).await?,
                    (Reading::Lifetime, _) => {
                        let field = self.lifetime.get_or_insert_default();
                        let room = MAX_FIELD - field.len().min(MAX_FIELD);
                        field.extend_from_slice(&data[..data.len().min(room)]);
                    }
                    (Reading::File | Reading::Nothing, _) => {}
                },
            }
        }
    }
}

async fn begin(exchange: &mut Exchange, head: &PartHead) -> Result<FilePart, End> {
    let mime_type = head
        .content_type
        .clone()
        .filter(|kind| (1..=255).contains(&kind.chars().count()))
        .or_else(|| {
            // How the service detects it is unknown; here by the name.
            let is_detected = exchange.spoken.dialect == Dialect::Ga;
            is_detected.then(|| guess(head.filename.as_deref().unwrap_or_default()))
        })
        .ok_or_else(|| Refusal::invalid("file: Content-Type of the part is required"))?;
    let switches = &exchange.service.config.switches;
    let filename = rules::stored_name(head.filename.as_deref(), &mime_type, switches)?;
    exchange.trace.name(&filename);
    exchange.meet_fault(None, Some(&filename)).await?;
    Ok(FilePart {
        filename,
        mime_type,
        content: exchange.service.workspace.shelter().receive(),
    })
}

async fn take(exchange: &Exchange, file: &mut FilePart, data: Bytes) -> Result<(), Refusal> {
    if file.content.size() + data.len() as u64 > exchange.service.config.max_file_size {
        return Err(Refusal::of_status(413));
    }
    file.content.write(data).await;
    Ok(())
}

async fn store(exchange: &Exchange, file: FilePart, expiry: Expiry) -> Result<Answer, Refusal> {
    let config = &exchange.service.config;
    if file.content.size() == 0 && !config.switches.empty_files_accepted {
        return Err(Refusal::invalid("file: must not be empty"));
    }
    let received = file
        .content
        .finish()
        .await
        .map_err(|error| internal(&error))?;
    if exchange.ordered(FaultAction::quota_full).is_some() {
        return Err(not_stored(&StoreError::Full, &exchange.service));
    }
    let skew_us = exchange.ordered(FaultAction::skewed_clock_us);
    let new = NewFile {
        filename: file.filename,
        mime_type: file.mime_type,
        downloadable: false,
        session: None,
        id: None,
        created_us: skew_us.map(|skew_us| exchange.service.workspace.now_us() + skew_us),
        expiry,
        received,
        quota: config.quota,
        asked: Some(exchange.asked),
    };
    let stored = exchange
        .service
        .change(move |workspace| workspace.add(new))
        .await?;
    let stored = stored.map_err(|error| not_stored(&error, &exchange.service))?;
    exchange.trace.id(&stored.id);
    Ok(Answer::json(StatusCode::OK, &exchange.object(&stored)))
}
