//! What to look at when there is no connection, for messages that do not say it themselves: the table of
//! `docs/connection-failures.md` in short.

/// Words of a message, and what to look at. The first that fits counts.
const ADVICE: [(&str, &str); 14] = [
    ("name not found", "look at the name in `broker.url`; `getent hosts NAME` asks as the agent does"),
    ("no name server", "look at `/etc/resolv.conf`, the network, and a firewall for port 53"),
    ("connection refused", "nothing listens there: look at host and port, and whether the broker runs"),
    ("host unreachable", "look at the route: `ip route get ADDRESS`; the agent connects once there is one"),
    ("network is unreachable", "look at the route: `ip route get ADDRESS`; the agent connects once there is one"),
    ("timed out while connecting", "nobody answers: look at the address, and at firewalls on the way"),
    ("no answer to CONNECT", "what listens there does not answer: the broker hangs, or it is no broker"),
    (
        "has expired",
        "compare this device's clock (`timedatectl`); if that is right, the broker needs a new certificate",
    ),
    ("is not valid yet", "compare this device's clock: `timedatectl`"),
    ("is not trusted", "`broker.tls.ca_file` must hold the authority that signed the broker's certificate"),
    ("another client has connected", "give each device its own `device` or `broker.client_id`"),
    ("Client identifier not valid", "look at `broker.client_id`"),
    ("the other side ended it", "look at the broker's log"),
    ("no answer to a ping", "a NAT or a mobile network may forget quiet connections: a shorter `broker.keep_alive`"),
];

/// What to look at for a message; `None`: nothing is known, or the message says it itself.
#[must_use]
pub fn advice(message: &str) -> Option<&'static str> {
    ADVICE.iter().find(|(words, _)| message.contains(words)).map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_with_advice_is_in_the_table_of_connection_failures() {
        let page = include_str!("../../docs/connection-failures.md");

        for (words, _) in ADVICE {
            assert!(page.contains(words), "docs/connection-failures.md has no row for {words:?}");
        }
        assert_eq!(advice("cannot reach mqtt://h:1883: connection refused"), Some(ADVICE[2].1));
        assert_eq!(advice("something else"), None);
    }
}
