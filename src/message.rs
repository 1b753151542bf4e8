//! What is carried: a sample on its way to the spool, and the message that it becomes there.
//!
//! Nothing in here does I/O or knows who handles the values.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

/// The number of a message within its stream. Counts from 1 without gaps, in the order of acceptance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// The number of the first message of a stream.
    pub const FIRST: Seq = Seq(1);

    /// The last number that there is: every JSON reader takes numbers up to this one exactly. At
    /// 1,000 messages a second a stream gets there after 285,000 years; what is above is no number of ours.
    pub const LAST: Seq = Seq((1 << 53) - 1);

    /// The number that follows.
    #[must_use]
    pub const fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Names a spool for ever: drawn at random when the spool is created, written as eight hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamId(pub u32);

impl StreamId {
    /// A name that no other stream has. The standard library seeds its hashers from the system's source of randomness,
    /// which differs on machines that boot at the same moment of a stopped clock.
    #[must_use]
    pub fn random() -> StreamId {
        let random = RandomState::new().build_hasher().finish();
        StreamId(u32::try_from(random >> 32).expect("32 bits"))
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// MQTT's quality of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Qos {
    /// Sent once, never confirmed.
    AtMostOnce = 0,
    /// Confirmed by PUBACK; may arrive twice.
    AtLeastOnce = 1,
    /// Confirmed by PUBREC, PUBREL and PUBCOMP.
    ExactlyOnce = 2,
}

impl TryFrom<u8> for Qos {
    type Error = u8;

    fn try_from(level: u8) -> Result<Self, u8> {
        match level {
            0 => Ok(Qos::AtMostOnce),
            1 => Ok(Qos::AtLeastOnce),
            2 => Ok(Qos::ExactlyOnce),
            other => Err(other),
        }
    }
}

/// How a payload is written; one file per format under [`crate::payload`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Format {
    /// One JSON object per message.
    Json = 1,
}

/// Where the messages of one source go, and how. Stored with the messages, so that a backlog keeps the topic that it
/// was accepted under when the configuration changes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    /// The device's name, as it stands in the payload.
    pub device: String,
    /// The source's name, as it stands in the payload.
    pub source: String,
    /// The topic with `{device}` and `{source}` already replaced.
    pub topic: String,
    pub qos: Qos,
    pub retain: bool,
    pub format: Format,
    /// How long a message is worth delivering, counted from its sample; `None`: for ever.
    pub expiry: Option<Duration>,
}

/// When a sample was taken, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Wall clock, milliseconds since 1970-01-01 UTC. Wrong until something has set the clock.
    pub wall: i64,
    /// CLOCK_BOOTTIME, milliseconds since this machine booted. Never steps.
    pub boot: u64,
    /// Which boot `boot` counts from: a fingerprint of the kernel's boot id.
    pub boot_id: u32,
    /// Whether something kept the wall clock right when it was read.
    pub synchronised: bool,
}

/// What a source said at one moment: the channel carries these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    pub route: Arc<Route>,
    pub taken: Stamp,
    /// The `data` of the payload: one JSON object in UTF-8.
    pub data: Vec<u8>,
}

/// A sample that the spool has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub stream: StreamId,
    pub seq: Seq,
    pub sample: Sample,
}
