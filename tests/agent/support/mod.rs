//! What the tests start, and what they judge by.

mod agent;
mod asked;
mod authority;
mod broker;
mod cluster;
mod connect_proxy;
mod control_group;
mod dead_mount;
mod event_loop;
mod excuses;
mod flips;
mod forge;
mod front;
mod full_pipe;
mod gateway;
mod hostile_frames;
mod hostility;
mod jetstream;
mod judge;
mod ledger;
mod line;
mod loopback;
mod manager;
mod meddler;
mod mqtt;
mod nats;
mod netns;
mod pipe;
mod process;
mod properties;
mod proxy;
mod rabbit;
mod script;
mod scripted;
#[path = "../../skips/mod.rs"]
mod skips;
mod small_disk;
mod subscriber;
mod tls_front;
pub mod websocket;
mod ws_front;

pub use agent::Agent;
pub use asked::{Said, ask, is_healthy, json, wait_for_report};
pub use authority::{Authority, Certificate};
pub use broker::Broker;
pub use cluster::Cluster;
pub use connect_proxy::{ConnectProxy, Reply};
pub use control_group::ControlGroup;
pub use dead_mount::DeadMount;
pub use forge::{number, packet_of};
pub use front::{Conduct, Front};
pub use full_pipe::full_pipe;
pub use gateway::{Gateway, STATUS, Settings, log_files};
pub use jetstream::{Reader, keep_telemetry};
pub use judge::{Judgement, count};
pub use line::Transport;
pub use loopback::How;
pub use manager::Manager;
pub use meddler::{Meddler, Meddling};
pub use mqtt::{Connect, Packet, PacketKind, Publish as Delivery, packet};
pub use nats::nats_cluster;
pub use netns::Netns;
pub use pipe::Direction;
pub use process::Process;
pub use proxy::Proxy;
pub use rabbit::{Queues, rabbit, rabbit_cluster};
pub use script::{ALWAYS, Death, Exchanges, Point, Response, Script};
pub use scripted::Scripted;
pub use skips::skip;
pub use small_disk::SmallDisk;
pub use subscriber::{Arrival, Subscriber, wait_for_all};
pub use tls_front::TlsFront;
pub use ws_front::{Framing, WsFront};

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the tests wait for what should take a moment: these machines are slow at times.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` gives something, and fails the test when it does not in time.
pub fn wait_for<T>(what: &str, patience: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until `condition` holds, and fails the test when it does not in time.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, PATIENCE, || condition().then_some(()));
}

/// Watches that `condition` holds for this long, and fails the test at once when it does not.
pub fn stays(what: &str, time: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + time;
    while Instant::now() < deadline {
        assert!(condition(), "no longer: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How much a test does: `quick` in `make test`, `soak` in `make soak`.
pub fn scale(quick: usize, soak: usize) -> usize {
    if std::env::var_os("PACKHORSE_SOAK").is_some() { soak } else { quick }
}

/// A turn among the tests whose brokers need much memory and time to start. It ends when this is dropped.
pub fn heavy() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Random numbers whose seed is printed; `PACKHORSE_SEED` gives the same ones again.
pub fn seeded() -> fastrand::Rng {
    let seed = std::env::var("PACKHORSE_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("PACKHORSE_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}
