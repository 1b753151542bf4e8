//! The words between the core and its shell: what happened, and what is to be done about it.

use super::event::{Connected, Lost, Publish, Refusal, UnderWay};
use crate::clock::Reading;
use crate::config::Config;
use crate::message::{Message, Seq};
use crate::payload::Outgoing;
use log::Level;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// The present moment.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// By the monotonic clock, for deadlines.
    pub at: Instant,
    /// By the wall clock and the boot clock, for ages.
    pub clock: Reading,
}

/// What a connection left behind, once nothing more is sent over it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remains {
    /// What the session still has on its way.
    pub under_way: Vec<UnderWay>,
    /// The broker with which a new round begins: the first one, unless messages are on their way at another one.
    pub first: usize,
    /// Messages in the spool that are not finished.
    pub backlog: u64,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// Time has passed, and the store may have more messages.
    Turn {
        /// Messages in the spool that are not finished.
        backlog: u64,
    },
    /// Answers [`Action::Read`]: the next message. Messages of the spool come in order of seq.
    Read(Publish, Message),
    /// Answers [`Action::Read`]: there is none for now.
    NothingToRead,
    /// The process begins with these on their way in the session, or the session has just been found. The messages were
    /// read before.
    Held(Vec<UnderWay>),
    Connected {
        connected: Connected,
        backlog: u64,
    },
    Acknowledged(Publish),
    Refused(Publish, Refusal),
    /// The library did not take what was to be published, for there is no connection any more. [`Event::Lost`] follows.
    NotSent(Publish),
    /// There is no connection, nor anything of it left.
    Lost {
        why: Lost,
        remains: Remains,
    },
    /// The connection has ended as planned.
    Disconnected(Remains),
    /// Answers [`Action::TakeStalls`]: how long the library's threads waited for the disk.
    Stalled(Duration),
    /// Answers [`Action::Compose`]: the status message; `None`: there is none.
    Status(Option<Outgoing>),
    /// The status message has something new to say.
    StatusChanged,
    /// Another configuration. `has_session`: whether messages at QoS 2 have a session.
    Reconfigure {
        config: Box<Config>,
        has_session: bool,
    },
    /// Answers [`Action::Reconnect`]: the former connection has been closed.
    Reconfigured(Remains),
    /// The spool has dropped messages to make room.
    Dropped(RangeInclusive<Seq>),
    /// The network can reach a broker that it could not; how.
    NetworkBack(String),
    /// What is in a file that the next attempt reads has changed.
    CredentialsChanged,
    /// Somebody wants no waiting for the next try.
    Hurry,
    /// The present boot began then, in milliseconds since 1970.
    BootBegan(i64),
    /// The agent stops, and waits for what is in flight until then.
    Stop(Instant),
}

/// What is to be done, at once and in this order.
#[derive(Debug)]
pub enum Action {
    /// Read the next message; answered by [`Event::Read`] or [`Event::NothingToRead`].
    Read,
    /// Connect to the broker of this place in the configuration, with this will. A failure is an [`Event::Lost`].
    Connect { member: usize, will: Option<Outgoing> },
    /// Publish over the present connection. A failure is an [`Event::NotSent`] and an [`Event::Lost`].
    Publish { what: Publish, outgoing: Outgoing },
    /// Compose the status message; answered by [`Event::Status`].
    Compose,
    /// A message has reached its end.
    End(Publish, How),
    /// Keep a message for a person to look at, for the broker will not take it. It has reached its end by that.
    SetAside { what: Publish, message: Message, reason: String },
    /// A message's exchange is over at the broker, and it may be published in another one.
    Abandon(Publish),
    /// The session must not be resumed: the next connection begins a new one.
    ForgetSession,
    /// Tell how long the library's threads have waited for the disk since then; answered by [`Event::Stalled`].
    TakeStalls(Instant),
    /// Give the connection up, because of this; answered by [`Event::Lost`].
    Close(Lost),
    /// End the connection in order; [`Event::Disconnected`] follows.
    Disconnect,
    /// Another configuration holds now ([`super::Delivery::config`]), and the connection stays.
    Apply,
    /// Another configuration holds now: close the connection, and connect by that; answered by [`Event::Reconfigured`].
    Reconnect,
    /// Something for the log.
    Log(Level, String),
    /// There will be no further attempts to connect.
    GiveUp(GiveUp),
    /// The stop is complete.
    Stopped,
}

/// How a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Acknowledged,
    /// Its expiry had passed.
    Expired,
    /// It was older than `spool.max_age`.
    TooOld,
    /// The broker confirmed it and cannot complete the exchange.
    Completed,
}

/// Why there are no further attempts to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GiveUp {
    /// The retry delay passed `retry.max_delay`: why the last attempt failed.
    Unreachable(String),
    /// Every broker, or the proxy, refuses credentials, certificate, client id or protocol version: its words.
    Refused(String),
}
