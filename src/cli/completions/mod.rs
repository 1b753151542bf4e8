//! `packhorse completions`: what a shell needs to complete the command line.
//!
//! The command line says what there is; the names of sources the shell asks for when it needs them, by
//! `packhorse sample --list`, of the configuration that is named on the line.

use super::Failure;
use clap::{Command, ValueEnum};
use clap_complete::shells::{Bash, Fish, Zsh};
use clap_complete::{Generator, generate};

/// What zsh would complete names of sources by: file names.
const ZSH_SOURCES: (&str, &str) = ("*::sources -- ", ":_default'");

/// A shell whose completions are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Prints the completions of this command line for a shell.
///
/// # Errors
/// Standard output's.
pub fn run(command: Command, shell: Shell) -> Result<(), Failure> {
    super::print(&script(command, shell))
}

fn script(command: Command, shell: Shell) -> String {
    match shell {
        Shell::Bash => of_commands(command, Bash) + include_str!("bash.sh"),
        Shell::Fish => of_commands(command, Fish) + include_str!("fish.sh"),
        Shell::Zsh => zsh(&of_commands(command, Zsh)),
    }
}

fn of_commands(mut command: Command, shell: impl Generator) -> String {
    let (name, mut script) = (command.get_name().to_owned(), Vec::new());
    generate(shell, &mut command, name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// With names of sources, by a function that has to stand before what zsh does at the end of the file.
fn zsh(script: &str) -> String {
    let (head, end) = ZSH_SOURCES;
    let mut lines = script.lines();
    let first: Vec<&str> = lines.by_ref().take(2).collect();
    let rest =
        lines.map(|line| if line.contains(head) { line.replace(end, ":_packhorse_sources'") } else { line.to_owned() });
    first.join("\n") + "\n" + include_str!("zsh.sh") + &rest.collect::<Vec<_>>().join("\n") + "\n"
}
