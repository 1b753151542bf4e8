//! What another configuration needs while the agent runs. Pure.
//!
//! A new key counts where the whole of its section is compared; where keys are named one by one, a new one that is forgotten
//! does not compile.

use crate::config::{Channel, Config, Delivery, Logging, Spool, Status, Telemetry};
use crate::message::Qos;

/// What follows from a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    /// Whether the present connection serves the new configuration as well.
    pub keeps_connection: bool,
    /// Whether messages may be published at QoS 2, for which there has to be a session.
    pub needs_session: bool,
}

/// What changes for the publisher when `new` takes the place of `old`.
#[must_use]
pub fn effect(old: &Config, new: &Config) -> Effect {
    let Config {
        device,
        broker,
        retry,
        telemetry,
        // Swapped between the threads when the order comes.
        channel: Channel { capacity: _ },
        // Taken over by the spool when the order comes.
        spool: Spool { directory: _, max_size: _, max_age: _, when_full: _, sync: _ },
        delivery,
        shutdown_timeout: _,
        // Taken over by the main thread.
        logging:
            Logging {
                directory: _,
                rotate_every: _,
                keep_files: _,
                max_file_size: _,
                debug: _,
                info: _,
                sample: _,
                paho: _,
                console: _,
            },
        status,
    } = new;
    // The device's name is in the status message, and so in the will.
    let Status { topic, interval: _ } = status;
    let same_will = old.status.topic == *topic && old.device == *device;
    // The rate and the patience with the broker hold from now on.
    let Delivery { window, ack_timeout: _, max_rate: _ } = delivery;
    Effect {
        // The back-off is part of the connection: another one begins anew.
        keeps_connection: old.broker == *broker && old.retry == *retry && old.delivery.window == *window && same_will,
        needs_session: publishes_at_qos_2(telemetry),
    }
}

fn publishes_at_qos_2(telemetry: &Telemetry) -> bool {
    // What is sampled is the sampler's; messages carry their own topic and quality of service.
    let Telemetry { interval: _, topic: _, qos: _, format: _, sources } = telemetry;
    sources.iter().any(|source| source.qos == Qos::ExactlyOnce)
}
