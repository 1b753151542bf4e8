use super::Failure;
use std::path::Path;

pub fn run(_config: Option<&Path>, _sources: &[String]) -> Result<(), Failure> {
    Ok(())
}
