//! What of our last will the broker takes. Pure.

use super::event::WillFault;
use crate::message::Qos;
use crate::payload::Outgoing;
use std::fmt;

/// What of the will the broker takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Will {
    pub retain: bool,
    /// `None`: no will at all.
    qos: Option<Qos>,
}

impl Default for Will {
    /// All of it, as long as nobody says otherwise.
    fn default() -> Self {
        Self { retain: true, qos: Some(Qos::ExactlyOnce) }
    }
}

impl Will {
    /// The will as the broker takes it.
    pub fn of(self, will: Outgoing) -> Option<Outgoing> {
        let qos = self.qos?;
        Some(Outgoing { retain: will.retain && self.retain, qos: will.qos.min(qos), ..will })
    }

    /// Gives up what the broker does not take; whether there was anything to give up.
    pub fn without(&mut self, fault: WillFault) -> bool {
        let former = *self;
        match fault {
            WillFault::Retain if self.retain => self.retain = false,
            WillFault::Qos if self.qos > Some(Qos::AtMostOnce) => self.qos = Some(Qos::AtMostOnce),
            WillFault::Retain | WillFault::Qos => self.qos = None,
        }
        *self != former
    }
}

impl fmt::Display for Will {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.qos {
            None => f.write_str("no last will"),
            Some(Qos::AtMostOnce) if self.retain => f.write_str("a last will at QoS 0"),
            Some(Qos::AtMostOnce) => f.write_str("a last will at QoS 0 that is not retained"),
            Some(_) => f.write_str("a last will that is not retained"),
        }
    }
}
