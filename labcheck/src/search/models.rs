//! Two models: one key of a key-value store, and a register with compare-and-set.
//!
//! Kit-owned. Read `model.rs` first.

use std::marker::PhantomData;

use super::model::Model;

/// One key of a key-value store. It starts out empty, and every write succeeds.
///
/// Gets return the value; what a write returns is the empty string.
#[derive(Clone, Copy, Debug, Default)]
pub struct KvModel<'a>(PhantomData<&'a str>);

/// What a client asks of one key of a key-value store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KvCall<'a> {
    /// Reads the value.
    Get,
    /// Replaces it.
    Put(&'a str),
    /// Adds to its end.
    Append(&'a str),
}

/// A register with compare-and-set, which starts out without a value.
#[derive(Clone, Copy, Debug, Default)]
pub struct RegisterModel;

/// What a client asks of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegisterCall {
    /// Reads the value.
    Read,
    /// Replaces it.
    Write(i64),
    /// Replaces the first value by the second, if the register holds the first. One that found another
    /// value has failed, did not happen, and does not belong into a history.
    Cas(i64, i64),
}

impl<'a> Model for KvModel<'a> {
    type State = Box<str>;
    type Input = KvCall<'a>;
    type Output = &'a str;

    fn initial(&self) -> Box<str> {
        "".into()
    }

    fn step(&self, state: &Box<str>, call: &KvCall<'a>, output: Option<&&'a str>) -> Option<Box<str>> {
        match call {
            KvCall::Get => output.is_none_or(|value| **value == **state).then(|| state.clone()),
            KvCall::Put(value) => Some((*value).into()),
            KvCall::Append(value) => {
                let mut longer = String::with_capacity(state.len() + value.len());
                longer.push_str(state);
                longer.push_str(value);
                Some(longer.into())
            }
        }
    }

    fn is_read(&self, call: &KvCall<'a>) -> bool {
        *call == KvCall::Get
    }

    fn may_follow(&self, state: &Box<str>, call: &KvCall<'a>, value: &&'a str) -> bool {
        *call != KvCall::Get || value.starts_with(&**state)
    }

    fn may_start(&self, write: &KvCall<'a>, _: &KvCall<'a>, value: &&'a str) -> bool {
        matches!(write, KvCall::Put(first) if value.starts_with(first))
    }

    fn writes_always_succeed(&self) -> bool {
        true
    }

    /// Lays appends one behind the other, until they reach the end of the value.
    fn may_build(
        &self,
        state: Option<&Box<str>>,
        writes: &[&KvCall<'a>],
        _: &KvCall<'a>,
        value: &&'a str,
    ) -> bool {
        let starts = writes.iter().filter_map(|write| match write {
            KvCall::Put(first) if value.starts_with(first) => Some(first.len()),
            _ => None,
        });
        let mut ends: Vec<usize> = state.map(|state| state.len()).into_iter().chain(starts).collect();
        let mut next = 0;
        while let Some(&end) = ends.get(next) {
            if end == value.len() {
                return true;
            }
            next += 1;
            for write in writes {
                if let KvCall::Append(more) = write
                    && value.get(end..).is_some_and(|rest| rest.starts_with(more))
                    && !ends.contains(&(end + more.len()))
                {
                    ends.push(end + more.len());
                }
            }
        }
        false
    }

    fn writes_overwrite(&self) -> bool {
        true
    }

    fn size(&self, state: &Box<str>) -> usize {
        size_of_val(state) + state.len()
    }
}

impl Model for RegisterModel {
    type State = Option<i64>;
    type Input = RegisterCall;
    /// What a read returns: the value, if the register has one. Writes return `None`.
    type Output = Option<i64>;

    fn initial(&self) -> Option<i64> {
        None
    }

    fn step(
        &self,
        state: &Option<i64>,
        call: &RegisterCall,
        output: Option<&Option<i64>>,
    ) -> Option<Option<i64>> {
        match call {
            RegisterCall::Read => output.is_none_or(|value| value == state).then_some(*state),
            RegisterCall::Write(value) => Some(Some(*value)),
            RegisterCall::Cas(old, new) => (*state == Some(*old)).then_some(Some(*new)),
        }
    }

    /// A compare-and-set that replaces a value by itself changes nothing wherever it can be executed.
    fn is_read(&self, call: &RegisterCall) -> bool {
        match call {
            RegisterCall::Read => true,
            RegisterCall::Write(_) => false,
            RegisterCall::Cas(old, new) => old == new,
        }
    }

    fn may_follow(&self, state: &Option<i64>, call: &RegisterCall, output: &Option<i64>) -> bool {
        self.step(state, call, Some(output)).is_some()
    }

    fn may_start(&self, write: &RegisterCall, call: &RegisterCall, output: &Option<i64>) -> bool {
        match write {
            RegisterCall::Read => false,
            RegisterCall::Write(new) | RegisterCall::Cas(_, new) => {
                self.may_follow(&Some(*new), call, output)
            }
        }
    }

    fn writes_overwrite(&self) -> bool {
        true
    }
}
