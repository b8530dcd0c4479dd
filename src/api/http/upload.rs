//! Sending a file: the caller's thread reads it piece by piece, a connection takes the pieces, and whatever happens
//! first ends the call: the answer, the body's failure, or the deadline on lack of progress.
//!
//! Over reqwest's async client on a runtime of our own, because `reqwest::blocking` can't do it (read in 0.13.5): its
//! timeout bounds the whole transfer, and an answer that comes while the body is still being sent is thrown away with
//! the send's error. Here a call that is given up takes its connection with it, so that nothing is left behind.
//!
//! What counts as progress is that the connection takes bytes (it takes 16 KiB at a time and has little more than
//! 400 KiB in hand), that the caller hands some over, or that the answer moves. What the kernel still holds can't be
//! seen from here; `tcp_user_timeout` watches over that.

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, Client, Request, Url};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::answer::{self, Head};
use super::multipart::{self, Form};
use super::{ApiError, Call, ErrorKind, FileMetadata, Upload};

/// How much is read of the file at a time. Two or three of these are in memory for each upload.
const PIECE: usize = 256 << 10;

/// How much the connection takes at a time: the grain of progress. At 300 bytes a second it is just fast enough for a
/// minute's deadline.
const FRAME: usize = 16 << 10;

/// Sends files.
#[derive(Debug)]
pub(super) struct Uploader {
    client: Client,
    /// There until the drop. Not simply dropped: that would wait for name lookups that may hang.
    runtime: Option<Runtime>,
    handle: Handle,
    no_progress: Duration,
    /// What uploads are sent with that don't say: how long the service is to keep them.
    expires_in_seconds: Option<u64>,
}

/// An answer as it came, or why none did.
type Answer = Result<(Head, Vec<u8>), ApiError>;

impl Uploader {
    pub(super) fn new(
        client: Client,
        no_progress: Duration,
        expires_in_seconds: Option<u64>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("afs-upload")
            .enable_all()
            .build()?;
        Ok(Self {
            client,
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
            no_progress,
            expires_in_seconds,
        })
    }

    /// Sends one file. Exactly one request; none at all when the file's first bytes can't be read. `told` gets the
    /// answer's head.
    pub(super) fn upload(
        &self,
        url: Url,
        upload: Upload,
        told: &dyn Fn(&Head),
    ) -> Result<FileMetadata, ApiError> {
        let expires_in_seconds = upload.expires_in_seconds.or(self.expires_in_seconds);
        let form = Form::new(
            &upload.filename,
            &upload.mime_type,
            expires_in_seconds,
            &multipart::boundary()?,
        )?;
        let total = (form.head.len() + form.tail.len()) as u64 + upload.size;
        let content_type = form.content_type.clone();
        let mut pieces = Pieces::new(form, upload);
        let first = pieces.next()?;

        let progress = Arc::new(Progress::new(total));
        // Room for one piece: while the connection works on one, the next is read.
        let (hand_over, taken) = mpsc::channel(1);
        let body = FormBody {
            pieces: taken,
            current: Bytes::new(),
            progress: Arc::clone(&progress),
        };
        let request = self
            .client
            .post(url)
            .header(CONTENT_TYPE, content_type)
            .header(CONTENT_LENGTH, total)
            .body(Body::wrap(body))
            .build()
            .map_err(|error| {
                ApiError::local(Call::Upload, ErrorKind::Refused, answer::chain(&error))
            })?;
        let answer = converse(
            self.client.clone(),
            request,
            Arc::clone(&progress),
            self.no_progress,
        );
        let mut transfer = Transfer {
            answer: self.handle.spawn(answer),
            hand_over: Some(hand_over),
            progress,
            no_progress: self.no_progress,
        };
        let (head, body) = self.drive(&mut transfer, first, &mut pieces)?;
        told(&head);
        if !head.is_success() {
            return Err(head.refusal(Call::Upload, &body));
        }
        head.check_encoding(Call::Upload)?;
        if transfer.progress.left() > 0 {
            let message = "the service confirmed the file before it had all of it";
            return Err(head.nonsense(Call::Upload, message));
        }
        let file = head.file(Call::Upload, &body)?;
        if expires_in_seconds.is_some() && file.expires_at.is_none() {
            log::warn!(
                "{} ({}) was to expire, and the service does not say that it will; it may stay until it is deleted",
                file.filename,
                file.id
            );
        }
        Ok(file)
    }

    /// Hands over piece after piece, then waits for the answer; an early answer ends it.
    fn drive(&self, transfer: &mut Transfer, first: Option<Bytes>, pieces: &mut Pieces) -> Answer {
        let mut next = first;
        while let Some(piece) = next {
            transfer.progress.moved();
            match self.handle.block_on(transfer.hand(piece)) {
                Handed::Taken => {}
                Handed::Gone => break,
                Handed::Answered(answer) => return answer,
            }
            next = pieces.next()?;
            transfer.progress.moved();
        }
        transfer.hand_over = None;
        self.handle.block_on(transfer.answer())
    }
}

impl Drop for Uploader {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// One request on its way.
struct Transfer {
    answer: JoinHandle<Answer>,
    /// Gone when everything was handed over: the body then ends.
    hand_over: Option<mpsc::Sender<Bytes>>,
    progress: Arc<Progress>,
    no_progress: Duration,
}

/// What became of a piece.
enum Handed {
    Taken,
    /// The connection takes no more; the answer will say why.
    Gone,
    /// The service answered before it had everything, or nothing moves any more.
    Answered(Answer),
}

impl Transfer {
    async fn hand(&mut self, piece: Bytes) -> Handed {
        let Some(hand_over) = &self.hand_over else {
            return Handed::Gone;
        };
        tokio::select! {
            biased;
            sent = hand_over.send(piece) => match sent {
                Ok(()) => Handed::Taken,
                Err(_) => Handed::Gone,
            },
            answer = &mut self.answer => Handed::Answered(finished(answer)),
            () = self.progress.stalled(self.no_progress) => Handed::Answered(self.stalled()),
        }
    }

    async fn answer(&mut self) -> Answer {
        tokio::select! {
            biased;
            answer = &mut self.answer => finished(answer),
            () = self.progress.stalled(self.no_progress) => self.stalled(),
        }
    }

    fn stalled(&self) -> Answer {
        Err(answer::stalled(Call::Upload, self.no_progress))
    }
}

impl Drop for Transfer {
    /// Whatever is still on its way is cut off: a request that is given up must not be completed behind our back.
    fn drop(&mut self) {
        self.answer.abort();
    }
}

fn finished(answer: Result<Answer, tokio::task::JoinError>) -> Answer {
    answer.unwrap_or_else(|error| {
        let message = format!("the transfer's task ended: {error}");
        Err(ApiError::local(
            Call::Upload,
            ErrorKind::Interrupted,
            message,
        ))
    })
}

/// Sends the request and reads its answer, whatever its status.
async fn converse(
    client: Client,
    request: Request,
    progress: Arc<Progress>,
    no_progress: Duration,
) -> Answer {
    let broken = |error| answer::broken(Call::Upload, &error, no_progress);
    let mut response = client.execute(request).await.map_err(broken)?;
    progress.moved();
    let head = Head::of(response.status(), response.headers());
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok((head, body)),
            // A refusal is known by its status; the rest of its body is not needed.
            Err(_) if !head.is_success() => return Ok((head, body)),
            Err(error) => {
                return Err(head.error(
                    Call::Upload,
                    ErrorKind::Interrupted,
                    answer::chain(&error),
                ));
            }
        }
        progress.moved();
        if body.len() > answer::MAX_ERROR {
            if head.is_success() {
                return Err(head.nonsense(Call::Upload, "the answer is far too long"));
            }
            return Ok((head, body));
        }
    }
}

/// How far a transfer is, and since when it has not moved.
#[derive(Debug)]
struct Progress {
    begun: Instant,
    /// Milliseconds from `begun` to the last movement.
    last: AtomicU64,
    /// Bytes of the request the connection has not taken yet.
    left: AtomicU64,
}

impl Progress {
    fn new(total: u64) -> Self {
        Self {
            begun: Instant::now(),
            last: AtomicU64::new(0),
            left: AtomicU64::new(total),
        }
    }

    fn moved(&self) {
        let now = self.begun.elapsed().as_millis() as u64;
        self.last.store(now, Ordering::Relaxed);
    }

    fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    /// Ends when nothing has moved for so long.
    async fn stalled(&self, no_progress: Duration) {
        loop {
            let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
            let idle = self.begun.elapsed().saturating_sub(last);
            match no_progress.checked_sub(idle) {
                None | Some(Duration::ZERO) => return,
                Some(rest) => tokio::time::sleep(rest).await,
            }
        }
    }
}

/// The request's body, as the connection asks for it.
struct FormBody {
    pieces: mpsc::Receiver<Bytes>,
    current: Bytes,
    progress: Arc<Progress>,
}

impl hyper::body::Body for FormBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let left = self.progress.left();
        if left == 0 {
            return Poll::Ready(None);
        }
        if self.current.is_empty() {
            match ready!(self.pieces.poll_recv(cx)) {
                Some(piece) => self.current = piece,
                // The other end gave up. An error here closes the connection before the form is complete.
                None => return Poll::Ready(Some(Err(io::Error::other("given up")))),
            }
        }
        let length = self.current.len().min(FRAME);
        let frame = self.current.split_to(length);
        self.progress
            .left
            .store(left - length as u64, Ordering::Relaxed);
        self.progress.moved();
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.progress.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.progress.left())
    }
}

/// The whole form, cut into pieces: small files are one piece, and go out in one packet if they can.
struct Pieces {
    head: Vec<u8>,
    body: io::Take<Box<dyn Read + Send>>,
    tail: Option<Vec<u8>>,
}

impl Pieces {
    fn new(form: Form, upload: Upload) -> Self {
        Self {
            head: form.head,
            body: upload.body.take(upload.size),
            tail: Some(form.tail),
        }
    }

    /// The next piece, `None` after the last. The form's end is only handed out when all of the file was read.
    fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        let Some(tail) = &self.tail else {
            return Ok(None);
        };
        let body_error = |message| ApiError::local(Call::Upload, ErrorKind::Body, message);
        let before = self.body.limit();
        let wanted = before.min(PIECE as u64);
        let mut piece = std::mem::take(&mut self.head);
        piece.reserve_exact(wanted as usize + tail.len());
        let read = (&mut self.body)
            .take(wanted)
            .read_to_end(&mut piece)
            .map_err(|error| body_error(format!("the file can't be read: {error}")))?;
        if (read as u64) < wanted {
            let missing = before - read as u64;
            return Err(body_error(format!(
                "the file is {missing} bytes shorter than it was"
            )));
        }
        if self.body.limit() == 0 {
            piece.append(&mut self.tail.take().unwrap_or_default());
        }
        Ok(Some(piece.into()))
    }
}
