//! What can be dialed and listened on.

use multiaddr::Multiaddr;

use crate::addr::WsAddr;
use crate::error::{Error, Phase};

/// What [`Dialer::dial`](crate::Dialer::dial) and [`Listener::bind`](crate::Listener::bind) take as an address.
///
/// A [`WsAddr`], a [`Multiaddr`], or the text of one. As [`std::net::ToSocketAddrs`], it is rarely called by hand.
pub trait ToWsAddr {
    /// The address; an [`Error`] of [`Phase::Address`] if it is none that this crate can dial or listen on.
    fn to_ws_addr(self) -> Result<WsAddr, Error>;
}

impl ToWsAddr for WsAddr {
    fn to_ws_addr(self) -> Result<WsAddr, Error> {
        Ok(self)
    }
}

impl ToWsAddr for &WsAddr {
    fn to_ws_addr(self) -> Result<WsAddr, Error> {
        Ok(self.clone())
    }
}

impl ToWsAddr for &Multiaddr {
    fn to_ws_addr(self) -> Result<WsAddr, Error> {
        WsAddr::try_from(self).map_err(|cause| Error::new(Phase::Address, cause).with_address(self.clone()))
    }
}

impl ToWsAddr for Multiaddr {
    fn to_ws_addr(self) -> Result<WsAddr, Error> {
        (&self).to_ws_addr()
    }
}

impl ToWsAddr for &str {
    fn to_ws_addr(self) -> Result<WsAddr, Error> {
        self.parse::<WsAddr>().map_err(|cause| {
            let error = Error::new(Phase::Address, cause);
            match self.parse() {
                Ok(multiaddr) => error.with_address(multiaddr),
                Err(_) => error,
            }
        })
    }
}

impl ToWsAddr for &String {
    fn to_ws_addr(self) -> Result<WsAddr, Error> {
        self.as_str().to_ws_addr()
    }
}

impl ToWsAddr for String {
    fn to_ws_addr(self) -> Result<WsAddr, Error> {
        self.as_str().to_ws_addr()
    }
}
