//! With which time a message is published.

/// With which time a message is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dated {
    /// With the right one, where that is known.
    IfKnown,
    /// With the wall clock's at the time, although a better one is known by now: it was published so before.
    AsTaken,
}

impl From<bool> for Dated {
    /// Whether it was published with the right time before.
    fn from(dated: bool) -> Self {
        if dated { Dated::IfKnown } else { Dated::AsTaken }
    }
}
