//! One warning for a row of failures that say the same, so that logs stay readable through an outage.

use log::Level;

/// A row of failures of one kind, uninterrupted by a success.
#[derive(Debug, Default)]
pub struct Burst {
    failures: u64,
}

impl Burst {
    /// Counts a failure and says at which level it belongs in the log: the first is a warning, the rest is debug.
    pub fn failed(&mut self) -> Level {
        self.failures += 1;
        if self.failures == 1 { Level::Warn } else { Level::Debug }
    }

    /// Whether a row is going on.
    pub fn is_on(&self) -> bool {
        self.failures > 0
    }

    /// Ends the row; how many failures it had, when it had any.
    pub fn ended(&mut self) -> Option<u64> {
        match std::mem::take(&mut self.failures) {
            0 => None,
            failures => Some(failures),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_failure_of_a_row_is_a_warning() {
        let mut burst = Burst::default();

        let row = [burst.failed(), burst.failed(), burst.failed()];
        let ended = [burst.ended(), burst.ended()];
        let next_row = burst.failed();

        assert_eq!(row, [Level::Warn, Level::Debug, Level::Debug]);
        assert_eq!(ended, [Some(3), None]);
        assert_eq!(next_row, Level::Warn);
    }
}
