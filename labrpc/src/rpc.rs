//! Remote procedure calls with typed messages.
//!
//! Kit-owned; students use [`Peer::call`]. A call blocks until it has an answer or it is certain that
//! none will come; a missing answer tells nothing about what happened at the other side.

use std::fmt::{self, Debug};
use std::panic::Location;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{decode, encode};
use crate::kernel::{Mode, NodeId, current};
use crate::net::Tap;

/// A type that can be sent as a request, and what answers it.
pub trait Request: Serialize + DeserializeOwned + Debug + Send + 'static {
    /// The type of the answer.
    type Reply: Serialize + DeserializeOwned + Debug + Send + 'static;

    /// A name for this kind of message, different from all others of the program.
    const KIND: &'static str;
}

/// A way for requests to reach another process; what a simulation replaces.
pub trait Transport: Send + Sync {
    /// Sends an encoded request and waits for the encoded reply; `None` when there is none to be had.
    fn call(&self, kind: &str, request: &[u8]) -> Option<Vec<u8>>;
}

/// Another node, as the node that holds this value can call it.
#[derive(Clone)]
pub struct Peer {
    route: Route,
}

#[derive(Clone)]
enum Route {
    Simulated(NodeId),
    Remote(Arc<dyn Transport>),
}

impl Peer {
    /// The node `node` of the simulation in which the peer is used.
    pub fn simulated(node: NodeId) -> Peer {
        Peer { route: Route::Simulated(node) }
    }

    /// A process that `transport` reaches.
    pub fn remote(transport: Arc<dyn Transport>) -> Peer {
        Peer { route: Route::Remote(transport) }
    }

    /// Sends `request`, waits, and returns the reply.
    ///
    /// Returns `None` when no reply came: the request may have been lost, or the reply, or the server
    /// may be down, slow or cut off. `None` never says which, and the request may have been carried
    /// out all the same. A call to a server that cannot be reached takes up to 7 s to return in lab 2, and
    /// up to 100 ms in lab 3. The network can deliver a request late, after others sent later, or more than
    /// once; a call returns once, with the first reply that arrives.
    ///
    /// Do not hold a lock across a call. A thread for each call is cheap, and there is no limit to their
    /// number.
    ///
    /// # Panics
    ///
    /// When the peer is one of a simulation and the caller runs outside of any.
    #[track_caller]
    pub fn call<R: Request>(&self, request: &R) -> Option<R::Reply> {
        match &self.route {
            Route::Simulated(to) => call_simulated(*to, request, Location::caller()),
            Route::Remote(transport) => decode(&transport.call(R::KIND, &encode(request))?).ok(),
        }
    }
}

fn call_simulated<R: Request>(to: NodeId, request: &R, at: &'static Location<'static>) -> Option<R::Reply> {
    let kernel = current().expect("a simulated peer can only be called inside its simulation");
    if kernel.step(at) == Mode::Unwinding {
        return None;
    }
    let answer = kernel.net.call(&kernel, to, R::KIND, encode(request), request, at)?;
    let reply: R::Reply = decode(answer.bytes()).expect("a reply is encoded by the kit itself");
    answer.delivered(&kernel, &reply);
    kernel.step(at);
    Some(reply)
}

impl Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.route {
            Route::Simulated(node) => write!(f, "Peer({})", node.0),
            Route::Remote(_) => f.write_str("Peer(remote)"),
        }
    }
}

type Handler = dyn Fn(&[u8], Option<&mut Tap>) -> Vec<u8> + Send + Sync;

/// The requests that a node answers.
#[derive(Default)]
pub struct Services {
    handlers: Vec<(&'static str, Box<Handler>)>,
}

impl Services {
    /// No services yet.
    pub fn new() -> Services {
        Services::default()
    }

    /// Adds the handler of requests of type `R`. Each request is handled on a thread of its own, so
    /// handlers run at the same time as each other.
    ///
    /// # Panics
    ///
    /// When requests of that kind have a handler already.
    #[must_use]
    pub fn with<R: Request>(mut self, handler: impl Fn(R) -> R::Reply + Send + Sync + 'static) -> Services {
        assert!(!self.offers(R::KIND), "requests of kind {} have a handler already", R::KIND);
        let handle = move |bytes: &[u8], tap: Option<&mut Tap>| {
            let request: R = decode(bytes).expect("a request is encoded by the kit itself");
            match tap {
                None => encode(&handler(request)),
                Some(tap) => {
                    tap.received(&request);
                    let reply = handler(request);
                    let bytes = encode(&reply);
                    tap.replied(&reply, &bytes);
                    bytes
                }
            }
        };
        self.handlers.push((R::KIND, Box::new(handle)));
        self
    }

    /// Adds all services of `other`.
    ///
    /// # Panics
    ///
    /// When both have a handler for requests of the same kind.
    #[must_use]
    pub fn and(mut self, other: Services) -> Services {
        for (kind, _) in &other.handlers {
            assert!(!self.offers(kind), "requests of kind {kind} have a handler already");
        }
        self.handlers.extend(other.handlers);
        self
    }

    /// Handles an encoded request and returns the encoded reply; `None` when there is no such service.
    /// This is what a server outside a simulation calls.
    ///
    /// # Panics
    ///
    /// When `request` is not an encoded request of that kind.
    pub fn dispatch(&self, kind: &str, request: &[u8]) -> Option<Vec<u8>> {
        self.offers(kind).then(|| self.answer(kind, request, None))
    }

    /// True if requests of this kind have a handler.
    pub fn offers(&self, kind: &str) -> bool {
        self.handlers.iter().any(|(offered, _)| *offered == kind)
    }

    pub(crate) fn answer(&self, kind: &str, request: &[u8], tap: Option<&mut Tap>) -> Vec<u8> {
        let (_, handler) = self.handlers.iter().find(|(offered, _)| *offered == kind).expect("offered");
        handler(request, tap)
    }
}
