//! `packhorse completions`: what a shell needs to complete the command line.

use super::Failure;
use clap::Command;
use clap_complete::Shell;

/// Prints the completions of this command line for a shell.
///
/// # Errors
/// Standard output's.
pub fn run(mut command: Command, shell: Shell) -> Result<(), Failure> {
    let (name, mut script) = (command.get_name().to_owned(), Vec::new());
    clap_complete::generate(shell, &mut command, name, &mut script);
    super::print(&String::from_utf8_lossy(&script))
}
