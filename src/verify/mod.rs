//! `packhorse verify`: a load test of the whole path, which proves on the user's own device and broker that nothing is lost.
//!
//! An agent of the test's own (`under_test`), in a process that may be killed, makes messages and publishes them through
//! its own spool under a topic of its own; a second connection receives them ([`crate::mqtt::Subscriber`]). A relay
//! between the agent and the broker makes faults. At the end the spool says what was accepted and what waits, and the
//! ledger what became of each message. The user's own agent and its spool are not touched.

mod faults;
mod folder;
mod histogram;
mod ledger;
mod load;
mod process;
mod progress;
mod relay;
mod report;
mod setup;
mod terms;
mod test;
mod trouble;
mod under_test;
mod verdict;

pub use faults::Wanted;
pub use setup::{Settings, Tested, run};
pub use trouble::Trouble;
pub use under_test::run as run_agent;
pub use verdict::{Judgement, Verdict};
