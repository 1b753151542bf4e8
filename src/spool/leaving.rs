//! Tells somebody which accepted messages leave by a rule, before they do: who is killed in between has told too much, never
//! too little.

use crate::message::Seq;
use std::fmt;
use std::ops::RangeInclusive;

/// Is called with the first and the last of such messages.
pub type Told = Box<dyn Fn(&RangeInclusive<Seq>) + Send>;

/// Who is told, if anybody wants to know.
#[derive(Default)]
pub struct Leaving(Option<Told>);

impl Leaving {
    pub fn tell(&mut self, told: Told) {
        self.0 = Some(told);
    }

    /// These are about to leave.
    pub fn leave(&self, messages: &RangeInclusive<Seq>) {
        if let Some(told) = &self.0 {
            told(messages);
        }
    }
}

impl fmt::Debug for Leaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Leaving(told)" } else { "Leaving" })
    }
}
