//! The broker's address.

use super::values::text;
use serde_yaml::Value;

/// MQTT's registered port.
const PORT: u16 = 1883;

/// Reads `mqtt://HOST[:PORT]`; the result always has a port. No error repeats what may be a password.
pub fn broker(value: &Value) -> Result<String, String> {
    let url = text(value)?;
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err("must be a URL such as mqtt://localhost:1883".to_owned());
    };
    match scheme {
        "mqtt" => {}
        "mqtts" | "ws" | "wss" => return Err(format!("not supported yet: {scheme}://")),
        _ => return Err("allowed schemes: mqtt://, mqtts://, ws://, wss://".to_owned()),
    }
    if rest.contains('@') {
        return Err("must not have a user or a password in it; there are `username` and `password_file`".to_owned());
    }
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#']) {
        return Err("must end after the port: mqtt:// has no path".to_owned());
    }
    let (host, port) = split(authority).ok_or("must name host and port as in mqtt://localhost:1883")?;
    let port = match port {
        None => PORT,
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or("must have a port from 1 to 65535")?,
    };
    Ok(format!("mqtt://{host}:{port}"))
}

/// Host and port; an IPv6 address stands in brackets.
fn split(authority: &str) -> Option<(&str, Option<&str>)> {
    let (host, port) = if authority.starts_with('[') {
        let (host, rest) = authority.split_at(authority.find(']')? + 1);
        host[1..host.len() - 1].parse::<std::net::Ipv6Addr>().ok()?;
        (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let plain = |c: char| !c.is_whitespace() && !c.is_control();
    (!host.is_empty() && host.chars().all(plain)).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_its_port_and_bad_ones_are_refused() {
        let read = |url: &str| broker(&Value::from(url));

        assert_eq!(read("mqtt://localhost").unwrap(), "mqtt://localhost:1883");
        assert_eq!(read("mqtt://10.1.2.3:8883/").unwrap(), "mqtt://10.1.2.3:8883");
        assert_eq!(read("mqtt://[::1]:1884").unwrap(), "mqtt://[::1]:1884");
        assert_eq!(read("mqtt://[fe80::1]").unwrap(), "mqtt://[fe80::1]:1883");
        for bad in [
            "localhost:1883",
            "http://x",
            "mqtt://",
            "mqtt://x:0",
            "mqtt://x:y",
            "mqtt://x/y",
            "mqtt://[::1",
            "mqtt://a b",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read("mqtts://x").unwrap_err().contains("not supported yet"));
    }

    #[test]
    fn a_password_in_the_address_is_refused_and_not_repeated() {
        let problem = broker(&Value::from("mqtt://user:hunter2@host")).unwrap_err();

        assert!(problem.contains("password_file") && !problem.contains("hunter2"), "{problem}");
    }
}
