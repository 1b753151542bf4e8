//! What a connection has to tell, in words of our own: no library's.

use crate::config::Limits;
use crate::message::Seq;
use std::fmt;

/// What a publish is known by, wherever it comes from. Ordered as it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Publish {
    /// A message of the spool.
    Message(Seq),
    /// A message from memory, past a disk that fails.
    Bypass(Seq),
    /// The status message.
    Status,
}

impl Publish {
    /// The lowest id that there is.
    pub const FIRST: Publish = Publish::Message(Seq::FIRST);

    /// The lowest id above this one.
    #[must_use]
    pub fn next(self) -> Publish {
        match self {
            Publish::Message(seq) => Publish::Message(seq.next()),
            Publish::Bypass(seq) => Publish::Bypass(seq.next()),
            Publish::Status => Publish::Status,
        }
    }

    /// How far a message of the spool is behind this one, by their numbers.
    #[must_use]
    pub fn distance(self, behind: Publish) -> Option<usize> {
        usize::try_from(behind.spooled()?.0.checked_sub(self.spooled()?.0)?).ok()
    }

    /// The number of a message of the spool.
    #[must_use]
    pub fn spooled(self) -> Option<Seq> {
        if let Publish::Message(seq) = self { Some(seq) } else { None }
    }
}

/// What happened on the present connection.
#[derive(Debug)]
pub enum Report {
    Connected(Connected),
    /// The broker has taken what was published.
    Acknowledged(Publish),
    /// The broker has refused what was published.
    Refused(Publish, Refusal),
    /// There is no connection any more, or none came about.
    Lost(Lost),
    /// The connection was closed as we wanted.
    Disconnected,
}

/// What the session at the broker still has on its way when a connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnderWay {
    pub what: Publish,
    /// Whether the broker has confirmed by PUBREC that it has the message: only the rest of the exchange is missing.
    pub confirmed: bool,
}

/// What the broker said when it accepted the connection.
#[derive(Debug, Clone, Copy)]
pub struct Connected {
    pub session_present: bool,
    /// Whether messages may be published at QoS 2.
    pub at_qos_2: bool,
    pub limits: Limits,
}

/// Why the broker did not take what was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It takes nothing for now.
    ForNow(String),
    /// It refuses this message, or more than this one; its reason.
    Flatly(Scope, String),
}

/// What else a broker may refuse that refuses a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every message of this topic: it is not allowed.
    Topic,
    /// Every message.
    Broker,
}

/// Why a connection ended or did not come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// Trying again may help.
    Passing(String),
    /// Trying again at this broker will help, for it had a session of ours to end first.
    Again(String),
    /// The broker says that another one is to be used. Trying again may help, elsewhere sooner than here.
    Moved(String),
    /// The other side, or something between, ended it. Trying again may help, unless it was because of a message.
    Ended(String),
    /// The broker did not answer a packet in time. Trying again may help, unless it never answers that one.
    Unanswered(String),
    /// The broker ended it because of a packet that it got.
    Blamed(Fault, String),
    /// The broker does not take the connection because of our will: it must not be retained, or not have its quality of
    /// service.
    Will(WillFault, String),
    /// The broker refuses the credentials, the certificate, the client id or the protocol version, or the proxy the
    /// credentials: trying again cannot help.
    Refused(String),
    /// A file with our credentials or authorities cannot be used, so nobody was asked: trying again cannot help until it is
    /// another one.
    Unusable(String),
}

/// What is wrong with a packet, by the words of a broker that ended the connection over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Size,
    Other,
}

/// What a broker does not take of a will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WillFault {
    /// That it is to be retained (0x9A).
    Retain,
    /// Its quality of service (0x9B).
    Qos,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::ForNow(reason) | Refusal::Flatly(_, reason) => f.write_str(reason),
        }
    }
}

impl Lost {
    /// Whether the connection may have ended over a message.
    #[must_use]
    pub fn may_be_over_a_message(&self) -> bool {
        matches!(self, Lost::Ended(_) | Lost::Unanswered(_) | Lost::Blamed(..))
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::Passing(reason)
            | Lost::Again(reason)
            | Lost::Moved(reason)
            | Lost::Ended(reason)
            | Lost::Unanswered(reason)
            | Lost::Blamed(_, reason)
            | Lost::Will(_, reason)
            | Lost::Refused(reason)
            | Lost::Unusable(reason) => f.write_str(reason),
        }
    }
}
