//! What the machine and its service manager contribute to a configuration.

use crate::azure::{ConnectionString, Origin, Unusable};
use std::path::PathBuf;

/// What the machine and its service manager contribute.
#[derive(Debug, Clone)]
pub(super) struct Host {
    pub name: Option<String>,
    /// `$CREDENTIALS_DIRECTORY`
    pub credentials: Option<PathBuf>,
    /// Reads a device's connection string.
    pub connection_string: fn(&Origin) -> Result<ConnectionString, Unusable>,
}

impl Default for Host {
    /// A host that contributes nothing.
    fn default() -> Self {
        Host { name: None, credentials: None, connection_string: |origin| Err(Unusable::Unset(origin.clone())) }
    }
}

/// Names that every host has, in small letters: those of RFC 6761 and of the distributions' `hosts` files.
const EVERYBODYS: [&str; 5] = ["localhost", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback"];

impl Host {
    /// Whether its name is no name of its own.
    pub fn is_unnamed(&self) -> bool {
        let first = self.name.as_deref().and_then(|name| name.split('.').next()).unwrap_or_default();
        EVERYBODYS.iter().any(|name| first.eq_ignore_ascii_case(name))
    }

    pub fn this() -> Host {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Host {
            // Linux says "(none)" where nobody has set a name.
            name: Some(name).filter(|name| !name.is_empty() && name != "(none)"),
            credentials: std::env::var_os("CREDENTIALS_DIRECTORY").filter(|path| !path.is_empty()).map(PathBuf::from),
            connection_string: Origin::read,
        }
    }
}
