//! How the MQTT library's threads tell the publisher that something is there: they ring on a channel.
//!
//! The library answers through futures. No executor runs: a future is polled when it is made and when it has rung.

use super::session::News;
use crate::delivery::{Lost, Publish};
use crossbeam_channel::Sender;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

/// The library has something to tell about one connection; [`super::Link::answer`] says what.
#[derive(Debug)]
pub struct Ring {
    pub(super) connection: u64,
    pub(super) about: About,
}

#[derive(Debug, Clone)]
pub(super) enum About {
    /// The broker, or the proxy, was reached, or was not.
    Dialed,
    Connect,
    Publish(Publish),
    Disconnect,
    /// The session has news.
    Session(News),
    /// The connection has ended, and not by our doing.
    Lost(Lost),
}

/// Rings for one connection.
#[derive(Clone)]
pub(super) struct Bell {
    rings: Sender<Ring>,
    connection: u64,
}

impl Bell {
    pub fn new(rings: Sender<Ring>, connection: u64) -> Self {
        Self { rings, connection }
    }

    pub fn ring(&self, about: About) {
        // Nobody listens any more once the publisher is gone.
        let _ = self.rings.send(Ring { connection: self.connection, about });
    }

    /// Begins to wait for something asked of the library: a ring tells when it is there.
    pub fn wait_for<F: Future + Unpin>(&self, mut future: F, about: About) -> Pending<F> {
        let waker = Arc::new(Rings { bell: self.clone(), about });
        match poll(&mut future, Waker::from(Arc::clone(&waker))) {
            None => Pending::Waiting(future),
            Some(result) => {
                waker.wake();
                Pending::Done(result)
            }
        }
    }
}

/// What wakes a future: it rings.
struct Rings {
    bell: Bell,
    about: About,
}

impl Wake for Rings {
    fn wake(self: Arc<Self>) {
        self.bell.ring(self.about.clone());
    }
}

/// Something asked of the library, or its result where that came at once.
pub(super) enum Pending<F: Future> {
    Waiting(F),
    Done(F::Output),
}

impl<F: Future + Unpin> Pending<F> {
    /// The result, once it has rung. The library wakes nobody before the result is there.
    pub fn result(self) -> Option<F::Output> {
        match self {
            Pending::Done(result) => Some(result),
            Pending::Waiting(mut future) => poll(&mut future, Waker::noop().clone()),
        }
    }
}

fn poll<F: Future + Unpin>(future: &mut F, waker: Waker) -> Option<F::Output> {
    match Pin::new(future).poll(&mut Context::from_waker(&waker)) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
