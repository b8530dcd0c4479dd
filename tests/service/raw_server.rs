//! A server that says exactly what it is told to, for answers no honest server gives: lies, cuts, stalls and garbage.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// Listens on a port of its own until dropped.
pub(crate) struct RawServer {
    address: SocketAddr,
    seen: Arc<Seen>,
}

/// What came in.
#[derive(Default)]
struct Seen {
    heads: Mutex<Vec<String>>,
    connections: AtomicUsize,
    stop: AtomicBool,
    gate: Gate,
}

/// What the two sides wait for.
#[derive(Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    open: usize,
    released: bool,
}

impl Gate {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    fn wait(&self, what: &str, until: impl Fn(&State) -> bool) {
        let limit = Duration::from_secs(20);
        let state = self.state.lock().unwrap();
        let (_state, timeout) = self
            .changed
            .wait_timeout_while(state, limit, |state| !until(state))
            .unwrap();
        assert!(!timeout.timed_out(), "{what} for {limit:?}");
    }
}

/// One request, its head already read.
pub(crate) struct Exchange {
    /// The request line and the headers, as they came.
    pub(crate) head: String,
    reader: BufReader<TcpStream>,
    seen: Arc<Seen>,
}

impl RawServer {
    /// Answers every request by this function. The connection stays open for another one if it returns `true`.
    pub(crate) fn start(answer: impl Fn(&mut Exchange) -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let answer = Arc::new(answer);
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stop.load(Ordering::SeqCst) {
                    return;
                }
                let (seen, answer) = (Arc::clone(&shared), Arc::clone(&answer));
                seen.connections.fetch_add(1, Ordering::SeqCst);
                seen.gate.change(|state| state.open += 1);
                thread::spawn(move || {
                    serve(stream.unwrap(), &seen, answer.as_ref());
                    seen.gate.change(|state| state.open -= 1);
                });
            }
        });
        Self { address, seen }
    }

    /// Answers every request with these bytes and closes, and says that it will: a client that sends its next request
    /// into the closing connection is right to call that an interruption.
    pub(crate) fn saying(answer: impl Into<Vec<u8>>) -> Self {
        let mut answer = answer.into();
        if let Some(at) = answer.windows(2).position(|pair| pair == b"\r\n")
            && answer.starts_with(b"HTTP")
        {
            answer.splice(at..at, *b"\r\nconnection: close");
        }
        Self::start(move |exchange| {
            exchange.read_body();
            exchange.send(&answer);
            false
        })
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The heads of all requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.seen.heads.lock().unwrap().clone()
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Waits until no connection is open any more.
    pub(crate) fn wait_until_closed(&self) {
        self.seen
            .gate
            .wait("connections stayed open", |state| state.open == 0);
    }

    /// Lets those go on who wait for it.
    pub(crate) fn release(&self) {
        self.seen.gate.change(|state| state.released = true);
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.seen.stop.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, seen: &Arc<Seen>, answer: &dyn Fn(&mut Exchange) -> bool) {
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            match reader.read_line(&mut head) {
                Ok(1..) => {}
                _ => return,
            }
        }
        seen.heads.lock().unwrap().push(head.clone());
        let mut exchange = Exchange {
            head,
            reader,
            seen: Arc::clone(seen),
        };
        if !answer(&mut exchange) {
            return;
        }
        reader = exchange.reader;
    }
}

impl Exchange {
    /// The path and query that are asked for.
    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The request's body, by its content-length.
    pub(crate) fn read_body(&mut self) -> Vec<u8> {
        let length = self
            .header("content-length")
            .map_or(0, |n| n.parse().unwrap());
        let mut body = Vec::new();
        let _ = self.reader.by_ref().take(length).read_to_end(&mut body);
        body
    }

    /// Up to so many bytes of the body, thrown away; how many there were.
    pub(crate) fn skip(&mut self, bytes: u64) -> u64 {
        let mut some = self.reader.by_ref().take(bytes);
        std::io::copy(&mut some, &mut std::io::sink()).unwrap_or(0)
    }

    /// Sends these bytes; `false` when the client has gone.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.reader.get_mut().write_all(bytes).is_ok()
    }

    /// Sends a whole JSON answer.
    pub(crate) fn json(&mut self, status: &str, body: &str) {
        self.send(json(status, body).as_bytes());
    }

    /// Waits until the client closes; how many bytes came before.
    pub(crate) fn until_closed(&mut self) -> u64 {
        self.skip(u64::MAX)
    }

    /// Waits until the test says so.
    pub(crate) fn wait_for_release(&self) {
        self.seen
            .gate
            .wait("nobody released the server", |state| state.released);
    }

    /// Says that nothing more will be sent.
    pub(crate) fn end(&mut self) {
        let _ = self.reader.get_mut().shutdown(Shutdown::Write);
    }

    /// Closes so that the client sees a reset: bytes of its own were never read.
    pub(crate) fn close(&mut self) {
        let _ = self.reader.get_mut().shutdown(Shutdown::Both);
    }
}

/// An answer with this JSON for a body.
pub(crate) fn json(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nrequest-id: req_1\r\n\
         date: Sun, 06 Nov 1994 08:49:37 GMT\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}
