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

impl Host {
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
