//! Quantities as people read them.

use bytesize::ByteSize;

/// A number with its thousands set off, as in `1,204`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things, as in `1 message` or `1,204 messages`.
#[must_use]
pub fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// Bytes, as in `1.2 MiB`.
pub fn bytes(bytes: u64) -> String {
    ByteSize::b(bytes).to_string()
}

/// A time in its two largest units, as in `3 h 5 min`; `0.4 s` below ten seconds.
#[must_use]
pub fn time(seconds: f64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let seconds = seconds.max(0.0);
    if seconds < 10.0 {
        let text = format!("{seconds:.1}");
        return format!("{} s", text.strip_suffix(".0").unwrap_or(&text));
    }
    let whole = seconds.round() as u64;
    let at = UNITS.iter().position(|(unit, _)| whole >= *unit).unwrap_or(UNITS.len() - 1);
    let (unit, name) = UNITS[at];
    let first = format!("{} {name}", count(whole / unit));
    match UNITS.get(at + 1) {
        Some((next, name)) if whole % unit >= *next => format!("{first} {} {name}", whole % unit / next),
        _ => first,
    }
}

/// A rate, as in `0.2` or `1,204`.
pub fn rate(per_second: f64) -> String {
    if per_second >= 100.0 { count(per_second.round() as u64) } else { format!("{per_second:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_as_people_write_them() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([counted(1, "message"), counted(1204, "message")], ["1 message", "1,204 messages"]);
        assert_eq!(
            [0.04, 3.0, 9.96, 59.4, 60.0, 3661.0].map(time),
            ["0 s", "3 s", "10 s", "59 s", "1 min", "1 h 1 min"]
        );
        assert_eq!([86_399.0, 90_000.0, 8.64e9, -1.0].map(time), ["23 h 59 min", "1 d 1 h", "100,000 d", "0 s"]);
        assert_eq!([0.04, 10.0, 1204.2].map(rate), ["0.0", "10.0", "1,204"]);
    }
}
