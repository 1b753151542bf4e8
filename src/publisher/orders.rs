//! What the publisher's thread is asked, what it tells, and how it ends.

use crate::config::Config;
use crate::message::{Route, Sample};
use crate::pulse::Pulse;
use crate::report::Publishing;
use crossbeam_channel::{Receiver, Sender};
use std::sync::Arc;

/// What the publisher is asked to do while it runs.
pub enum Order {
    /// Take over another configuration.
    Change(Box<Change>),
    /// Tell in the status that the configuration's file cannot be applied, and why; `None`: that is over.
    Problem(Option<String>),
    /// Try at once what waits for its next try at the broker.
    Hurry,
    /// Say how the publisher fares. Nobody may listen any more.
    Report(Sender<Publishing>),
}

/// Another configuration.
pub struct Change {
    /// Its spool has the same folder.
    pub config: Config,
    /// Its routes.
    pub routes: Vec<Arc<Route>>,
    /// The channel that follows when the present one is closed; `None`: it stays.
    pub samples: Option<Receiver<Sample>>,
}

/// How the publisher ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The channel was closed, and everything that came through it is in the spool.
    Stopped,
    /// As above, but the disk did not take everything: its words.
    Unsaved(String),
    /// The retry delay passed `retry.max_delay`: why the last attempt failed.
    GaveUp(String),
    /// The broker refuses credentials, client id or protocol version: its words.
    Refused(String),
}

/// What connects the publisher with the other threads.
pub struct Channels {
    /// From the sampler; closed when it has ended.
    pub samples: Receiver<Sample>,
    /// From the main thread; closed as the order to stop.
    pub orders: Receiver<Order>,
    /// From the sampler: the names of the sources that hang, whenever they change.
    pub hanging: Receiver<Vec<String>>,
    /// Told once when the publisher cannot go on and waits for the order to stop. Must have room for one.
    pub gives_up: Sender<()>,
    /// Told how the agent fares, in one line. What it has no room for is told later. `None`: nobody wants to know.
    pub news: Option<Sender<String>>,
    /// The thread's signs of life.
    pub pulse: Arc<Pulse>,
}
