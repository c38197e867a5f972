//! A TCP proxy that breaks connections as scripted, to stand between a program and a service.
//!
//! It knows no protocol but this: a client speaks, the server answers, and then the client may speak again on the same connection.
//! Such an exchange is one request of HTTP/1.1. A [`Rule`] picks exchanges by the bytes that they begin with, so that one can say
//! `"POST "` or `"GET /contacts"`; under TLS, which hides them, only the empty beginning matches.
//!
//! Everything that was done is counted ([`FaultProxy::fired`]): a test that never met its fault proves nothing.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! use sync_testkit::fault_proxy::{Fault, FaultProxy, Rule};
//!
//! # let service = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let proxy = FaultProxy::start().await?;
//! proxy.forward_to(service.local_addr()?);
//! proxy.script([Rule::new("POST ", Fault::ResetOnAnswer).after(3).times(5)]);
//! println!("the program under test connects to {}", proxy.address());
//! # Ok(())
//! # }
//! ```

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// What happens to an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// So many bytes of the request reach the server, then both connections are reset. A request that is no longer than that
    /// arrives as a whole.
    CutRequest(usize),
    /// The client is reset at once. The request reaches the server after the pause, on a connection of its own, and its answer is
    /// lost: an effect that comes when the client may have tried again already. The request must arrive without longer gaps than
    /// 50 ms.
    Late(Duration),
    /// The request is carried out: once the server begins to answer, both connections are reset, and the client gets no byte.
    ResetOnAnswer,
    /// The client gets so many bytes of the answer, then a reset.
    ResetWithin(usize),
    /// The client gets so many bytes of the answer, then the end of the stream in good order.
    Truncate(usize),
    /// Once the server begins to answer, the client gets the end of the stream in place of the answer. The other direction stays
    /// open until the client closes it.
    HalfClose,
    /// The client gets so many bytes one by one, each after the pause, and the rest at once.
    Drip(usize, Duration),
    /// The answer never arrives; the connection stays open until the client closes it.
    Silence,
    /// Spares the first exchange of a connection. When a later one begins, the connection is reset and nothing is forwarded: the
    /// fate of a pooled connection that the server closes at the moment at which the client uses it again.
    ResetAtReuse,
}

/// Which exchanges a fault is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    begins: String,
    after: u64,
    times: u64,
    fault: Fault,
}

impl Rule {
    /// A rule for the first exchange whose request begins with `begins`.
    #[must_use]
    pub fn new(begins: &str, fault: Fault) -> Self {
        Self { begins: begins.to_owned(), after: 0, times: 1, fault }
    }

    /// The same, sparing so many exchanges first.
    #[must_use]
    pub fn after(mut self, exchanges: u64) -> Self {
        self.after = exchanges;
        self
    }

    /// The same for so many exchanges.
    #[must_use]
    pub fn times(mut self, exchanges: u64) -> Self {
        self.times = exchanges;
        self
    }
}

#[derive(Debug)]
struct Scripted {
    rule: Rule,
    met: u64,
    chosen: u64,
    fired: u64,
}

#[derive(Debug, Default)]
struct Book {
    upstream: Option<SocketAddr>,
    script: Vec<Scripted>,
    exchanges: u64,
}

#[derive(Debug)]
struct Shared {
    book: Mutex<Book>,
    open: watch::Sender<bool>,
}

/// The proxy. Dropping it ends it and every connection through it.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Mutex<Option<JoinHandle<()>>>,
    /// Never listens: keeps the port while the door is shut, so that nobody else is given it.
    _port: TcpSocket,
}

impl FaultProxy {
    /// Listens on a free port of 127.0.0.1. Connections are reset until [`forward_to`](Self::forward_to) says where they lead.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start() -> io::Result<Self> {
        let port = TcpSocket::new_v4()?;
        port.set_reuseport(true)?;
        port.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = port.local_addr()?;
        let shared = Arc::new(Shared { book: Mutex::default(), open: watch::Sender::new(true) });
        let accepting = Mutex::new(Some(accept(address, &shared)?));
        Ok(Self { address, shared, accepting, _port: port })
    }

    /// Where the program under test connects to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where connections lead from now on.
    pub fn forward_to(&self, upstream: SocketAddr) {
        self.shared.book().upstream = Some(upstream);
    }

    /// Replaces the script and its counts. The first rule that matches decides.
    pub fn script(&self, rules: impl IntoIterator<Item = Rule>) {
        self.shared.book().script =
            rules.into_iter().map(|rule| Scripted { rule, met: 0, chosen: 0, fired: 0 }).collect();
    }

    /// How often each rule's fault was really done, in the order of the script.
    #[must_use]
    pub fn fired(&self) -> Vec<u64> {
        self.shared.book().script.iter().map(|scripted| scripted.fired).collect()
    }

    /// Exchanges that began, broken ones included.
    #[must_use]
    pub fn exchanges(&self) -> u64 {
        self.shared.book().exchanges
    }

    /// Resets every connection and refuses new ones until [`open`](Self::open); the port stays taken.
    ///
    /// Safe to cancel: connections are refused as soon as it was polled.
    pub async fn shut(&self) {
        self.shared.open.send_replace(false);
        let accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(accepting) = accepting {
            accepting.abort();
            // Cancelled, which is no failure.
            let _ = accepting.await;
        }
    }

    /// Accepts connections again.
    ///
    /// # Errors
    /// When the system does not let it listen.
    pub fn open(&self) -> io::Result<()> {
        let mut accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner);
        if accepting.is_none() {
            self.shared.open.send_replace(true);
            *accepting = Some(accept(self.address, &self.shared)?);
        }
        Ok(())
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.open.send_replace(false);
        if let Some(accepting) = self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take() {
            accepting.abort();
        }
    }
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the rule for an exchange that begins so, and its fault.
    fn choose(&self, request: &[u8], reused: bool) -> Option<(usize, Fault)> {
        let mut book = self.book();
        book.exchanges += 1;
        for (number, scripted) in book.script.iter_mut().enumerate() {
            let rule = &scripted.rule;
            if !request.starts_with(rule.begins.as_bytes()) || (rule.fault == Fault::ResetAtReuse && !reused) {
                continue;
            }
            scripted.met += 1;
            if scripted.met > rule.after && scripted.chosen < rule.times {
                scripted.chosen += 1;
                return Some((number, rule.fault));
            }
        }
        None
    }

    fn fired(&self, number: usize) {
        if let Some(scripted) = self.book().script.get_mut(number) {
            scripted.fired += 1;
        }
    }
}

fn accept(address: SocketAddr, shared: &Arc<Shared>) -> io::Result<JoinHandle<()>> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    let listener = socket.listen(1024)?;
    Ok(tokio::spawn(serve(listener, shared.clone())))
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let upstream = shared.book().upstream;
        let shared = shared.clone();
        tokio::spawn(async move {
            let server = match upstream {
                Some(upstream) => TcpStream::connect(upstream).await.ok(),
                None => None,
            };
            let Some(server) = server else { return reset(&client) };
            let mut wire = Wire { client, server };
            let mut open = shared.open.subscribe();
            tokio::select! {
                // An error is the end of a connection, which both sides see for themselves.
                _ = wire.carry(&shared) => {}
                _ = open.wait_for(|open| !open) => wire.reset(),
            }
        });
    }
}

/// Zero linger: the close that follows sends RST in place of FIN.
fn reset(stream: &TcpStream) {
    // Fails when the peer has gone already.
    let _ = stream.set_zero_linger();
}

struct Wire {
    client: TcpStream,
    server: TcpStream,
}

impl Wire {
    fn reset(&self) {
        reset(&self.client);
        reset(&self.server);
    }

    async fn carry(&mut self, shared: &Shared) -> io::Result<()> {
        self.client.set_nodelay(true)?;
        self.server.set_nodelay(true)?;
        let (mut up, mut down) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
        let mut exchanges = 0;
        // The client may speak first, as after an answer.
        let mut answering = true;
        let mut client_open = true;
        let mut chosen = None;
        // Bytes of the answer that the client got.
        let mut passed = 0;
        loop {
            tokio::select! {
                read = self.client.read(&mut up), if client_open => {
                    let request = &up[..read?];
                    if request.is_empty() {
                        client_open = false;
                        self.server.shutdown().await?;
                        continue;
                    }
                    if answering {
                        (answering, passed) = (false, 0);
                        exchanges += 1;
                        chosen = shared.choose(request, exchanges > 1);
                        if let Some((number, fault)) = chosen
                            && let Fault::ResetAtReuse | Fault::CutRequest(_) | Fault::Late(_) = fault
                        {
                            let request = request.to_vec();
                            self.withhold(fault, request).await?;
                            shared.fired(number);
                            self.reset();
                            return Ok(());
                        }
                    }
                    self.server.write_all(request).await?;
                }
                read = self.server.read(&mut down) => {
                    let answer = &down[..read?];
                    if answer.is_empty() {
                        return self.client.shutdown().await;
                    }
                    answering = true;
                    match chosen {
                        None => self.client.write_all(answer).await?,
                        Some((number, fault)) => {
                            if !self.injure(fault, answer, &mut passed, || shared.fired(number)).await? {
                                return Ok(());
                            }
                        }
                    }
                }
            }
        }
    }

    /// Passes on what the fault lets through of a request, before the connection is reset.
    async fn withhold(&mut self, fault: Fault, mut request: Vec<u8>) -> io::Result<()> {
        match fault {
            Fault::CutRequest(bytes) => self.server.write_all(&request[..bytes.min(request.len())]).await,
            Fault::Late(pause) => {
                let mut more = vec![0; 16 * 1024];
                while let Ok(Ok(read @ 1..)) = timeout(Duration::from_millis(50), self.client.read(&mut more)).await {
                    request.extend_from_slice(&more[..read]);
                }
                let upstream = self.server.peer_addr()?;
                tokio::spawn(async move {
                    sleep(pause).await;
                    let mut server = TcpStream::connect(upstream).await?;
                    server.write_all(&request).await?;
                    // Once it answers, it has carried the request out.
                    server.read(&mut more).await
                });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Passes on what the fault lets through of an answer. `false`: the connection is at its end.
    async fn injure(
        &mut self,
        fault: Fault,
        answer: &[u8],
        passed: &mut usize,
        fired: impl FnOnce(),
    ) -> io::Result<bool> {
        match fault {
            Fault::CutRequest(_) | Fault::Late(_) | Fault::ResetAtReuse => self.client.write_all(answer).await?,
            Fault::ResetOnAnswer => {
                fired();
                self.reset();
                return Ok(false);
            }
            Fault::ResetWithin(bytes) | Fault::Truncate(bytes) => {
                let now = answer.len().min(bytes - *passed);
                self.client.write_all(&answer[..now]).await?;
                *passed += now;
                if *passed == bytes {
                    fired();
                    if matches!(fault, Fault::ResetWithin(_)) {
                        self.reset();
                    } else {
                        self.client.shutdown().await?;
                    }
                    return Ok(false);
                }
            }
            Fault::HalfClose => {
                fired();
                self.client.shutdown().await?;
                self.until_closed().await;
                return Ok(false);
            }
            Fault::Silence => {
                fired();
                self.until_closed().await;
                return Ok(false);
            }
            Fault::Drip(bytes, pause) => {
                if *passed == 0 {
                    fired();
                }
                let slow = answer.len().min(bytes - *passed);
                for byte in &answer[..slow] {
                    sleep(pause).await;
                    self.client.write_all(&[*byte]).await?;
                }
                *passed += slow;
                self.client.write_all(&answer[slow..]).await?;
            }
        }
        Ok(true)
    }

    async fn until_closed(&mut self) {
        let mut ignored = [0; 1024];
        while !matches!(self.client.read(&mut ignored).await, Ok(0) | Err(_)) {}
    }
}
