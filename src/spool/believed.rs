//! Which numbers a spool's folder is believed. Pure.
//!
//! New messages are counted on from the highest number found, and what they get must be believed at the next start: a
//! number without room behind it is none. A stream never gets this far by itself, so such a number is damage or forged.

use crate::message::Seq;

/// The last number believed by itself: behind it lies room for as many messages again as a stream can ever have.
const UNVOUCHED: Seq = Seq(Seq::LAST.0 / 2);
/// The last number that a segment with a sound header vouches for. Every number that the agent gives out stands in such a
/// segment; between this bound and the former lies what it gives out after it has believed the former.
const VOUCHED: Seq = Seq(Seq::LAST.0 / 4 * 3);
/// How far behind its first number a segment vouches: more than the largest one holds.
const SPAN: u64 = 1 << 32;

/// The last number that one folder is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Believed(Seq);

impl Default for Believed {
    /// What is believed without a segment.
    fn default() -> Self {
        Believed(UNVOUCHED)
    }
}

impl Believed {
    /// What is believed beside segments with these first numbers, in order, of which some have a sound header.
    pub fn beside(firsts: impl DoubleEndedIterator<Item = Seq>, is_sound: impl Fn(Seq) -> bool) -> Believed {
        let mut vouching =
            firsts.rev().skip_while(|first| *first > VOUCHED).take_while(|first| first.0 + SPAN > UNVOUCHED.0);
        Believed(vouching.find(|first| is_sound(*first)).map_or(UNVOUCHED, |first| Seq(first.0 + SPAN).max(UNVOUCHED)))
    }

    /// Whether this number is believed.
    pub fn has(self, seq: Seq) -> bool {
        seq <= self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_last_number_believed_is_believed_beside_its_segment() {
        let beside = |firsts: &[Seq]| Believed::beside(firsts.iter().copied(), |first| first != Seq(UNVOUCHED.0 + 9));
        let alone = beside(&[]);
        assert!(alone.has(UNVOUCHED) && !alone.has(UNVOUCHED.next()) && !alone.has(Seq::LAST));

        let vouched = beside(&[Seq::FIRST, UNVOUCHED.next(), Seq::LAST]);

        assert!(vouched.has(Seq(UNVOUCHED.0 + SPAN)) && !vouched.has(Seq::LAST));
        assert_eq!(beside(&[Seq::FIRST, Seq(UNVOUCHED.0 + 9), Seq::LAST, Seq(u64::MAX)]), alone);
    }
}
