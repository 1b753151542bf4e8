//! packhorse: samples sensors on a timer, keeps every message in a spool on disk, and publishes it to an MQTT broker.
//!
//! The path of a message: [`source`] is sampled by [`sampler`], the sample crosses the channel, [`spool`] makes it a
//! message on disk, [`publisher`] sends it and removes it once the broker has acknowledged it. `ARCHITECTURE.md` has
//! the whole picture.

pub mod agent;
pub mod azure;
pub mod burst;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod delivery;
pub mod foreign;
pub mod logging;
pub mod memory;
pub mod message;
pub mod mqtt;
pub mod named;
pub mod network;
mod outlet;
pub mod own;
pub mod payload;
mod planted;
pub mod publisher;
pub mod pulse;
pub mod report;
pub mod sampler;
pub mod schedule;
pub mod source;
pub mod spool;
pub mod status;
pub mod systemd;
pub mod verify;
