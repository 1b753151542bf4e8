//! What the process exits with. This is the one table: help and manual page print it, and a test holds the README to it.

/// Exit codes of `sysexits.h`, but for the first two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// It did its work.
    Done = 0,
    /// It did its work, and the answer is no.
    Failed = 1,
    /// Wrong command line.
    Usage = 64,
    /// Gave up: the retry delay passed `retry.max_delay`.
    GaveUp = 69,
    /// A thread panicked.
    Bug = 70,
    /// The spool cannot be opened, has no room for what is requeued, or at a stop the disk did not take what was left.
    Spool = 74,
    /// The broker refused credentials, client id or protocol version.
    Refused = 77,
    /// Bad configuration.
    Config = 78,
}

impl Code {
    /// Every one, from the lowest to the highest.
    pub const ALL: [Code; 8] =
        [Code::Done, Code::Failed, Code::Usage, Code::GaveUp, Code::Bug, Code::Spool, Code::Refused, Code::Config];

    /// What it means to a user. Keys and commands are between backticks.
    pub fn meaning(self) -> &'static str {
        match self {
            Code::Done => "done; `run`: stopped by SIGINT, SIGTERM or SIGQUIT, the queue is safe on disk",
            Code::Failed => {
                "`sample`: a source gave no sample; `spool requeue`: a file was left; standard output took nothing"
            }
            Code::Usage => "wrong command line",
            Code::GaveUp => "gave up: the retry delay passed `retry.max_delay` and `retry.at_max` is `exit`",
            Code::Bug => "a bug: a thread panicked; the other one has saved what it had first",
            Code::Spool => {
                "the spool's folder cannot be read, or another agent uses it, or a requeue finds it full; or at a stop \
                 the disk did not take what was left; or messages were lost with deleted files"
            }
            Code::Refused => {
                "the broker or the proxy refused the credentials, the certificate, the client id or the protocol version, and \
                 `retry.on_refusal` is `exit`"
            }
            Code::Config => "bad configuration",
        }
    }
}
