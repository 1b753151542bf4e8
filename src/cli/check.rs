//! `packhorse check`: everything that is wrong with the configuration, or the configuration that is in effect.

use super::{Code, Failure};
use crate::config;
use std::path::Path;

/// Reads the configuration, opens every file and folder that it names, and prints it as it is in effect.
///
/// # Errors
/// All problems at once.
pub fn run(named: Option<&Path>) -> Result<(), Failure> {
    let fail = |message: String| Failure { code: Code::Config, message };
    let path = config::locate(named).map_err(|error| fail(error.to_string()))?;
    let config = config::check(&path).map_err(|problems| fail(format!("bad configuration\n{problems}")))?;
    super::print(&config.to_yaml())
}
