//! The names of log files: `debug.log.2023-01-04_11-28-49`, and which of them are too many. Pure.

/// How a stamp is written.
pub const STAMP: &str = "%Y-%m-%d_%H-%M-%S";
/// How a stamp looks: `0` stands for any digit.
pub const SHAPE: &[u8] = b"0000-00-00_00-00-00";

/// The oldest of a kind's files beyond the number to keep; never the newest, whatever the clock did to its name. Files
/// with a later name were written while the clock was wrong, and count as the oldest.
pub fn to_prune(names: Vec<String>, kind: &str, keep: usize, newest: &str) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().filter(|name| name != newest && is_of_kind(name, kind)).collect();
    let stamp = newest.get(kind.len() + 1..).unwrap_or_default();
    names.sort_by_cached_key(|name| (!is_later(name, kind, stamp), name.clone()));
    names.truncate((names.len() + 1).saturating_sub(keep.max(1)));
    names
}

/// Whether a file of this kind began after this stamp, by its name.
pub fn is_later(name: &str, kind: &str, stamp: &str) -> bool {
    // The number behind the stamp counts files of the same second.
    name.get(kind.len() + 1..).and_then(|of_file| of_file.get(..SHAPE.len())) > stamp.get(..SHAPE.len())
}

/// Whether a name is `kind.stamp` or `kind.stamp.number`.
pub fn is_of_kind(name: &str, kind: &str) -> bool {
    let stamp = name.strip_prefix(kind).and_then(|rest| rest.strip_prefix('.')).map(str::as_bytes);
    let Some((stamp, number)) = stamp.and_then(|stamp| stamp.split_at_checked(SHAPE.len())) else { return false };
    let shaped = stamp.iter().zip(SHAPE).all(|(byte, shape)| match shape {
        b'0' => byte.is_ascii_digit(),
        shape => byte == shape,
    });
    shaped && matches!(number, [] | [b'.', b'0'..=b'9', b'0'..=b'9', b'0'..=b'9'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pruning_keeps_the_newest_and_the_right_number(stamps in proptest::collection::btree_set(0u32..999_999, 1..40), keep in 1usize..8) {
            let name = |stamp: &u32| format!("debug.log.2023-01-04_{:02}-{:02}-{:02}", stamp / 10_000, stamp / 100 % 100, stamp % 100);
            let names: Vec<String> = stamps.iter().map(name).collect();
            let newest = names[names.len() / 2].clone();

            let pruned = to_prune(names.clone(), "debug.log", keep, &newest);

            prop_assert_eq!(names.len() - pruned.len(), names.len().min(keep));
            prop_assert!(!pruned.contains(&newest));
            let kept: Vec<&String> = names.iter().filter(|name| !pruned.contains(name) && **name != newest).collect();
            let age = |name: &String| (*name <= newest, name.clone());
            prop_assert!(pruned.iter().all(|old| kept.iter().all(|kept| age(old) < age(kept))));
        }
    }
}
