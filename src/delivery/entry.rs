//! One publish of the window, and where it stands. Pure.

use super::event::Publish;
use crate::message::Message;

/// A place in the window.
#[derive(Debug)]
pub struct Entry {
    pub what: Publish,
    /// `None`: the status message, which is composed anew each time.
    pub message: Option<Message>,
    pub state: State,
    /// Bytes of the packet, once it was sent.
    pub size: usize,
}

/// Where a publish stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// To be sent.
    Waiting,
    /// Sent over the present connection.
    InFlight(Sent),
    /// On its way in the session that the broker keeps: to be resumed with it, and not sent as a new one. `confirmed`:
    /// by PUBREC.
    Held { confirmed: bool },
}

/// How something in flight was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// As a new publish.
    Anew,
    /// As one that a former connection had begun to send.
    Again,
    /// As a PUBREL that a former connection had begun to send: the broker has the message.
    Released,
}

impl Entry {
    /// One that is to be sent.
    pub fn waiting(what: Publish, message: Option<Message>) -> Self {
        Self { what, message, state: State::Waiting, size: 0 }
    }
}
