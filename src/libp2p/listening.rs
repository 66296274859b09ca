//! One listener of the transport, from the look-up of its name to its end.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use libp2p_core::transport::{ListenerId, TransportEvent};
use multiaddr::Multiaddr;

use super::handshakes::{ListenerUpgrade, Places};
use super::interfaces::Interfaces;
use crate::addr::{Host, WsAddr};
use crate::error::Error;
use crate::listen::{Incoming, ListenOptions, Listener};
use crate::sleep::Sleep;

/// Time between a failed accept and the next, so that a broken socket does not keep its task busy: 1 s.
const REST: Duration = Duration::from_secs(1);

/// Failed accepts in a row after which the listener is closed, which its owner is told, and can mend: 10.
const MAX_FAILURES: u32 = 10;

pub(super) type Event = TransportEvent<ListenerUpgrade, Error>;

type Bind = Pin<Box<dyn Future<Output = Result<Listener, Error>> + Send>>;

/// One listener of the transport.
///
/// ```text
///           bind            remove, or the socket fails for good
/// Binding ────────► Bound ──────────────────────────────────────► Closed
///    │                                                              ▲
///    └──────────────────────────────────────────────────────────────┘
///                   remove, or the look-up or the bind fails
/// ```
pub(super) struct Listening {
    id: ListenerId,
    state: State,
    /// Reported before anything else is done.
    events: VecDeque<Event>,
    places: Arc<Places>,
}

enum State {
    /// A name or a zone is looked up.
    Binding(Bind),
    Bound(Box<Bound>),
    Closed,
}

impl Listening {
    /// Begins to listen; an IP address without a zone needs no look-up, and is bound when this returns.
    pub(super) fn begin(
        id: ListenerId,
        options: ListenOptions,
        addr: WsAddr,
        places: Arc<Places>,
    ) -> Result<Self, Error> {
        let look_up = matches!(addr.host(), Host::Dns { .. } | Host::Ip6 { zone: Some(_), .. });
        let mut bind: Bind = Box::pin(async move { options.bind(addr).await });
        let mut listening = Listening { id, state: State::Closed, events: VecDeque::new(), places };
        if !look_up && let Poll::Ready(listener) = bind.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            listening.bound(listener?);
        } else {
            listening.state = State::Binding(bind);
        }
        Ok(listening)
    }

    pub(super) fn id(&self) -> ListenerId {
        self.id
    }

    /// Frees the port; returns whether there was one to free. The handshakes under way go on.
    pub(super) fn close(&mut self, reason: Result<(), Error>) -> bool {
        if matches!(self.state, State::Closed) {
            return false;
        }
        self.state = State::Closed;
        // All addresses expire with their listener, those not announced yet too.
        self.events.clear();
        self.events.push_back(TransportEvent::ListenerClosed { listener_id: self.id, reason });
        true
    }

    /// What happens next; `None` once it is closed and has said so.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(Some(event));
            }
            match &mut self.state {
                State::Closed => return Poll::Ready(None),
                State::Binding(bind) => match ready!(bind.as_mut().poll(cx)) {
                    Ok(listener) => self.bound(listener),
                    Err(error) => drop(self.close(Err(error))),
                },
                State::Bound(bound) => match ready!(bound.poll(&self.places, cx)) {
                    Step::Addresses(addresses) => self.events.extend(bound.announce(self.id, addresses)),
                    Step::Accepted(incoming) => {
                        let local_addr = bound.local_addr(&incoming);
                        let send_back_addr = incoming.remote_multiaddr();
                        let upgrade = ListenerUpgrade::new(incoming, self.places.take());
                        let listener_id = self.id;
                        let event = TransportEvent::Incoming { listener_id, upgrade, local_addr, send_back_addr };
                        return Poll::Ready(Some(event));
                    }
                    Step::Failed(error) => {
                        self.events.push_back(TransportEvent::ListenerError { listener_id: self.id, error });
                    }
                    Step::Broken(error) => drop(self.close(Err(error))),
                },
            }
        }
    }

    fn bound(&mut self, listener: Listener) {
        let interfaces = listener.interfaces().map(Interfaces::new);
        self.state = State::Bound(Box::new(Bound::new(listener, interfaces)));
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state: &dyn fmt::Debug = match &self.state {
            State::Binding(_) => &"binding",
            State::Bound(bound) => &bound.listener,
            State::Closed => &"closed",
        };
        f.debug_struct("Listening").field("id", &self.id).field("state", state).finish_non_exhaustive()
    }
}

/// A listener with its sockets.
struct Bound {
    listener: Listener,
    /// Set exactly if a wildcard is bound.
    interfaces: Option<Interfaces>,
    /// What was announced and has not expired.
    announced: Vec<Multiaddr>,
    /// Whether the addresses were asked for: no connection is to come from one that was not announced.
    asked: bool,
    /// Accepts that failed in a row.
    failures: u32,
    /// Fires when accepting may be tried again.
    rest: Option<Sleep>,
    /// How long a rest is.
    rest_time: Duration,
}

/// What happened to a bound listener.
enum Step {
    /// All addresses that there are now.
    Addresses(Vec<Multiaddr>),
    Accepted(Incoming),
    /// Something failed that may go well the next time.
    Failed(Error),
    /// Accepting fails for good.
    Broken(Error),
}

impl Bound {
    fn new(listener: Listener, interfaces: Option<Interfaces>) -> Self {
        Bound { listener, interfaces, announced: Vec::new(), asked: false, failures: 0, rest: None, rest_time: REST }
    }

    fn poll(&mut self, places: &Places, cx: &mut Context<'_>) -> Poll<Step> {
        if let Poll::Ready(step) = self.poll_addresses(cx) {
            return Poll::Ready(step);
        }
        if !self.asked {
            return Poll::Pending;
        }
        // While no place is free nobody is accepted, and clients wait in the kernel's queue.
        ready!(places.poll_free(cx));
        if let Some(rest) = &mut self.rest {
            ready!(Pin::new(rest).poll(cx));
            self.rest = None;
        }
        Poll::Ready(match ready!(self.listener.poll_accept(cx)) {
            Ok(incoming) => {
                self.failures = 0;
                Step::Accepted(incoming)
            }
            Err(error) => {
                self.failures += 1;
                if self.failures >= MAX_FAILURES {
                    return Poll::Ready(Step::Broken(error));
                }
                self.rest = Some(Sleep::after(self.rest_time));
                Step::Failed(error)
            }
        })
    }

    /// The addresses, once where they cannot change, else as often as the interfaces are asked.
    fn poll_addresses(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let addresses = match &mut self.interfaces {
            Some(interfaces) => match ready!(interfaces.poll_answer(cx)) {
                Ok(hosts) => Ok(self.listener.addresses_at(hosts)),
                Err(error) => Err(self.listener.error(error)),
            },
            None if self.asked => return Poll::Pending,
            None => self.listener.addresses(),
        };
        self.asked = true;
        Poll::Ready(addresses.map_or_else(Step::Failed, Step::Addresses))
    }

    /// Puts `addresses` in place of those announced before; returns what this changes.
    fn announce(&mut self, listener_id: ListenerId, addresses: Vec<Multiaddr>) -> Vec<Event> {
        let before = std::mem::replace(&mut self.announced, addresses.clone());
        let gone = before.iter().filter(|addr| !addresses.contains(addr)).cloned();
        let new = addresses.iter().filter(|addr| !before.contains(addr)).cloned();
        let gone = gone.map(|listen_addr| TransportEvent::AddressExpired { listener_id, listen_addr });
        let new = new.map(|listen_addr| TransportEvent::NewAddress { listener_id, listen_addr });
        gone.chain(new).collect()
    }

    /// The address that the client came to, in the form in which it is announced.
    fn local_addr(&self, incoming: &Incoming) -> Multiaddr {
        let host = match &self.interfaces {
            Some(_) => incoming.local_addr().ok().map(Host::from),
            None => None,
        };
        let at = |host| self.listener.addresses_at(vec![host]).pop();
        // What cannot be asked any more is gone, and so will the connection be.
        host.and_then(at).or_else(|| self.announced.first().cloned()).unwrap_or_else(Multiaddr::empty)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::Ipv4Addr;
    use std::sync::Mutex;

    use futures_lite::future::{block_on, poll_fn};

    use super::*;
    use crate::error::Phase;

    fn listening(listener: Listener, interfaces: Option<Interfaces>) -> Listening {
        let bound = Bound { rest_time: Duration::from_millis(1), ..Bound::new(listener, interfaces) };
        let state = State::Bound(Box::new(bound));
        Listening { id: ListenerId::next(), state, events: VecDeque::new(), places: Places::new(8) }
    }

    fn next(listening: &mut Listening) -> Option<Event> {
        block_on(poll_fn(|cx| listening.poll(cx)))
    }

    fn host(last: u8) -> Host {
        Host::Ip4(Ipv4Addr::new(192, 0, 2, last))
    }

    /// A wildcard listener on a machine whose interfaces are what the test says, and its port.
    fn with_interfaces(answer: &Arc<Mutex<Result<Vec<Host>, io::ErrorKind>>>) -> (Listening, u16) {
        let listener = block_on(Listener::bind("/ip4/0.0.0.0/tcp/0/ws/http-path/p2p")).unwrap();
        let port = listener.local_addrs().unwrap()[0].port();
        let answer = answer.clone();
        let ask = move || answer.lock().unwrap().clone().map_err(io::Error::from);
        (listening(listener, Some(Interfaces::with_period(ask, Duration::from_millis(1)))), port)
    }

    #[test]
    fn addresses_that_come_and_go_are_announced_and_expire() {
        let answer = Arc::new(Mutex::new(Ok(vec![host(1), host(2)])));
        let (mut listening, port) = with_interfaces(&answer);
        let addr = |last: u8| format!("/ip4/192.0.2.{last}/tcp/{port}/ws/http-path/p2p").parse::<Multiaddr>().unwrap();
        let mut new = || next(&mut listening).unwrap().into_new_address();
        assert_eq!(new(), Some(addr(1)));
        assert_eq!(new(), Some(addr(2)));

        *answer.lock().unwrap() = Ok(vec![host(2), host(3)]);
        assert_eq!(next(&mut listening).unwrap().into_address_expired(), Some(addr(1)));
        assert_eq!(next(&mut listening).unwrap().into_new_address(), Some(addr(3)));

        *answer.lock().unwrap() = Ok(Vec::new());
        assert_eq!(next(&mut listening).unwrap().into_address_expired(), Some(addr(2)));
        assert_eq!(next(&mut listening).unwrap().into_address_expired(), Some(addr(3)));
    }

    #[test]
    fn interfaces_that_cannot_be_asked_are_an_error_that_ends_nothing() {
        let answer = Arc::new(Mutex::new(Err(io::ErrorKind::PermissionDenied)));
        let (mut listening, port) = with_interfaces(&answer);
        let error = next(&mut listening).unwrap().into_listener_error().unwrap();
        assert_eq!(error.phase(), Phase::Listen);
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::PermissionDenied);

        let _client = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let (local_addr, mut errors) = loop {
            match next(&mut listening).unwrap() {
                TransportEvent::Incoming { local_addr, .. } => break (local_addr, 0),
                TransportEvent::ListenerError { .. } => {}
                event => panic!("{event:?}"),
            }
        };
        assert_eq!(local_addr.to_string(), format!("/ip4/127.0.0.1/tcp/{port}/ws/http-path/p2p"));

        *answer.lock().unwrap() = Ok(vec![host(1)]);
        while next(&mut listening).unwrap().is_listener_error() {
            errors += 1;
            assert!(errors < 100);
        }
    }

    #[test]
    fn nobody_is_accepted_before_the_first_address_is_announced() {
        let answer = Arc::new(Mutex::new(Ok(vec![host(1)])));
        let (mut listening, port) = with_interfaces(&answer);
        let _client = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(next(&mut listening).unwrap().is_new_address());
        assert!(next(&mut listening).unwrap().is_upgrade());
    }

    #[test]
    fn only_wildcards_ask_for_interfaces() {
        for (addr, asks) in [
            ("/ip4/127.0.0.1/tcp/0/ws", false),
            ("/ip6/::1/tcp/0/ws", false),
            ("/ip4/0.0.0.0/tcp/0/ws", true),
            ("/ip6/::/tcp/0/ws", true),
        ] {
            let begun =
                Listening::begin(ListenerId::next(), ListenOptions::new(), addr.parse().unwrap(), Places::new(1));
            let State::Bound(bound) = begun.unwrap().state else { panic!("{addr} is bound at once") };
            assert_eq!(bound.interfaces.is_some(), asks, "{addr}");
        }
    }

    /// On Linux, a listening socket that was shut down refuses to accept for ever.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_socket_that_keeps_failing_is_reported_and_closed_in_the_end() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let same = socket.try_clone().unwrap();
        let mut listening = listening(Listener::from_std(socket, "/ip4/127.0.0.1/tcp/0/ws").unwrap(), None);
        assert!(next(&mut listening).unwrap().is_new_address());

        rustix::net::shutdown(&same, rustix::net::Shutdown::Both).unwrap();
        for _ in 1..MAX_FAILURES {
            let error = next(&mut listening).unwrap().into_listener_error().unwrap();
            assert_eq!(error.phase(), Phase::Listen);
        }
        let Some(TransportEvent::ListenerClosed { reason, .. }) = next(&mut listening) else { panic!("goes on") };
        assert_eq!(io::Error::from(reason.unwrap_err()).kind(), io::ErrorKind::InvalidInput);
        assert!(next(&mut listening).is_none());
    }
}
