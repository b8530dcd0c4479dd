//! Sockets: accepting them, speaking HTTP/1.1 on them, and ending them rudely where a fault wants it.
//!
//! `axum::serve` would do all but the last; so connections are hyper's here, and axum's router is what they serve.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::content::CHUNK;
use super::http::Hangup;
use super::shape::WireCutter;

/// Accepts until `stop` changes or its sender is gone; where `refuses` says so, connections are reset as they come.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    refuses: impl Fn() -> bool,
    mut stop: watch::Receiver<bool>,
) {
    let router = TowerToHyperService::new(router);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return,
        };
        match accepted {
            Ok((stream, _)) if refuses() => {
                let _ = stream.set_zero_linger();
            }
            Ok((stream, _)) => {
                // An answer is written head first; waiting for the client's acknowledgement would cost 40 ms.
                let _ = stream.set_nodelay(true);
                tokio::spawn(welcome(stream, tls.clone(), router.clone()));
            }
            Err(error) => {
                // Mostly too many open files, which passes; a loop without a pause would not let it.
                log::warn!("emulator: accepting a connection: {error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

async fn welcome(stream: TcpStream, tls: Option<TlsAcceptor>, router: TowerToHyperService<Router>) {
    let Some(tls) = tls else {
        return converse(stream, router).await;
    };
    match tls.accept(stream).await {
        Ok(stream) => converse(stream, router).await,
        // Mostly somebody who does not trust the certificate.
        Err(error) => log::info!("emulator: a connection without TLS that holds: {error}"),
    }
}

async fn converse(stream: impl Connection, router: TowerToHyperService<Router>) {
    let cutter = WireCutter::default();
    let wire = Wire {
        stream,
        cutter: cutter.clone(),
    };
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(cutter.clone());
        let answer = router.call(request);
        async move {
            let Ok(response): Result<Response<Body>, Infallible> = answer.await;
            if response.extensions().get::<Hangup>().is_some() {
                // To hyper an error of the service means: close, say nothing.
                return Err(io::Error::from(io::ErrorKind::ConnectionAborted));
            }
            Ok(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .max_buf_size(CHUNK)
        .serve_connection(TokioIo::new(wire), service);
    // Clients may go whenever they like, and faults cut; neither is news.
    let _ = connection.await;
}

/// A connection, encrypted or not.
trait Connection: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// What it goes through.
    fn socket(&self) -> &TcpStream;
}

impl Connection for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Connection for TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// A connection that can be cut once everything written to it has left.
struct Wire<S: Connection> {
    stream: S,
    cutter: WireCutter,
}

impl<S: Connection> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: Connection> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    // hyper flushes the socket when its own buffer is empty, so what was to go before the cut has gone.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Ready(Ok(())) if self.cutter.is_due() => {
                Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
            }
            other => other,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.cutter.is_reset() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: Connection> Drop for Wire<S> {
    /// Ends the connection itself, not only this end of it: in a process that starts others, as tests do, one of these may
    /// have a copy of the socket until its exec is through, and a close alone would be none.
    fn drop(&mut self) {
        let socket = self.stream.socket();
        // To dissolve the association of a connected socket is to abort it: a RST (tcp_disconnect in Linux).
        let ended = if self.cutter.is_reset() {
            rustix::net::connect_unspec(socket)
        } else {
            rustix::net::shutdown(socket, rustix::net::Shutdown::Both)
        };
        if let Err(error) = ended {
            // The other end was faster.
            log::debug!("emulator: a connection had ended: {error}");
        }
    }
}

/// Binds so that the address is known before anything is served.
pub(super) fn bind(address: std::net::SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// What the accept loop runs on. Answers are made by short computations and by blocking threads of their own.
pub(super) fn runtime() -> io::Result<tokio::runtime::Runtime> {
    let threads = std::thread::available_parallelism().map_or(2, |count| count.get().clamp(2, 4));
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        // A slow download holds one for as long as it takes; many of them must not hold up the rest.
        .max_blocking_threads(4096)
        .thread_name("emulator")
        .enable_all()
        .build()
}
