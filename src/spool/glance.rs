//! What who asks wants to know of the spool beside its backlog: numbers, sizes, how old the oldest message is. Nothing is
//! changed by looking.

use super::Spool;
use super::reader::{Limit, Reader, Step};
use crate::message::{Seq, Stamp};

/// The room of a disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What an ordinary user may still fill.
    pub free: u64,
    pub total: u64,
}

impl Spool {
    /// The lowest number that is not finished; the next one to be given out where all are.
    #[must_use]
    pub fn oldest_seq(&self) -> Seq {
        self.journal.finished().low()
    }

    /// When the sample of a message was taken, read from the disk; `None`: it is not there, not on the medium yet, or damaged.
    #[must_use]
    pub fn peek(&self, seq: Seq) -> Option<Stamp> {
        let (writer, segments) = (&self.writer, &self.segments);
        let held = |first| if first == writer.first() { writer.open_file() } else { segments.held(first) };
        let mut reader = Reader::new(&self.directory, self.stream, seq, writer.routes());
        // A copy of what is damaged is made when it is read in earnest.
        let limit = Limit { room_for_copies: None, ..self.limit() };
        match reader.step(segments, self.journal.finished(), limit, held) {
            Ok(Step::Message(message)) if message.seq == seq => Some(message.sample.taken),
            Ok(Step::Message(_) | Step::Lost(_) | Step::End) | Err(_) => None,
        }
    }

    /// The room of the disk that the spool is on; `None`: the file system does not tell, as some of the network do.
    #[must_use]
    pub fn space(&self) -> Option<Space> {
        let claim = self.claim.as_ref()?;
        let disk = rustix::fs::fstatvfs(claim.folder()).ok()?;
        let total = disk.f_blocks.checked_mul(disk.f_frsize).filter(|total| *total > 0)?;
        // Where more is used than the user may, some tell a negative number of free blocks.
        Some(Space { free: disk.f_bavail.min(disk.f_blocks).saturating_mul(disk.f_frsize), total })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{append, config, folder, open, samples};
    use super::*;
    use std::time::Instant;

    #[test]
    fn looking_tells_the_oldest_message_and_takes_nothing_from_who_reads() {
        let folder = folder();
        let mut spool = open(&config(folder.path())).unwrap();
        assert_eq!((spool.oldest_seq(), spool.peek(spool.oldest_seq())), (Seq(1), None));
        append(&mut spool, &samples(1..=5));
        let second = spool.peek(Seq(2)).unwrap();

        spool.finish(Seq(1), Instant::now());

        assert_eq!((spool.oldest_seq(), spool.peek(Seq(2)), spool.peek(Seq(6))), (Seq(2), Some(second), None));
        let next = spool.next(Instant::now(), |_| ()).unwrap().unwrap();
        assert_eq!((next.seq, next.sample.taken), (Seq(2), second));
        let space = spool.space().unwrap();
        assert!(space.free <= space.total, "{space:?}");
    }
}
