//! What another configuration needs while the agent runs. Pure.
//!
//! Every key is named here: one that is new and forgotten does not compile.

use crate::config::{Broker, Channel, Config, Delivery, Logging, Retry, Spool, Status, Telemetry};
use crate::message::Qos;

/// What follows from a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    /// Whether the present connection serves the new configuration as well.
    pub keeps_connection: bool,
    /// Whether subscribers of the former status topic are told that nobody is there any more.
    pub leaves_status: bool,
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
    let same_broker = is_same_broker(&old.broker, broker);
    let Status { topic, interval: _ } = status;
    let same_topic = old.status.topic == *topic;
    // The device's name is in the status message, and so in the will.
    let same_will = same_topic && old.device == *device;
    // The rate and the patience with the broker hold from now on.
    let Delivery { window, ack_timeout: _, max_rate: _ } = delivery;
    Effect {
        keeps_connection: same_broker
            && same_will
            && is_same_retry(&old.retry, retry)
            && old.delivery.window == *window,
        leaves_status: !(same_broker && same_topic),
        needs_session: publishes_at_qos_2(telemetry),
    }
}

/// Whether a connection to the one is a connection to the other.
fn is_same_broker(old: &Broker, new: &Broker) -> bool {
    let Broker {
        addresses,
        client_id,
        protocol,
        keep_alive,
        connect_timeout,
        session_expiry,
        username,
        password_file,
        proxy,
        tls,
        azure_iot_hub,
    } = new;
    old.addresses == *addresses
        && old.client_id == *client_id
        && old.protocol == *protocol
        && old.keep_alive == *keep_alive
        && old.connect_timeout == *connect_timeout
        && old.session_expiry == *session_expiry
        && old.username == *username
        && old.password_file == *password_file
        && old.proxy == *proxy
        && old.tls == *tls
        && old.azure_iot_hub == *azure_iot_hub
}

/// The back-off is part of the connection: another one begins anew.
fn is_same_retry(old: &Retry, new: &Retry) -> bool {
    let Retry { initial_delay, factor, max_delay, at_max, jitter, stable_after } = new;
    old.initial_delay == *initial_delay
        && old.stable_after == *stable_after
        && old.factor.to_bits() == factor.to_bits()
        && old.max_delay == *max_delay
        && old.at_max == *at_max
        && old.jitter.to_bits() == jitter.to_bits()
}

fn publishes_at_qos_2(telemetry: &Telemetry) -> bool {
    // What is sampled is the sampler's; messages carry their own topic and quality of service.
    let Telemetry { interval: _, topic: _, qos: _, format: _, sources } = telemetry;
    sources.iter().any(|source| source.qos == Qos::ExactlyOnce)
}
