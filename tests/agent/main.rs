//! The agent as its user meets it: the built binary, a real mosquitto, real signals, a real file system.
//!
//! Every test starts what it needs on a free port of the loopback and stops it by its handle, and judges by what a
//! second connection received.

mod azure;
mod certificates;
mod clock;
mod clusters;
mod console;
mod constrained;
mod deleted;
mod delivery;
mod disk;
mod drain_command;
mod edits;
mod exit_codes;
mod failover;
mod faults;
mod faults_support;
mod forged;
mod full_start;
mod hold;
mod hostile;
mod inspect;
mod kills;
mod logs;
mod memory;
mod names;
mod network;
mod outage;
mod panics;
mod planted;
mod power;
mod proxies;
mod rabbitmq;
mod reach;
mod refusals;
mod remounts;
mod requeue;
mod scripted_support;
mod secrets;
mod sensors;
mod sessions;
mod signals;
mod stalls;
mod status_command;
mod stop;
mod structure;
mod support;
mod systemd;
mod tls;
mod verify;
mod violations;
mod watch_command;
mod websocket;
