//! What other processes ask a running agent, over a Unix socket in the runtime folder: `packhorse status`, `retry`, `drain`.
//!
//! One question for each connection: a word and the end of its line. The answer is one JSON object, and the end of the
//! connection. A thread of its own waits in `accept`, so nothing wakes up while nobody asks. Each connection is served by a
//! thread that lives for a few seconds at most, whatever the other side does; the main thread, which answers, never waits for
//! any of them.
//!
//! The socket's name tells the spool (`place.rs`), so several agents on one machine have one each, and a command finds that of
//! its configuration. Who may ask is what the folder and the socket's mode say: the agent's user and its group, and root.

mod ask;
mod listener;
mod place;
mod serve;

use crossbeam_channel::Sender;
use std::fmt;
use std::time::Instant;

pub use ask::{Unanswered, ask, ask_the_only_one};
pub use serve::Server;

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// How the agent fares.
    Status,
    /// The same, and what waits for its next try at the broker is to be tried at once.
    Retry,
}

impl Request {
    const ALL: [Request; 2] = [Request::Status, Request::Retry];

    fn word(self) -> &'static str {
        match self {
            Request::Status => "status",
            Request::Retry => "retry",
        }
    }

    /// The request that a line holds.
    fn of(line: &str) -> Option<Request> {
        Self::ALL.into_iter().find(|request| request.word() == line.trim())
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A question on its way to the main thread. Whoever asks may be gone when the answer comes.
pub struct Question {
    pub request: Request,
    pub reply: Sender<Answer>,
}

/// What the main thread answers: it gives the JSON once the other threads have said their part, or at that moment without it.
pub type Answer = Box<dyn FnOnce(Instant) -> Vec<u8> + Send>;
