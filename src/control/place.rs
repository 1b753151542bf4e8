//! Where the sockets are: which folders, and which name in them.
//!
//! An agent puts its socket into the service manager's folder (`$RUNTIME_DIRECTORY`), else into the user's
//! (`$XDG_RUNTIME_DIR`, `/run/user/UID`), else into one of its own below `/run` or `/tmp`. Who asks looks in all of them, in
//! those of the spool's owner too.

use crate::own;
use rustix::process::geteuid;
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where the unit has its runtime folder (systemd/packhorse.service).
const SERVICE: &str = "/run/packhorse";

/// Who may write to a folder other than its owner.
const OTHERS_WRITE: u32 = 0o022;

/// What decides where sockets are.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The folder that the service manager gives.
    service: Option<PathBuf>,
    /// The folder that the user's session has.
    session: Option<PathBuf>,
    user: u32,
}

impl Surroundings {
    /// Those of this process.
    pub fn present() -> Self {
        let folder = |name| std::env::var_os(name).map(first).filter(|folder| folder.is_absolute());
        let (service, session) = (folder("RUNTIME_DIRECTORY"), folder("XDG_RUNTIME_DIR"));
        Self { service, session, user: geteuid().as_raw() }
    }

    /// Where an agent's socket may be, the best place first.
    pub fn of_agent(&self) -> Vec<Place> {
        // What a service writes elsewhere nobody outside its sandbox finds.
        if let Some(service) = &self.service {
            return vec![Place::Given(service.clone())];
        }
        let session = self.session.iter().cloned().chain([session_of(self.user)]).filter(|folder| folder.is_dir());
        session.map(|folder| Place::Own(folder.join("packhorse"))).chain([Place::Own(fallback(self.user))]).collect()
    }

    /// Where the socket of the agent with this spool is looked for; `None`: of any agent.
    pub fn of_asker(&self, spool: Option<&Path>) -> Vec<PathBuf> {
        let owner = spool.and_then(|spool| fs::metadata(spool).map(|metadata| metadata.uid()).ok());
        let users = [Some(self.user), owner.filter(|owner| *owner != self.user)].into_iter().flatten();
        let of_users = users.flat_map(|user| [session_of(user).join("packhorse"), fallback(user)]);
        let first = self.service.iter().cloned().chain([PathBuf::from(SERVICE)]);
        first.chain(self.session.iter().map(|folder| folder.join("packhorse"))).chain(of_users).collect()
    }
}

/// A folder for a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Somebody has made it for us.
    Given(PathBuf),
    /// We make it, where others may have made something of this name.
    Own(PathBuf),
}

impl Place {
    /// The folder, which is there and can be trusted when this returns.
    ///
    /// # Errors
    /// The system's, or that the folder is another user's.
    pub fn prepare(&self) -> io::Result<&Path> {
        match self {
            Place::Given(folder) => Ok(folder),
            Place::Own(folder) => {
                let metadata = own::Folder::keep(folder)?.file().metadata()?;
                if metadata.uid() != geteuid().as_raw() || metadata.mode() & OTHERS_WRITE != 0 {
                    return Err(io::Error::other("is a folder that others can write to"));
                }
                Ok(folder)
            }
        }
    }

    pub fn folder(&self) -> &Path {
        match self {
            Place::Given(folder) | Place::Own(folder) => folder,
        }
    }
}

/// The service manager names several with colons between them (systemd.exec(5)).
fn first(folders: OsString) -> PathBuf {
    let bytes = folders.into_vec();
    let end = bytes.iter().position(|byte| *byte == b':').unwrap_or(bytes.len());
    OsString::from_vec(bytes[..end].to_owned()).into()
}

/// Where a session of this user has its folder, as logind makes it.
fn session_of(user: u32) -> PathBuf {
    format!("/run/user/{user}").into()
}

/// Where nobody has made a folder for us.
fn fallback(user: u32) -> PathBuf {
    // In /run only root can make one, and nobody can take its name away there.
    format!("{}/packhorse-{user}", if user == 0 { "/run" } else { "/tmp" }).into()
}

/// The name that only the socket of this spool's agent has.
pub fn name(spool: &Path) -> String {
    let digest = Sha256::digest(canonical(spool).as_os_str().as_bytes());
    let digits: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("agent-{digits}.sock")
}

/// The sockets of all agents in a folder.
pub fn sockets(folder: &Path) -> Vec<PathBuf> {
    let is_ours = |name: &str| name.starts_with("agent-") && name.ends_with(".sock");
    let entries = folder.read_dir().into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_str().is_some_and(is_ours)).map(|entry| entry.path()).collect()
}

/// The path without links, as far as it leads to something.
fn canonical(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let known = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    match known {
        Some((above, found)) => match path.strip_prefix(above) {
            Ok(rest) if rest.as_os_str().is_empty() => found,
            Ok(rest) => found.join(rest),
            Err(_) => path.clone(),
        },
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn every_way_to_a_spool_leads_to_the_same_name_and_every_spool_has_another() {
        let folder = tempfile::tempdir().unwrap();
        let [spool, link] = ["spool", "link"].map(|name| folder.path().join(name));
        symlink(&spool, &link).unwrap();
        let before = name(&spool);
        fs::create_dir(&spool).unwrap();

        assert_eq!(before, name(&spool), "whether it is there or not");
        assert_eq!(before, name(&link));
        assert_eq!(before, name(&folder.path().join("spool/../spool/.")));
        assert_ne!(before, name(&folder.path().join("other")));
        assert_eq!(before.len(), "agent-0123456789abcdef.sock".len());
    }

    #[test]
    fn who_asks_looks_wherever_an_agent_may_have_put_its_socket() {
        let folder = tempfile::tempdir().unwrap();
        let given = folder.path().to_owned();
        let user = geteuid().as_raw();
        for surroundings in [
            Surroundings { service: Some(given.clone()), session: None, user },
            Surroundings { service: None, session: Some(given.clone()), user },
            Surroundings { service: None, session: None, user },
        ] {
            let asked = surroundings.of_asker(Some(folder.path()));

            let places = surroundings.of_agent();
            assert!(!places.is_empty());
            assert!(
                places.iter().all(|place| asked.iter().any(|asked| asked == place.folder())),
                "{places:?} {asked:?}"
            );
        }
        assert_eq!(first("/run/one:/run/two".into()), Path::new("/run/one"));
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let [own, open, link] = ["own", "open", "link"].map(|name| folder.path().join(name));
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        symlink(&open, &link).unwrap();

        Place::Own(own).prepare().unwrap();
        assert!(Place::Own(open).prepare().is_err());
        Place::Own(link.clone()).prepare().unwrap();
        assert!(!link.is_symlink(), "it is a folder of ours now");
    }
}
