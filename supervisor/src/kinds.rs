//! Kinds: the code that children run, by the name under which the nodes list it.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use crate::context::{Context, Started};
use crate::core::Exit;

/// A child's whole life, from its init to its exit.
pub type Run = Pin<Box<dyn Future<Output = Exit> + Send>>;

/// The code of one kind of children. An async closure that takes a [`Context`] and yields an [`Exit`] is one.
pub trait Kind: Send + Sync + 'static {
    /// Runs one activation of a child, in a task of its own.
    ///
    /// The child counts as running once it has called [`Context::started`]; if it ends otherwise than normally before, its
    /// init has failed. When asked to stop ([`Context::stopping`]) it must end within the spec's `stop_timeout`; shortly
    /// after that its task is aborted, which happens at its next `await`: a future that blocks its thread cannot be
    /// stopped. A panic ends the child abnormally, and nothing else.
    fn run(&self, ctx: Context) -> Run;
}

impl<F, R> Kind for F
where
    F: Fn(Context) -> R + Send + Sync + 'static,
    R: Future<Output = Exit> + Send + 'static,
{
    fn run(&self, ctx: Context) -> Run {
        Box::pin(self(ctx))
    }
}

/// The kinds that a node offers.
#[derive(Clone, Default)]
pub struct Kinds {
    kinds: BTreeMap<Arc<str>, Arc<dyn Kind>>,
}

impl Kinds {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// These and one more, which itself says when its init is over. One of the same name is replaced.
    #[must_use]
    pub fn with(mut self, name: &str, kind: impl Kind) -> Self {
        self.kinds.insert(name.into(), Arc::new(kind));
        self
    }

    /// These and one more, without an init of its own: its children run from their first `await` on, and fail to start if
    /// they fail before. It may yield nothing, a `Result` whose error is an abnormal exit, or an [`Exit`]. One of the same
    /// name is replaced.
    ///
    /// ```
    /// # use ordu_supervisor::Kinds;
    /// let kinds = Kinds::new().with_fn("sleeper", |ctx| async move { ctx.stopping().await });
    /// ```
    #[must_use]
    pub fn with_fn<F, R, T>(self, name: &str, run: F) -> Self
    where
        F: Fn(Context) -> R + Send + Sync + 'static,
        R: Future<Output = T> + Send + 'static,
        T: Into<Exit> + Send + 'static,
    {
        self.with(name, move |ctx: Context| {
            let running = run(ctx.clone());
            async move {
                let mut running = std::pin::pin!(running);
                let first = std::future::poll_fn(|cx| Poll::Ready(running.as_mut().poll(cx))).await;
                let ended = match first {
                    Poll::Ready(ended) => ended,
                    Poll::Pending => {
                        ctx.started(Started::default());
                        running.await
                    }
                };
                ended.into()
            }
        })
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.kinds.keys()
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<dyn Kind>> {
        self.kinds.get(name).cloned()
    }
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}
