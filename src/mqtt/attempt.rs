//! An attempt to connect, from the first packet to the broker's answer, and what it says when it fails: where, and why.

use super::dial::{Dial, Verdict};
use super::failure::{self, Place};
use super::rings::{About, Pending};
use super::translate::{advised, refusal};
use super::{Link, dial};
use crate::delivery::Lost;
use log::debug;
use paho_mqtt::{ConnectOptions, Error, Token};

/// How far an attempt has come.
pub(super) enum Connecting {
    /// Somebody is to be reached first. The library is told the rest then.
    Dialing(Dial, Box<ConnectOptions>),
    /// The library is asked.
    Asked(Pending<Token>),
}

impl Link {
    /// Dialing has come to an end: the library takes over.
    ///
    /// # Errors
    /// [`Lost`]: nobody could be reached.
    pub(super) fn dialed(&mut self) -> Result<(), Lost> {
        let (Some(Connecting::Dialing(dial, _)), Some(client)) = (&self.connecting, &self.client) else {
            return Ok(());
        };
        let (Some(outcome), remaining) = (dial.outcome(), dial.remaining()) else { return Ok(()) };
        let Some(Connecting::Dialing(_, options)) = self.connecting.take() else { return Ok(()) };
        let (socket, peer) = outcome.map_err(|unreached| self.unreached(&unreached))?;
        debug!("reached {peer} for {}", self.address);
        self.peer = Some(peer);
        paho_mqtt_sys::attempt::give(socket, remaining);
        self.connecting = Some(Connecting::Asked(self.bell().wait_for(client.connect(*options), About::Connect)));
        Ok(())
    }

    fn unreached(&self, unreached: &dial::Unreached) -> Lost {
        let address = &self.address;
        Lost::Passing(match &self.broker.proxy {
            None => format!("cannot reach {address}: {unreached}"),
            Some(proxy) => format!("no connection to {address}: cannot reach the proxy {proxy}: {unreached}"),
        })
    }

    /// The library says that the attempt has failed.
    pub(super) fn refused(&mut self, error: &Error) -> Lost {
        if let Some(peer) = self.peer {
            self.dialer.judge(peer, Verdict::Fruitless);
        }
        let has_answered = matches!(error, Error::ConnectReturn(_) | Error::ReasonCode(..));
        let below = if has_answered { None } else { failure::of_connect(&self.broker, &self.place()) };
        below.unwrap_or_else(|| {
            let lost = refusal(error, &self.place(), &self.broker, &self.client_id);
            advised(lost, &self.profile.credentials)
        })
    }

    /// The connection has ended; `text` says why where nobody else knows it.
    pub(super) fn ended(&self, text: &str) -> Lost {
        Lost::Ended(failure::of_loss(&self.place(), text))
    }

    /// Where the present connection goes.
    fn place(&self) -> Place<'_> {
        Place { address: &self.address, peer: self.peer.filter(|_| self.broker.proxy.is_none()) }
    }
}
