//! Whether anybody listens where the configuration says. Nothing is sent, so no broker notices a client.

use super::dial::Dialer;
use crate::config::Broker;
use std::time::Duration;

/// Connects to each address of the broker, or to the proxy, and hangs up at once; a sentence for each that nobody listens
/// at. All are tried at the same time, for at most `timeout`.
#[must_use]
pub fn silent(broker: &Broker, timeout: Duration) -> Vec<String> {
    let places: Vec<(String, &str, u16)> = match &broker.proxy {
        Some(proxy) => vec![(format!("the proxy {proxy}"), &proxy.host, proxy.port)],
        None => broker.addresses.iter().map(|address| (address.to_string(), &*address.host, address.port)).collect(),
    };
    let mut dialer = Dialer::default();
    let dials: Vec<_> = places
        .into_iter()
        .map(|(shown, host, port)| (shown, dialer.begin(host.trim_matches(['[', ']']), port, timeout, || ())))
        .collect();
    let sentence = |(shown, dial): (String, super::dial::Dial)| {
        let unreached = dial.wait()?.err()?;
        Some(format!("cannot reach {shown} now: {unreached}"))
    };
    dials.into_iter().filter_map(sentence).collect()
}
