//! Listening to what happens to the names and groups of one prefix.

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::events::NameEvent;
use crate::registry::Registry;

/// Why there is no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// The listener was too slow, and this many events of all names are lost to it. The next call goes on with the oldest
    /// that is left; what is missing must be read anew, by [`Registry::select`] or [`Registry::members`].
    #[error("missed {0} events")]
    Missed(u64),
    /// The registry is gone: there will be no more.
    #[error("the registry is gone")]
    Closed,
}

/// The events of the names and groups that begin with a prefix, from [`Registry::listen`].
#[derive(Debug)]
pub struct Listener {
    events: Receiver<NameEvent>,
    prefix: Box<str>,
}

impl Listener {
    /// The next event. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// See [`ListenError`]; after [`ListenError::Missed`] go on.
    pub async fn next(&mut self) -> Result<NameEvent, ListenError> {
        loop {
            let event = self.events.recv().await.map_err(|error| match error {
                RecvError::Lagged(missed) => ListenError::Missed(missed),
                RecvError::Closed => ListenError::Closed,
            })?;
            if self.wants(&event) {
                return Ok(event);
            }
        }
    }

    /// The next event, if it is there already.
    ///
    /// # Errors
    /// See [`ListenError`]; after [`ListenError::Missed`] go on.
    pub fn try_next(&mut self) -> Result<Option<NameEvent>, ListenError> {
        loop {
            match self.events.try_recv() {
                Ok(event) if self.wants(&event) => return Ok(Some(event)),
                Ok(_) => {}
                Err(TryRecvError::Empty) => return Ok(None),
                Err(TryRecvError::Lagged(missed)) => return Err(ListenError::Missed(missed)),
                Err(TryRecvError::Closed) => return Err(ListenError::Closed),
            }
        }
    }

    fn wants(&self, event: &NameEvent) -> bool {
        event.about().starts_with(&*self.prefix)
    }
}

impl Registry {
    /// What happens from now on to the names and groups that begin with `prefix`, in order, as this node sees it.
    ///
    /// A listener may be [`NAME_EVENTS_MAX`](crate::events::NAME_EVENTS_MAX) events of all names behind; beyond, it is told
    /// how many it missed, whatever they were about.
    ///
    /// ```no_run
    /// # use ordu_registry::{Registry, NameEvent, listeners::ListenError};
    /// # async fn example(registry: &Registry) {
    /// let mut events = registry.listen("workers/");
    /// loop {
    ///     match events.next().await {
    ///         Ok(NameEvent::Registered(entry)) => println!("{} runs at {}", entry.name(), entry.node()),
    ///         Ok(NameEvent::Released { name, why, .. }) => println!("{name} is gone: {why:?}"),
    ///         Ok(other) => println!("{other:?}"),
    ///         Err(ListenError::Missed(count)) => println!("too slow by {count}; reading all anew"),
    ///         Err(ListenError::Closed) => break,
    ///     }
    /// }
    /// # }
    /// ```
    pub fn listen(&self, prefix: &str) -> Listener {
        Listener { events: self.events(), prefix: prefix.into() }
    }
}
