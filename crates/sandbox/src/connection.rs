//! Accepted connections: plain or TLS, and each of them can be cut from within a request.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// A handle on the connection that a request came in by.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    cut: Arc<AtomicBool>,
    /// Cut as soon as the peer sends something more.
    doomed: Arc<AtomicBool>,
}

impl Connection {
    /// Cuts the connection at its next write: the peer sees a reset and no byte of an answer.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Release);
    }

    /// Cuts the connection when the peer uses it again: what is being answered still goes out, and of the next request nothing
    /// is heard. For HTTP/1.1, where nothing else comes in between.
    pub fn cut_on_reuse(&self) {
        self.doomed.store(true, Ordering::Release);
    }
}

impl Connected<IncomingStream<'_, Gate>> for Connection {
    fn connect_info(stream: IncomingStream<'_, Gate>) -> Self {
        stream.io().connection.clone()
    }
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The two directions of an accepted connection.
pub(crate) struct Conduit {
    wire: Wire,
    connection: Connection,
}

impl Conduit {
    fn refused(&self) -> io::Result<()> {
        if !self.connection.cut.load(Ordering::Acquire) {
            return Ok(());
        }
        let socket = match &self.wire {
            Wire::Plain(socket) => socket,
            Wire::Tls(stream) => stream.get_ref().0,
        };
        // Zero linger: the close that follows sends RST in place of FIN.
        let _ = socket.set_zero_linger();
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

impl AsyncRead for Conduit {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Err(error) = self.refused() {
            return Poll::Ready(Err(error));
        }
        let before = buf.filled().len();
        let read = match &mut self.wire {
            Wire::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Wire::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if buf.filled().len() > before && self.connection.doomed.load(Ordering::Acquire) {
            buf.set_filled(before);
            self.connection.cut();
            if let Err(error) = self.refused() {
                return Poll::Ready(Err(error));
            }
        }
        read
    }
}

impl AsyncWrite for Conduit {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Err(error) = self.refused() {
            return Poll::Ready(Err(error));
        }
        match &mut self.wire {
            Wire::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Wire::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Err(error) = self.refused() {
            return Poll::Ready(Err(error));
        }
        match &mut self.wire {
            Wire::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Wire::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.wire {
            Wire::Plain(socket) => socket.is_write_vectored(),
            Wire::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Err(error) = self.refused() {
            return Poll::Ready(Err(error));
        }
        match &mut self.wire {
            Wire::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Where connections come from. TLS handshakes run beside one another, so that a slow peer holds up nobody.
pub(crate) struct Gate {
    arrivals: mpsc::Receiver<(Conduit, SocketAddr)>,
    address: SocketAddr,
}

impl Gate {
    /// Accepts on a listener until `stop`, with TLS when an acceptor is given.
    pub(crate) fn open(listener: TcpListener, tls: Option<TlsAcceptor>, stop: CancellationToken) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (sender, arrivals) = mpsc::channel(64);
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    () = stop.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                let Ok((socket, peer)) = accepted else {
                    // Out of descriptors, or a peer that left at once: neither ends the service.
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                    continue;
                };
                let _ = socket.set_nodelay(true);
                let sender = sender.clone();
                match tls.clone() {
                    None => {
                        let _ = sender.send((conduit(Wire::Plain(socket)), peer)).await;
                    }
                    Some(tls) => {
                        tokio::spawn(async move {
                            let limit = std::time::Duration::from_secs(10);
                            if let Ok(Ok(stream)) = tokio::time::timeout(limit, tls.accept(socket)).await {
                                let _ = sender.send((conduit(Wire::Tls(Box::new(stream))), peer)).await;
                            }
                        });
                    }
                }
            }
        });
        Ok(Self { arrivals, address })
    }
}

fn conduit(wire: Wire) -> Conduit {
    Conduit { wire, connection: Connection::default() }
}

impl Listener for Gate {
    type Io = Conduit;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.arrivals.recv().await {
            Some(arrival) => arrival,
            // Stopped: the server's own shutdown signal ends the wait.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}
