//! How values become bytes: the one file that knows the encoding.
//!
//! Kit-owned. The format is bincode's, through serde. To change it, change this file.

use std::fmt::{self, Display};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes that are not an encoding of the expected type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(String);

impl Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed bytes: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// Encodes a value.
///
/// # Panics
///
/// When the value's own `Serialize` fails, as that of a map of unknown length does.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    match bincode::serde::encode_to_vec(value, bincode::config::standard()) {
        Ok(bytes) => bytes,
        Err(error) => panic!("a value of type {} cannot be encoded: {error}", std::any::type_name::<T>()),
    }
}

/// Decodes a value that [`encode`] encoded.
///
/// # Errors
///
/// When `bytes` is not exactly one encoded `T`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Malformed> {
    match bincode::serde::decode_from_slice(bytes, bincode::config::standard()) {
        Ok((value, used)) if used == bytes.len() => Ok(value),
        Ok((_, used)) => Err(Malformed(format!("{} bytes left over", bytes.len() - used))),
        Err(error) => Err(Malformed(error.to_string())),
    }
}
