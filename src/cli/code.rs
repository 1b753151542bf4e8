//! What the process exits with. This is the one table: help and manual page print it, and a test holds the README to it.

/// Exit codes of `sysexits.h`, but for the first four, which are as monitoring wants them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// It did its work.
    Done = 0,
    /// It did its work, and the answer is no.
    Failed = 1,
    /// There is no agent that answers.
    NotRunning = 2,
    /// Whether there is one cannot be told.
    Unknown = 3,
    /// Wrong command line.
    Usage = 64,
    /// Gave up: the retry delay passed `retry.max_delay`.
    GaveUp = 69,
    /// A thread panicked.
    Bug = 70,
    /// The spool cannot be read or opened, has no room for what is requeued, or at a stop the disk did not take what was left.
    Spool = 74,
    /// The broker refused credentials, client id or protocol version.
    Refused = 77,
    /// Bad configuration.
    Config = 78,
}

impl Code {
    /// Every one, from the lowest to the highest.
    pub const ALL: [Code; 10] = [
        Code::Done,
        Code::Failed,
        Code::NotRunning,
        Code::Unknown,
        Code::Usage,
        Code::GaveUp,
        Code::Bug,
        Code::Spool,
        Code::Refused,
        Code::Config,
    ];

    /// What it means to a user. Keys and commands are between backticks.
    pub fn meaning(self) -> &'static str {
        match self {
            Code::Done => {
                "done; `run`: stopped by SIGINT, SIGTERM or SIGQUIT, the queue is safe on disk; `status`: healthy"
            }
            Code::Failed => {
                "`sample`: a source gave no sample; `spool`: a file or a message was left, or could not be read; `verify`: lost, or \
                 twice at QoS 2; `status`: degraded; `drain`: not all was delivered; an output took nothing"
            }
            Code::NotRunning => "`status`, `retry`, `drain`: no agent runs with this spool, or it does not answer",
            Code::Unknown => {
                "`status`, `retry`, `drain`: this user may not ask the agent, or its answer makes no sense"
            }
            Code::Usage => "wrong command line",
            Code::GaveUp => {
                "gave up: the retry delay passed `retry.max_delay` and `retry.at_max` is `exit`; `verify`: no broker"
            }
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
