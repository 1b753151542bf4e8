//! What ends the wait for the next attempt to connect, and for the next try of what is refused. Pure.

use super::Delivery;
use super::action::Now;
use log::Level;

impl Delivery {
    pub(super) fn network_back(&mut self, how: &str, now: Now) {
        if self.connection.wait().is_some() {
            self.log(Level::Info, format!("the network has changed ({how}); connecting at once"));
            self.connection.retry_now(now.at);
        }
    }

    pub(super) fn credentials_changed(&mut self, now: Now) {
        if self.connection.wait().is_some() {
            self.log(Level::Info, "a file for the broker has changed; connecting at once".to_owned());
            self.connection.retry_now(now.at);
        }
    }

    pub(super) fn hurry(&mut self, now: Now) {
        self.refusals.hurry(now.at);
        if self.connection.wait().is_some() {
            self.log(Level::Info, "asked not to wait; connecting at once".to_owned());
            self.connection.retry_now(now.at);
        }
    }
}
