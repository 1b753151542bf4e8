//! Who else can read or change a file or a folder of ours. For warnings: it works, and is probably not meant.

use super::users;
use crate::foreign;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The user that the systemd unit runs the agent as.
const SERVICE_USER: &str = "packhorse";

/// What others could do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// Read it: a secret.
    Secret,
    /// Change it: whom we trust.
    Trust,
    /// As [`Care::Trust`], but where a group may well edit it: the configuration.
    Configuration,
}

/// What there is to say about a file, in one sentence.
pub fn of_file(path: &Path, care: Care) -> Option<String> {
    // What is no ordinary file cannot be used at all; that is told elsewhere.
    let metadata = path.metadata().ok().filter(Metadata::is_file)?;
    let (mode, shown) = (metadata.mode(), foreign::path(path));
    let mut said = Vec::new();
    if care == Care::Secret && mode & 0o004 != 0 {
        said.push(format!("every user of this machine can read `{shown}`; `chmod o-r` ends that"));
    }
    let writers = if care == Care::Configuration { mode & 0o002 } else { mode & 0o022 };
    if let Some(who) = writers_by(writers) {
        said.push(format!("{who} can change `{shown}`; `chmod go-w` ends that"));
    }
    said.extend(foreign_owner(&metadata).map(|owner| format!("`{shown}` belongs to {owner}, who can change it")));
    (!said.is_empty()).then(|| said.join("; "))
}

/// What there is to say about a folder that the agent writes to, in one sentence.
pub fn of_folder(path: &Path) -> Option<String> {
    let metadata = path.metadata().ok().filter(Metadata::is_dir)?;
    let shown = foreign::path(path);
    let mut said = Vec::new();
    if let Some(who) = writers_by(metadata.mode() & 0o022) {
        // Of a folder such as /tmp, everybody's.
        let is_shared = metadata.mode() & 0o1000 != 0;
        let end = if is_shared { "take a folder of its own" } else { "`chmod go-w` ends that" };
        said.push(format!("{who} can put files into `{shown}` and take them away; {end}"));
    }
    said.extend(
        foreign_owner(&metadata)
            .map(|owner| format!("`{shown}` belongs to {owner}, who can do as much with its files")),
    );
    (!said.is_empty()).then(|| said.join("; "))
}

fn writers_by(bits: u32) -> Option<&'static str> {
    match (bits & 0o020 != 0, bits & 0o002 != 0) {
        (_, true) => Some("every user of this machine"),
        (true, false) => Some("everyone in its group"),
        (false, false) => None,
    }
}

/// The owner, unless that is root, who can do anything, or the agent's own user.
fn foreign_owner(metadata: &Metadata) -> Option<String> {
    let (owner, own) = (metadata.uid(), rustix::process::geteuid().as_raw());
    // Root looks at the files of the service, too.
    let is_ours = owner == 0 || owner == own || (own == 0 && users::id(SERVICE_USER) == Some(owner));
    (!is_ours).then(|| format!("user id {owner}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn nobody_is_told_to_change_the_mode_of_what_is_no_file_or_is_everybody_s() {
        for path in ["/dev/null", "/tmp", "/etc"] {
            for care in [Care::Secret, Care::Trust, Care::Configuration] {
                assert_eq!(of_file(Path::new(path), care), None, "{path}");
            }
        }
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o1777)).unwrap();
        let said = of_folder(folder.path()).unwrap();
        assert!(said.contains("take a folder of its own") && !said.contains("chmod"), "{said}");
    }

    #[test]
    fn what_others_can_do_with_a_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        for (mode, care, expected) in [
            (0o640, Care::Secret, None),
            (0o644, Care::Trust, None),
            (0o664, Care::Configuration, None),
            (0o644, Care::Secret, Some("every user of this machine can read")),
            (0o660, Care::Secret, Some("everyone in its group can change")),
            (0o602, Care::Configuration, Some("every user of this machine can change")),
        ] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();

            let said = of_file(&path, care);

            match expected {
                Some(expected) => assert!(said.as_ref().unwrap().contains(expected), "{mode:o}: {said:?}"),
                None => assert_eq!(said, None, "{mode:o}"),
            }
        }
    }
}
