//! The users of this machine.

use crate::named;
use std::path::Path;

/// The number of the user with this name.
pub fn id(name: &str) -> Option<u32> {
    find(|its, id| (its == name).then_some(id))
}

/// The name of the user with this number.
pub fn name(id: u32) -> Option<String> {
    find(|name, its| (its == id).then(|| name.to_owned()))
}

/// Asks for each user, by name and number.
fn find<T>(ask: impl Fn(&str, u32) -> Option<T>) -> Option<T> {
    let users = named::read(Path::new("/etc/passwd"), 1024 * 1024).ok()?;
    String::from_utf8_lossy(&users).lines().find_map(|line| {
        let mut fields = line.split(':');
        ask(fields.next()?, fields.nth(1)?.parse().ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_known_by_name_and_by_number() {
        assert_eq!((id("root"), name(0).as_deref()), (Some(0), Some("root")));
        assert_eq!((id("nobody of this name"), name(u32::MAX - 7)), (None, None));
    }
}
