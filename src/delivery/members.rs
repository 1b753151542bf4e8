//! Which broker is tried next, where the configuration names several.
//!
//! They are tried in order, one round after the other; the back-off counts rounds. A pure state machine.

use super::Lost;
use crate::config::Address;

/// The brokers, and where the present round stands.
#[derive(Debug)]
pub struct Members {
    /// At least one.
    addresses: Vec<Address>,
    /// Which one is tried or connected to.
    present: usize,
    /// How many have failed in this round.
    failed: usize,
    /// How many of those refuse us for good, or cannot be asked.
    refused: usize,
    /// Whether one of them could not be asked.
    is_unusable: bool,
}

/// What follows after a connection has ended or none came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The next member is tried at once.
    Next,
    /// All members have failed, or a connection that had held was lost: the back-off decides when a new round begins.
    Round,
    /// All members refuse us: no new round can help.
    Refused,
    /// The same, but at least one could not even be asked, for a file of ours cannot be used.
    Unusable,
}

impl Members {
    /// Members whose first round begins with the one of this index.
    pub fn new(addresses: Vec<Address>, first: usize) -> Self {
        Self { addresses, present: first, failed: 0, refused: 0, is_unusable: false }
    }

    /// The member that is tried or connected to.
    pub fn present(&self) -> &Address {
        &self.addresses[self.present]
    }

    /// The index of [`Members::present`].
    pub fn index(&self) -> usize {
        self.present
    }

    /// Whether none has failed in the present round.
    pub fn begins_round(&self) -> bool {
        self.failed == 0
    }

    /// Whether there is more than one.
    pub fn are_several(&self) -> bool {
        self.addresses.len() > 1
    }

    /// Notes that the present member is lost. `held`: whether its connection had proved itself. `first`: the member that
    /// a new round begins with.
    pub fn lost(&mut self, lost: &Lost, held: bool, first: usize) -> Turn {
        match lost {
            Lost::Again(_) => return Turn::Round,
            Lost::Moved(_) if held => {
                self.begin((self.present + 1) % self.addresses.len());
                return Turn::Round;
            }
            _ if held => {
                self.begin(first);
                return Turn::Round;
            }
            Lost::Refused(_) => self.refused += 1,
            Lost::Unusable(_) => (self.refused, self.is_unusable) = (self.refused + 1, true),
            Lost::Moved(_)
            | Lost::Passing(_)
            | Lost::Ended(_)
            | Lost::Unanswered(_)
            | Lost::Blamed(..)
            | Lost::Will(..) => {}
        }
        self.failed += 1;
        if self.failed < self.addresses.len() {
            self.present = (self.present + 1) % self.addresses.len();
            return Turn::Next;
        }
        let turn = match (self.refused == self.addresses.len(), self.is_unusable) {
            (true, false) => Turn::Refused,
            (true, true) => Turn::Unusable,
            (false, _) => Turn::Round,
        };
        self.begin(first);
        turn
    }

    fn begin(&mut self, first: usize) {
        (self.present, self.failed, self.refused, self.is_unusable) = (first, 0, 0, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Query, Scheme};
    use proptest::prelude::*;

    fn members(count: u16) -> Members {
        let address = |port| Address {
            scheme: Scheme::Mqtt,
            host: "h".to_owned(),
            port,
            path: String::new(),
            query: Query::default(),
        };
        Members::new((0..count).map(address).collect(), 0)
    }

    fn passing() -> Lost {
        Lost::Passing("away".to_owned())
    }

    fn refused() -> Lost {
        Lost::Refused("no".to_owned())
    }

    #[test]
    fn a_round_tries_every_member_once_and_in_order() {
        let mut members = members(3);

        let turns: Vec<_> = (0..6).map(|_| (members.index(), members.lost(&passing(), false, 0))).collect();

        let round = [(0, Turn::Next), (1, Turn::Next), (2, Turn::Round)];
        assert_eq!(turns, [round, round].concat());
    }

    #[test]
    fn the_first_is_preferred_again_after_a_connection_that_held() {
        let mut members = members(3);
        members.lost(&passing(), false, 0);

        let turn = members.lost(&Lost::Ended("gone".to_owned()), true, 0);

        assert_eq!((turn, members.index()), (Turn::Round, 0));
    }

    #[test]
    fn a_member_that_sends_us_elsewhere_is_not_tried_first() {
        let mut members = members(3);

        let turn = members.lost(&Lost::Moved("moved".to_owned()), true, 0);

        assert_eq!((turn, members.index()), (Turn::Round, 1));
    }

    #[test]
    fn only_a_refusal_by_all_is_final() {
        let mut members = members(2);

        assert_eq!(members.lost(&refused(), false, 0), Turn::Next);
        assert_eq!(members.lost(&passing(), false, 0), Turn::Round);
        assert_eq!(members.lost(&refused(), false, 0), Turn::Next);
        assert_eq!(members.lost(&refused(), false, 0), Turn::Refused);
    }

    #[test]
    fn a_file_of_ours_that_cannot_be_used_is_no_brokers_refusal() {
        let unusable = Lost::Unusable("gone".to_owned());
        for (first, second) in [(&unusable, &refused()), (&refused(), &unusable), (&unusable, &unusable)] {
            let mut members = members(2);

            assert_eq!(members.lost(first, false, 0), Turn::Next);
            assert_eq!(members.lost(second, false, 0), Turn::Unusable);
            assert_eq!([members.lost(&refused(), false, 0), members.lost(&refused(), false, 0)][1], Turn::Refused);
        }
    }

    #[test]
    fn the_same_member_is_tried_again_when_it_is_to_forget_a_session() {
        let mut members = members(2);
        members.lost(&passing(), false, 0);

        let turn = members.lost(&Lost::Again("ended".to_owned()), false, 0);

        assert_eq!((turn, members.index()), (Turn::Round, 1));
    }

    proptest! {
        /// Whatever happens, at most as many attempts as there are members come without the back-off.
        #[test]
        fn the_back_off_is_asked_at_least_once_a_round(
            count in 1..6_u16,
            events in prop::collection::vec((0..6_u8, any::<bool>(), any::<prop::sample::Index>()), 1..100),
        ) {
            let mut members = members(count);
            let mut in_a_row = 0;
            for (kind, held, first) in events {
                let lost = match kind {
                    0 => passing(),
                    1 => refused(),
                    2 => Lost::Moved(String::new()),
                    3 => Lost::Again(String::new()),
                    4 => Lost::Unusable(String::new()),
                    _ => Lost::Blamed(crate::delivery::Fault::Other, String::new()),
                };
                match members.lost(&lost, held, first.index(usize::from(count))) {
                    Turn::Next => in_a_row += 1,
                    Turn::Round | Turn::Refused | Turn::Unusable => in_a_row = 0,
                }
                prop_assert!(in_a_row < count);
                prop_assert!(members.index() < usize::from(count));
            }
        }
    }
}
