//! Faults that tests plant, to see that the simulator finds them. Without tests there are none.

/// A fault of the kind that slips into such code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// The journal is not written before a publish.
    JournalLate,
    /// The rate is not asked.
    RateForgotten,
    /// The broker's Receive Maximum is not kept.
    ReceiveMaximumForgotten,
    /// The status message does not count as in flight.
    StatusNotCounted,
    /// What the session has on its way is published as new when it resumes.
    ResumedPublishedAnew,
    /// A message is set aside without another one that the broker takes.
    SetAsideWithoutControl,
    /// A message that the broker refuses is never set aside.
    NeverSetAside,
    /// What was in flight when a connection was lost counts as delivered.
    LossTakenForDelivery,
    /// A connection is tried again without a delay.
    BackOffForgotten,
    /// A message that is too old is dropped, and not counted.
    DropNotCounted,
    /// A deadline stays in the past.
    DeadlineInThePast,
    /// A deadline that passes soon after it was asked for is not waited for.
    WakeUpForgotten,
    /// A message that was tried for the broker and for its topic, and is refused, counts as answered for one of them only.
    TryForgotten,
    /// A message that connections end over is set aside, whatever the broker did with others.
    ConvictedWithoutControl,
    /// A message that is too old counts as acknowledged as well.
    CountedTwice,
}

/// Whether this fault is planted.
#[cfg(not(test))]
#[inline]
pub const fn is_planted(_: Planted) -> bool {
    false
}

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Planted>> = const { std::cell::Cell::new(None) };
}

/// Whether this fault is planted in this thread.
#[cfg(test)]
pub fn is_planted(fault: Planted) -> bool {
    PLANTED.get() == Some(fault)
}

/// Plants a fault in this thread, or none.
#[cfg(test)]
pub fn plant(fault: Option<Planted>) {
    PLANTED.set(fault);
}
