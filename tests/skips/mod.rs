//! Tests that cannot run on a machine are skipped, and say why. Where `PACKHORSE_CI` is set, a skip fails the test unless
//! `skips.txt` beside this file lists it: so no promise is lost because a tool has gone.

use std::thread;

const LISTED: &str = include_str!("skips.txt");

/// Says that the present test, or the rest of it, is skipped. To be called from the test's own thread.
///
/// # Panics
/// In CI, where the list has no such skip.
pub fn skip(reason: &str) {
    let test = thread::current().name().unwrap_or_default().to_owned();
    println!("skipped: {reason}");
    let is_ci = std::env::var_os("PACKHORSE_CI").is_some();
    assert!(
        !is_ci || is_listed(LISTED, &test, reason),
        "{test} is skipped, and tests/skips/skips.txt does not list it: {reason}"
    );
}

/// Whether the list has a test with this reason, or with the beginning of it.
fn is_listed(list: &str, test: &str, reason: &str) -> bool {
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    let mut skips = lines.filter_map(|line| line.split_once(": "));
    skips.any(|(name, why)| name == test && !why.trim().is_empty() && reason.starts_with(why.trim()))
}

#[cfg(test)]
mod tests {
    use super::is_listed;

    #[test]
    fn a_skip_is_listed_by_its_test_and_its_reason() {
        let list = "# a::b: commented out\na::b: no disk here\n\nc: \n";

        assert!(is_listed(list, "a::b", "no disk here"));
        assert!(is_listed(list, "a::b", "no disk here: Permission denied"));
        for (test, reason) in [("a::b", "no network"), ("b", "no disk here"), ("c", ""), ("c", "x"), ("# a::b", "comm")]
        {
            assert!(!is_listed(list, test, reason), "{test}: {reason}");
        }
    }
}
