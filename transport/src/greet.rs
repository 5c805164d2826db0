//! The tasks that dial and accept, from look-up or first packet to a finished handshake, which they hand to the driver.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use crate::core::Addr;
use crate::core::message::{Hello, Refusal};
use crate::discovery::resolve;
use crate::driver::Command;
use crate::endpoint::{HANDSHAKE_MAX, HANDSHAKES_MAX, HANDSHAKES_UNPROVEN_MAX};
use crate::handshake::{self, Greeted, HandshakeError, is_duplicate, refusal_of};
use crate::metrics::LogLimit;
use crate::shared::Shared;

/// What comes of a hello.
#[derive(Debug)]
pub(crate) enum Verdict {
    Welcome,
    Refused(Refusal),
    /// Said of our own dials only: there is, or is about to be, a session with this node. The peer, who has not been told
    /// of the new one yet, sees nothing of it.
    Duplicate,
}

/// Asks the driver about hellos.
#[derive(Debug, Clone)]
pub(crate) struct Judge {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) dialled: Option<Addr>,
}

impl Judge {
    /// `None` if the driver is gone.
    pub(crate) async fn ask(&self, hello: Hello) -> Option<Verdict> {
        let (verdict, told) = oneshot::channel();
        let command = Command::Judge { hello: Box::new(hello), dialled: self.dialled.clone(), verdict };
        self.commands.send(command).await.ok()?;
        told.await.ok()
    }
}

/// One dial, from look-up to hellos.
pub(crate) async fn dial(addr: Addr, endpoint: quinn::Endpoint, shared: Arc<Shared>, commands: mpsc::Sender<Command>) {
    let command = match tokio::time::timeout(HANDSHAKE_MAX, try_dial(&addr, &endpoint, &shared, &commands)).await {
        Ok(command) => command,
        Err(_) => Command::DialFailed { addr, refusal: None },
    };
    let _ = commands.send(command).await;
}

async fn try_dial(
    addr: &Addr,
    endpoint: &quinn::Endpoint,
    shared: &Shared,
    commands: &mpsc::Sender<Command>,
) -> Command {
    let failed = |refusal| Command::DialFailed { addr: addr.clone(), refusal };
    let judge = Judge { commands: commands.clone(), dialled: Some(addr.clone()) };
    for candidate in resolve(addr, shared.local_addr).await {
        if candidate == shared.local_addr {
            return Command::Alias { addr: addr.clone(), node: shared.hello().id };
        }
        let there = shared.sessions().into_iter().find(|session| session.connection.remote_address() == candidate);
        if let Some(session) = there {
            return Command::Alias { addr: addr.clone(), node: session.hello.id.clone() };
        }
        match handshake::dial(endpoint, candidate, shared.hello(), &judge).await {
            Ok(greeted) => return Command::Greeted { greeted: Box::new(greeted), addr: Some(addr.clone()) },
            Err(HandshakeError::Ourselves) => return Command::Alias { addr: addr.clone(), node: shared.hello().id },
            Err(HandshakeError::Duplicate(node)) => return Command::Alias { addr: addr.clone(), node },
            Err(HandshakeError::Connection(error)) => {
                tracing::debug!(%addr, %candidate, %error, "dial failed");
                if let Some(refusal) = refusal_of(&error) {
                    return failed(Some(refusal));
                }
            }
            Err(error) => tracing::debug!(%addr, %candidate, %error, "dial failed"),
        }
    }
    failed(None)
}

/// Accepts until aborted. Handshakes are bounded in number and in time.
pub(crate) async fn accept(endpoint: quinn::Endpoint, shared: Arc<Shared>, commands: mpsc::Sender<Command>) {
    let log = Arc::new(LogLimit::default());
    let under_way = Arc::new(Mutex::new(0usize));
    while let Some(incoming) = endpoint.accept().await {
        let count = *under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if count >= HANDSHAKES_MAX {
            shared.counters.handshakes_failed.add(1);
            incoming.refuse();
            continue;
        }
        if count >= HANDSHAKES_UNPROVEN_MAX && !incoming.remote_address_validated() {
            // Fails only for an address that is validated.
            let _ = incoming.retry();
            continue;
        }
        let place = Place::take(under_way.clone());
        let (shared, commands, log) = (shared.clone(), commands.clone(), log.clone());
        tokio::spawn(async move {
            let _place = place;
            let from = incoming.remote_address();
            let judge = Judge { commands: commands.clone(), dialled: None };
            let greeted =
                tokio::time::timeout(HANDSHAKE_MAX, handshake::accept(incoming, shared.hello(), &judge)).await;
            if let Some(command) = accepted(greeted.unwrap_or(Err(HandshakeError::Late)), from, &shared, &log) {
                let _ = commands.send(command).await;
            }
        });
    }
}

fn accepted(
    greeted: Result<Greeted, HandshakeError>,
    from: SocketAddr,
    shared: &Shared,
    log: &LogLimit,
) -> Option<Command> {
    let error = match greeted {
        Ok(greeted) => return Some(Command::Greeted { greeted: Box::new(greeted), addr: None }),
        Err(error) => error,
    };
    match &error {
        HandshakeError::RefusedUs { refusal, addr } => {
            return Some(Command::Refused { addr: addr.clone(), refusal: refusal.clone() });
        }
        HandshakeError::Refused(_) | HandshakeError::Ourselves | HandshakeError::Stopped => {
            tracing::debug!(%from, %error, "session refused");
        }
        HandshakeError::Connection(lost) if is_duplicate(lost) => {
            tracing::debug!(%from, "the dialler has a session already");
        }
        HandshakeError::Connection(_)
        | HandshakeError::Connect(_)
        | HandshakeError::Duplicate(_)
        | HandshakeError::Late
        | HandshakeError::Malformed(_)
        | HandshakeError::Name { .. } => {
            shared.counters.handshakes_failed.add(1);
            if let Some(left_out) = log.pass() {
                tracing::warn!(%from, %error, left_out, "a stranger was turned away");
            }
        }
    }
    None
}

/// A handshake's place among those under way.
struct Place(Arc<Mutex<usize>>);

impl Place {
    fn take(count: Arc<Mutex<usize>>) -> Self {
        *count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Self(count)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
    }
}
