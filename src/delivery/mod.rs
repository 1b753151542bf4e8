//! How messages are delivered: what may be sent, when to connect, what a broker's answers mean. Pure: no clock, disk, socket or
//! thread.

pub mod backoff;
mod event;
pub mod members;
pub mod packet;
pub mod rate;
mod times;

pub use event::{Connected, Event, Lost, NotPublished, Publish, Refusal};
pub use times::Dated;
