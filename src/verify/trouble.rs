//! Why there is no verdict.

/// A sentence to the user, by what the process exits with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// What was asked for cannot be done.
    #[error("{0}")]
    Usage(String),
    /// The configuration is bad, or has what cannot be tested.
    #[error("{0}")]
    Config(String),
    /// The broker cannot be reached, or does not answer.
    #[error("{0}")]
    Unreachable(String),
    /// The broker refuses what the test needs.
    #[error("{0}")]
    Refused(String),
    /// The folder for the test cannot be used.
    #[error("{0}")]
    Spool(String),
    #[error("{0}")]
    Bug(String),
}
