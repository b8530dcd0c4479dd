//! One save is one file at whatever byte the connection is cut: of the request on its way there, or of the answer on its
//! way back. A proxy between the mount and the service cuts each upload's first try at a byte of its own.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::harness::{World, within};
use super::hung::close_of;

/// Where an upload's connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// So many bytes of the request have reached the service, and no more will.
    Request(usize),
    /// All of it has, and so many bytes of the answer come back.
    Answer(usize),
}

/// What the proxy does to the first tries of uploads, and what it saw of them.
#[derive(Debug, Default)]
struct Plan {
    /// By the number of the file.
    cuts: Mutex<HashMap<usize, Cut>>,
    /// The longest request, and the longest answer.
    longest: Mutex<(usize, usize)>,
    is_over: AtomicBool,
}

/// A proxy that listens until it is dropped.
struct Proxy {
    address: SocketAddr,
    plan: Arc<Plan>,
}

impl Proxy {
    fn start(service: SocketAddr, plan: Plan) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            plan: Arc::new(plan),
        };
        let plan = Arc::clone(&proxy.plan);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if plan.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let plan = Arc::clone(&plan);
                thread::spawn(move || exchange(&stream, service, &plan));
            }
        });
        proxy
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.plan.is_over.store(true, Ordering::SeqCst);
        // Wakes the listener, so that it sees that it is over.
        drop(TcpStream::connect(self.address));
    }
}

/// Passes one request on, and its answer back, as far as the plan lets them come. Any connection that fails on the way
/// is one more cut.
fn exchange(client: &TcpStream, service: SocketAddr, plan: &Plan) {
    let Some(request) = read_request(client) else {
        return;
    };
    let cut = if request.starts_with(b"POST ") {
        plan.longest.lock().unwrap().0 = request.len();
        plan.cuts.lock().unwrap().remove(&number(&request))
    } else {
        None
    };
    let sent = match cut {
        Some(Cut::Request(bytes)) => &request[..bytes.min(request.len())],
        Some(Cut::Answer(_)) | None => &request[..],
    };
    let Ok(mut upstream) = TcpStream::connect(service) else {
        return;
    };
    if upstream.write_all(sent).is_err() || sent.len() < request.len() {
        return;
    }
    let mut answer = Vec::new();
    if upstream.read_to_end(&mut answer).is_err() {
        return;
    }
    let back = match cut {
        Some(Cut::Answer(bytes)) => {
            plan.longest.lock().unwrap().1 = answer.len();
            &answer[..bytes.min(answer.len())]
        }
        Some(Cut::Request(_)) | None => &answer[..],
    };
    let mut client = client;
    let _ = client.write_all(back);
    let _ = client.shutdown(Shutdown::Both);
}

/// The number of the file that an upload is of.
fn number(request: &[u8]) -> usize {
    let text = String::from_utf8_lossy(request);
    let (_, name) = text.split_once("filename=\"f").expect("a name");
    name[..4].parse().expect("a number")
}

/// A whole request, changed to be the only one of its connection.
fn read_request(client: &TcpStream) -> Option<Vec<u8>> {
    let mut reader = BufReader::new(client);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(Some(0), |(_, length)| length.trim().parse().ok())?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let head = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    Some([head.into_bytes(), body].concat())
}

/// How many files are saved at once.
const AT_ONCE: usize = 32;

/// Saves one file for each cut; every close says that it is saved. The POSTs of all of them.
fn save_through(cuts: Vec<Cut>) -> (usize, (usize, usize)) {
    let world = World::new();
    let count = cuts.len();
    let plan = Plan {
        cuts: Mutex::new(cuts.into_iter().enumerate().collect()),
        ..Plan::default()
    };
    let proxy = Proxy::start(world.emulator.addr(), plan);
    let base_url = format!("http://{}", proxy.address);
    let mount = world.mount_with(&["--base-url", &base_url, "--refresh", "1h"]);
    let root = mount.path().to_owned();
    let closed = within(super::harness::PATIENCE * 3, "the closes", move || {
        let next = Mutex::new(0..count);
        thread::scope(|scope| {
            let savers: Vec<_> = (0..AT_ONCE)
                .map(|_| {
                    scope.spawn(|| {
                        let mut closed = Vec::new();
                        loop {
                            let turn = next.lock().unwrap().next();
                            let Some(n) = turn else { break };
                            closed.push(close_of(root.join(format!("f{n:04}")), &content(n)));
                        }
                        closed
                    })
                })
                .collect();
            let closed = savers.into_iter().flat_map(|saver| saver.join().unwrap());
            closed.collect::<Vec<_>>()
        })
    });
    assert_eq!(closed, vec![Ok(()); count]);
    assert!(proxy.plan.cuts.lock().unwrap().is_empty());
    let mut names = Vec::new();
    for file in world.emulator.files().unwrap() {
        let n: usize = file.filename[1..].parse().unwrap();
        let stored = world.emulator.content(&file.id).unwrap().unwrap();
        assert_eq!(stored, content(n), "{}", file.filename);
        names.push(file.filename);
    }
    names.sort();
    let expected: Vec<String> = (0..count).map(|n| format!("f{n:04}")).collect();
    assert_eq!(names, expected, "each is there once");
    let mut here = String::new();
    File::open(mount.at("f0000"))
        .unwrap()
        .read_to_string(&mut here)
        .unwrap();
    assert_eq!(here.as_bytes(), content(0));
    let longest = *proxy.plan.longest.lock().unwrap();
    (world.calls().upload, longest)
}

fn content(n: usize) -> Vec<u8> {
    format!("content {n:04}").into_bytes()
}

#[test]
fn a_save_cut_at_any_byte_of_its_request_is_one_file() {
    // The request is as long for every file, but for nothing; a look at one tells how long.
    let (_, (length, _)) = save_through(vec![Cut::Request(0)]);
    assert!(length > 400, "{length}");
    let cuts: Vec<Cut> = (0..length).map(Cut::Request).collect();
    let count = cuts.len();
    let (uploads, _) = save_through(cuts);
    // What did not arrive whole is sent again. The service does not count what it could not read.
    assert!(
        (count..=2 * count).contains(&uploads),
        "{uploads} for {count}"
    );
}

#[test]
fn a_save_cut_at_any_byte_of_its_answer_is_one_file_and_one_upload() {
    let (_, (_, length)) = save_through(vec![Cut::Answer(0)]);
    assert!(length > 200, "{length}");
    let cuts: Vec<Cut> = (0..length).map(Cut::Answer).collect();
    let count = cuts.len();
    let (uploads, _) = save_through(cuts);
    assert_eq!(uploads, count);
}
