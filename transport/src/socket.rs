//! The node's UDP sockets: QUIC's, and one for each peer whose port is looked at.
//!
//! Both are watched for what matters and for nothing else. tokio's own socket asks to be woken whenever it can be written
//! to, which is so after every packet that was sent: a node at rest would wake twice for each. And bytes that are meant
//! for a port and not for its listener are dropped by the kernel, where it can: nobody is woken for them.

use std::fmt;
use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};
#[cfg(target_os = "linux")]
use socket2::{SockFilter, SockRef};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What is sent to look at a port. No QUIC packet is that short.
const LOOK: [u8; 1] = [0];

// ---- QUIC's

/// quinn on tokio, with sockets that wake only for what comes.
#[derive(Debug)]
pub(crate) struct QuietRuntime;

impl Runtime for QuietRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        TokioRuntime.spawn(future);
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let state = UdpSocketState::new((&socket).into())?;
        drop_looks(&socket);
        let writer = Arc::new(Writer { socket: socket.try_clone()?, is_full: AtomicBool::new(false) });
        Ok(Arc::new(QuietSocket { state, reader: watch(socket, Interest::READABLE)?, writer }))
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

#[derive(Debug)]
struct QuietSocket {
    state: UdpSocketState,
    reader: AsyncFd<UdpSocket>,
    writer: Arc<Writer>,
}

/// The socket once more, for sending.
#[derive(Debug)]
struct Writer {
    socket: UdpSocket,
    /// It took no more the last time.
    is_full: AtomicBool,
}

impl AsyncUdpSocket for QuietSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable { writer: self.writer.clone(), waiting: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let sent = self.state.send((&self.writer.socket).into(), transmit);
        if sent.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
            self.writer.is_full.store(true, Ordering::Relaxed);
        }
        sent
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.reader.poll_read_ready(cx))?;
            if let Ok(received) = guard.try_io(|reader| self.state.recv(reader.get_ref().into(), buffers, meta)) {
                return Poll::Ready(received);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.writer.socket.local_addr()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }
}

/// Asked before every packet, whether the socket takes one; waits only after it took no more.
struct Writable {
    writer: Arc<Writer>,
    /// A descriptor of our own: others may wait too, and one can be registered once.
    waiting: Option<AsyncFd<UdpSocket>>,
}

impl UdpPoller for Writable {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.writer.is_full.load(Ordering::Relaxed) {
            self.waiting = None;
            return Poll::Ready(Ok(()));
        }
        if self.waiting.is_none() {
            self.waiting = Some(watch(self.writer.socket.try_clone()?, Interest::WRITABLE)?);
        }
        let Some(waiting) = &self.waiting else { return Poll::Ready(Ok(())) };
        ready!(waiting.poll_write_ready(cx))?.retain_ready();
        self.writer.is_full.store(false, Ordering::Relaxed);
        self.waiting = None;
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Writable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writable").field("is_waited_for", &self.waiting.is_some()).finish_non_exhaustive()
    }
}

/// Elsewhere QUIC drops them.
#[cfg(not(target_os = "linux"))]
fn drop_looks(_: &UdpSocket) {}

/// Has the kernel drop what others send to look at our port, so that nobody is woken for it. Without that QUIC drops it.
#[cfg(target_os = "linux")]
fn drop_looks(socket: &UdpSocket) {
    // A filter sees a datagram with its header. The codes are those of <linux/bpf_common.h>.
    const HEADER_BYTES: u32 = 8;
    const LOAD_LENGTH: u16 = 0x80;
    const SKIP_UNLESS_EQUAL: u16 = 0x15;
    const TAKE: u16 = 0x06;
    let filter = [
        SockFilter::new(LOAD_LENGTH, 0, 0, 0),
        SockFilter::new(SKIP_UNLESS_EQUAL, 0, 1, HEADER_BYTES + LOOK.len() as u32),
        SockFilter::new(TAKE, 0, 0, 0),
        SockFilter::new(TAKE, 0, 0, u32::MAX),
    ];
    if let Err(error) = SockRef::from(socket).attach_filter(&filter) {
        tracing::debug!(%error, "the kernel takes no filter");
    }
}

// ---- a peer's port

/// A socket that is connected to a peer's port, so that the kernel tells when that is closed; QUIC's own is not, and hears
/// nothing of it.
#[derive(Debug)]
pub(crate) struct Port(AsyncFd<UdpSocket>);

impl Port {
    pub(crate) fn connect(remote: SocketAddr) -> io::Result<Self> {
        let any: SocketAddr =
            if remote.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
        let socket = UdpSocket::bind(any)?;
        socket.connect(remote)?;
        socket.set_nonblocking(true)?;
        Ok(Self(watch(socket, Interest::ERROR)?))
    }

    /// Sends a byte. Returns whether the kernel has refused an earlier one, and [`Self::refused`] was not told.
    pub(crate) fn look(&self) -> bool {
        self.0.get_ref().send(&LOOK).is_err_and(|error| is_refusal(&error))
    }

    /// Resolves when the kernel refuses what was sent.
    pub(crate) async fn refused(&self) -> io::Result<()> {
        loop {
            let mut guard = self.0.ready(Interest::ERROR).await?;
            let error = self.0.get_ref().take_error()?;
            if error.is_some_and(|error| is_refusal(&error)) {
                return Ok(());
            }
            guard.clear_ready();
        }
    }
}

/// Asks the runtime to be woken for this.
#[expect(
    deprecated,
    reason = "what replaces it is unsafe, for types that may give away another descriptor; this does not"
)]
fn watch(socket: UdpSocket, interest: Interest) -> io::Result<AsyncFd<UdpSocket>> {
    AsyncFd::with_interest(socket, interest)
}

fn is_refusal(error: &io::Error) -> bool {
    error.kind() == ErrorKind::ConnectionRefused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_closed_port_is_told_and_an_open_one_is_not_disturbed() {
        let listener = UdpSocket::bind("127.0.0.1:0").expect("a port");
        drop_looks(&listener);
        let port = Port::connect(listener.local_addr().expect("an address")).expect("connected");
        assert!(!port.look());
        // What follows a look has passed the same filter.
        port.0.get_ref().send(b"ab").expect("sent");
        let mut bytes = [0; 2];
        assert_eq!(listener.recv(&mut bytes).expect("received"), 2);
        assert_eq!(&bytes, b"ab");
        drop(listener);
        for _ in 0..3 {
            assert!(!port.look());
            port.refused().await.expect("the kernel tells");
        }
    }

    #[tokio::test]
    async fn a_refusal_that_nobody_waited_for_is_told_by_the_next_look() {
        let closed = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
        let port = Port::connect(closed).expect("connected");
        assert!(!port.look());
        assert!(port.look());
    }
}
