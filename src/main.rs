//! The `packhorse` program; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    packhorse::cli::main()
}
