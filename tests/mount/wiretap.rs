//! Something on the way to the service that hears what is said to it: in a place of its own, or as a proxy that is asked
//! to CONNECT. What it has heard is what a gateway or a proxy would know.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Listens until the tests end.
pub(crate) struct Wiretap {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Wiretap {
    /// Passes everything on to this address.
    pub(crate) fn before(service: SocketAddr) -> Self {
        Self::start(Some(service))
    }

    /// Passes on to wherever it is asked for by CONNECT.
    pub(crate) fn proxy() -> Self {
        Self::start(None)
    }

    fn start(service: Option<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let all = Arc::clone(&heard);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let heard = Arc::clone(&all);
                thread::spawn(move || pass_on(client, service, &heard));
            }
        });
        Self { address, heard }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All that clients have said, as far as it is text, in lower case.
    pub(crate) fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).to_ascii_lowercase()
    }
}

/// Errors are connections that end, which is what clients see.
fn pass_on(
    mut client: TcpStream,
    service: Option<SocketAddr>,
    heard: &Mutex<Vec<u8>>,
) -> io::Result<()> {
    let service = match service {
        Some(address) => TcpStream::connect(address)?,
        None => connect(&mut client, heard)?,
    };
    let (mut answers, mut to_client) = (service.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut answers, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let mut service = service;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = client.read(&mut buffer)?;
        if length == 0 {
            return service.shutdown(Shutdown::Write);
        }
        heard.lock().unwrap().extend_from_slice(&buffer[..length]);
        service.write_all(&buffer[..length])?;
    }
}

/// Does what `CONNECT host:port` asks for.
fn connect(client: &mut TcpStream, heard: &Mutex<Vec<u8>>) -> io::Result<TcpStream> {
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        asked.push(byte[0]);
    }
    heard.lock().unwrap().extend_from_slice(&asked);
    let text = String::from_utf8_lossy(&asked);
    let mut words = text.split(' ');
    let (Some("CONNECT"), Some(wanted)) = (words.next(), words.next()) else {
        client.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")?;
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let service = TcpStream::connect(wanted)?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    Ok(service)
}
