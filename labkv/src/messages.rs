//! What passes between the clients and the servers of the service.
//!
//! Kit-owned. A client may have to send a request several times, to several servers. The pair of client and
//! number says that it is still the same operation.

use std::fmt::{self, Debug, Formatter};

use labrpc::Request;
use serde::{Deserialize, Serialize};

/// A client's name: any number that no other client has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientId(pub u64);

/// A client asks for the value of a key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetArgs {
    /// The key.
    pub key: String,
    /// Who asks.
    pub client: ClientId,
    /// The operation's number among those of this client. It grows from operation to operation, and stays
    /// the same when a request is sent again.
    pub number: u64,
}

/// The answer to [`GetArgs`]: the value, empty when the key has none.
pub type GetReply = Result<String, WrongLeader>;

/// A client changes the value of a key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutAppendArgs {
    /// The key.
    pub key: String,
    /// What to do with its value.
    pub write: Write,
    /// Who asks.
    pub client: ClientId,
    /// The operation's number; see [`GetArgs::number`].
    pub number: u64,
}

/// A change of one value.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Write {
    /// This is the new value.
    Put(String),
    /// This is added to the end of the value.
    Append(String),
}

/// The answer to [`PutAppendArgs`].
pub type PutAppendReply = Result<(), WrongLeader>;

/// A server is not the leader, or cannot tell what became of the operation: it may be applied yet, by this
/// server and all others. The client asks another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrongLeader;

impl Request for GetArgs {
    type Reply = GetReply;
    const KIND: &'static str = "Get";
}

impl Request for PutAppendArgs {
    type Reply = PutAppendReply;
    const KIND: &'static str = "PutAppend";
}

// How messages read in traces and reports.

impl Debug for ClientId {
    /// In hexadecimal; of a long name the first four digits.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let digits = format!("{:x}", self.0);
        match digits.get(..4) {
            Some(first) if digits.len() > 6 => write!(f, "{first}.."),
            _ => f.write_str(&digits),
        }
    }
}

impl Debug for GetArgs {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Get({:?}), {} of {:?}", self.key, self.number, self.client)
    }
}

impl Debug for PutAppendArgs {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (name, value) = match &self.write {
            Write::Put(value) => ("Put", value),
            Write::Append(value) => ("Append", value),
        };
        write!(f, "{name}({:?}, {value:?}), {} of {:?}", self.key, self.number, self.client)
    }
}

impl Debug for Write {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Write::Put(value) => write!(f, "put {value:?}"),
            Write::Append(value) => write!(f, "append {value:?}"),
        }
    }
}
