//! Why nobody could be reached, in words.

use super::Unreached;
use super::race::Failed;
use rustix::io::Errno;
use std::fmt;
use std::io;

/// Addresses that are named for one reason; the others are counted.
const NAMED: usize = 4;

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreached::Name(words) if is_about_the_server(words) => write!(f, "no name server answers: {words}"),
            Unreached::Name(words) => write!(f, "name not found: {words}"),
            Unreached::Interface(zone) => write!(f, "this machine has no network interface `{zone}`"),
            Unreached::NameServer(time) => {
                write!(f, "no name server has answered within {}", humantime::format_duration(*time))
            }
            Unreached::Thread(error) => write!(f, "no thread can be started: {error}"),
            Unreached::Address(errno) => f.write_str(&reason(*errno)),
            Unreached::Addresses(failed) => reasons(failed, f),
        }
    }
}

/// The system's words for an error, or better ones.
pub fn reason(errno: Errno) -> String {
    let words = io::Error::from(errno).to_string();
    let words = words.split(" (os error").next().unwrap_or(&words);
    let mut words = words.to_owned();
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    match errno {
        Errno::TIMEDOUT => "timed out while connecting".to_owned(),
        Errno::HOSTUNREACH => format!("host unreachable: {words}"),
        Errno::PERM | Errno::ACCESS => format!("{words}; a firewall on this machine may forbid it"),
        _ => words,
    }
}

/// Whether the resolver says that it could not ask, in glibc's or musl's words for `EAI_AGAIN`.
fn is_about_the_server(words: &str) -> bool {
    ["Temporary failure in name resolution", "Try again"].contains(&words)
}

/// Each reason with the addresses that it is for.
fn reasons(failed: &[Failed], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if failed.is_empty() {
        return f.write_str("name not found: it has no address");
    }
    let mut reasons: Vec<Errno> = Vec::new();
    for (_, errno) in failed {
        if !reasons.contains(errno) {
            reasons.push(*errno);
        }
    }
    for (index, errno) in reasons.into_iter().enumerate() {
        let addresses: Vec<String> =
            failed.iter().filter(|(_, other)| *other == errno).map(|(address, _)| address.ip().to_string()).collect();
        let more = addresses.len().saturating_sub(NAMED);
        let separator = if index == 0 { "" } else { "; " };
        write!(f, "{separator}{} ({}", reason(errno), addresses[..addresses.len() - more].join(", "))?;
        if more > 0 {
            write!(f, " and {more} more")?;
        }
        f.write_str(")")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(addresses: &[(&str, Errno)]) -> Unreached {
        let failed = |(address, errno): &(&str, Errno)| (format!("{address}:1883").parse().unwrap(), *errno);
        Unreached::Addresses(addresses.iter().map(failed).collect())
    }

    #[test]
    fn every_reason_has_the_system_s_words_and_its_addresses() {
        let refused = Errno::CONNREFUSED;
        let many = [("10.0.0.1", refused), ("10.0.0.2", refused), ("10.0.0.3", refused), ("10.0.0.4", refused)];
        let more = [many.as_slice(), &[("10.0.0.5", refused), ("10.0.0.6", refused)]].concat();
        for (unreached, words) in [
            (Unreached::Address(refused), "connection refused"),
            (Unreached::Address(Errno::NETUNREACH), "network is unreachable"),
            (Unreached::Address(Errno::HOSTUNREACH), "host unreachable: no route to host"),
            (Unreached::Address(Errno::TIMEDOUT), "timed out while connecting"),
            (Unreached::Address(Errno::ADDRNOTAVAIL), "cannot assign requested address"),
            (Unreached::Address(Errno::PERM), "operation not permitted; a firewall on this machine may forbid it"),
            (failed(&[("10.0.0.5", refused), ("[::1]", refused)]), "connection refused (10.0.0.5, ::1)"),
            (
                failed(&[("10.0.0.5", Errno::TIMEDOUT), ("[::1]", refused)]),
                "timed out while connecting (10.0.0.5); connection refused (::1)",
            ),
            (failed(&more), "connection refused (10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4 and 2 more)"),
            (failed(&[]), "name not found: it has no address"),
            (Unreached::Name("Name or service not known".to_owned()), "name not found: Name or service not known"),
            (
                Unreached::Name("Temporary failure in name resolution".to_owned()),
                "no name server answers: Temporary failure in name resolution",
            ),
            (Unreached::Interface("eth9".to_owned()), "this machine has no network interface `eth9`"),
            (Unreached::NameServer(std::time::Duration::from_secs(10)), "no name server has answered within 10s"),
        ] {
            assert_eq!(unreached.to_string(), words);
        }
    }
}
