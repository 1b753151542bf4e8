//! What ends the wait for the next attempt to connect, and for the next try of what is refused. Pure.

use super::Delivery;
use super::action::Now;
use log::Level;

impl Delivery {
    pub(super) fn network_back(&mut self, how: &str, now: Now) {
        self.retry_now(&format!("the network has changed ({how})"), now);
    }

    pub(super) fn credentials_changed(&mut self, now: Now) {
        self.retry_now("a file for the broker has changed", now);
    }

    pub(super) fn hurry(&mut self, now: Now) {
        self.refusals.hurry(now.at);
        self.retry_now("asked not to wait", now);
    }

    /// Ends the wait for the next attempt, where there is one.
    fn retry_now(&mut self, why: &str, now: Now) {
        if self.connection.wait().is_some() {
            self.log(Level::Info, format!("{why}; connecting at once"));
            self.connection.retry_now(now.at);
        }
    }
}
