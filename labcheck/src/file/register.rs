//! Judges the registers of a history file, and reports on them.
//!
//! Kit-owned. Read `mod.rs` first.

use super::Answer;
use super::events::{Answer as Returned, Call, End, Recorded};
use crate::explain::{self, CoreOp, Role};
use crate::history::OpId;
use crate::operations::{Event, KeyOps, Kind, NEVER, Op};
use crate::proof::Proof;
use crate::report::{self, Book, Piece, Sheet, Shown, Tokens};
use crate::search::{self, Operation, RegisterCall, RegisterModel};
use crate::unique::{self, Decision};
use crate::verdict::{Limits, Undecided, Verdict};

type RegisterOperation = Operation<RegisterCall, Option<i64>>;

/// One register: the places of its operations in the file, and what they are.
#[derive(Default)]
struct Register<'a> {
    key: &'a str,
    /// How many operations there are, with those that tell nothing.
    recorded: usize,
    places: Vec<usize>,
    operations: Vec<RegisterOperation>,
}

/// The verdict on all registers, and the report.
pub(super) fn check(recorded: &[Recorded], keys: usize, limits: Limits) -> (Answer, String) {
    let registers = split(recorded);
    let verdict = judge(&registers, limits);
    let report = match &verdict {
        Verdict::Linearizable => report::linearizable("Register history", recorded.len(), keys),
        Verdict::Unknown(reason) => report::undecided("Register history", reason),
        Verdict::Illegal(found) => {
            let (number, proof) = &**found;
            illegal(recorded, &registers[*number], proof)
        }
    };
    (Answer::of(&verdict), report)
}

fn split(recorded: &[Recorded]) -> Vec<Register<'_>> {
    let mut registers: Vec<Register<'_>> = Vec::new();
    let mut numbers = search::FastMap::default();
    for (place, record) in recorded.iter().enumerate() {
        let number = *numbers.entry(record.key.as_str()).or_insert(registers.len());
        if number == registers.len() {
            registers.push(Register { key: &record.key, ..Register::default() });
        }
        let register = &mut registers[number];
        register.recorded += 1;
        let Call::Register(input) = record.call else { continue };
        let outcome = match &record.returned {
            Some((_, End::Fail)) => continue,
            Some((line, End::Ok(Returned::Number(value)))) => Some((*line as u64, *value)),
            Some((line, End::Ok(_))) => Some((*line as u64, None)),
            Some((_, End::Info)) | None => None,
        };
        register.places.push(place);
        register.operations.push(Operation { input, called: record.called as u64, outcome });
    }
    registers
}

/// Registers without compare-and-set whose writes are unique are decided by engine A, all others by search.
fn judge(registers: &[Register<'_>], limits: Limits) -> Verdict<(usize, Proof)> {
    let mut to_search = Vec::new();
    for (number, register) in registers.iter().enumerate() {
        let texts = register.texts();
        match register.as_key(&texts).map(|key| unique::decide(&key)) {
            Some(Decision::Linearizable) => {}
            Some(Decision::Illegal(proof)) => return Verdict::Illegal(Box::new((number, proof))),
            Some(Decision::NotCertified(reason)) => {
                return Verdict::Unknown(Undecided::NotCertified { reason });
            }
            Some(Decision::NotApplicable) | None => to_search.push(number),
        }
    }
    let histories: Vec<&[RegisterOperation]> =
        to_search.iter().map(|&number| registers[number].operations.as_slice()).collect();
    match search::check_in_turn(&histories, &RegisterModel, limits) {
        Verdict::Linearizable => Verdict::Linearizable,
        Verdict::Unknown(reason) => Verdict::Unknown(reason),
        Verdict::Illegal(found) => {
            let (turn, core) = *found;
            let number = to_search[turn];
            Verdict::Illegal(Box::new((number, registers[number].explain(&core.operations))))
        }
    }
}

impl Register<'_> {
    /// What each operation wrote or read, as text.
    fn texts(&self) -> Vec<String> {
        let text = |operation: &RegisterOperation| match (operation.input, &operation.outcome) {
            (RegisterCall::Write(new) | RegisterCall::Cas(_, new), _) => new.to_string(),
            (RegisterCall::Read, Some((_, Some(value)))) => value.to_string(),
            (RegisterCall::Read, _) => String::new(),
        };
        self.operations.iter().map(text).collect()
    }

    /// The same history with gets and puts, if it has no compare-and-set.
    fn as_key<'a>(&self, texts: &'a [String]) -> Option<KeyOps<'a>> {
        let mut key = KeyOps::default();
        let mut events = Vec::new();
        for ((operation, value), &place) in self.operations.iter().zip(texts).zip(&self.places) {
            let kind = match operation.input {
                RegisterCall::Read if operation.outcome.is_none() => continue,
                RegisterCall::Read => Kind::Get,
                RegisterCall::Write(_) => Kind::Put,
                RegisterCall::Cas(..) => return None,
            };
            let returned = operation.outcome.map_or(NEVER, |(line, _)| line as u32);
            let called = operation.called as u32;
            events.push((called, Event::call(key.ops.len())));
            if returned != NEVER {
                events.push((returned, Event::ret(key.ops.len())));
            }
            key.ops.push(Op { kind, value, called, returned, place: place as u32 });
        }
        events.sort_unstable_by_key(|(line, _)| *line);
        key.events.extend(events.into_iter().map(|(_, event)| event));
        Some(key)
    }

    fn explain(&self, core: &[usize]) -> Proof {
        let texts = self.texts();
        let core_op = |&place: &usize| {
            let operation = &self.operations[place];
            CoreOp {
                id: OpId::at(self.places[place]),
                called: operation.called,
                returned: operation.outcome.map(|(line, _)| line),
                role: match operation.input {
                    RegisterCall::Read => Role::Read(&texts[place]),
                    RegisterCall::Write(_) | RegisterCall::Cas(..) => Role::Write(&texts[place]),
                },
            }
        };
        let core: Vec<CoreOp<'_>> = core.iter().map(core_op).collect();
        explain::argue(&core, |written, read| written == read)
    }
}

fn illegal(recorded: &[Recorded], register: &Register<'_>, proof: &Proof) -> String {
    let subject = match register.key {
        "" => "Register history".to_owned(),
        key => format!("Register history of key {key:?}"),
    };
    let sheet = Sheet { subject, operations: register.recorded, proof, context: Vec::new(), known: None };
    report::illegal(&sheet, &RegisterBook(recorded), &Tokens::new(&[]))
}

struct RegisterBook<'a>(&'a [Recorded]);

impl Book for RegisterBook<'_> {
    fn shown(&self, id: OpId) -> Shown {
        let Some(record) = self.0.get(id.index()) else { return Shown::missing(id) };
        let call = match record.call {
            Call::Register(RegisterCall::Write(new)) => format!("write({new})"),
            Call::Register(RegisterCall::Cas(old, new)) => format!("cas({old}, {new})"),
            _ => "read".to_owned(),
        };
        let outcome = match &record.returned {
            Some((_, End::Ok(Returned::Number(value)))) => shown_value(*value),
            Some((_, End::Ok(_))) => "ok".to_owned(),
            Some((_, End::Fail)) => "failed".to_owned(),
            Some((_, End::Info)) | None => "unknown".to_owned(),
        };
        let at = |line: usize| (line as u64, format!("line {line}"));
        let returned = record.returned.as_ref().filter(|(_, end)| !matches!(end, End::Info));
        Shown {
            id,
            client: record.process.to_string(),
            text: vec![Piece::Plain(format!("{call} -> {outcome}"))],
            called: at(record.called),
            returned: returned.map(|(line, _)| at(*line)),
        }
    }

    fn value(&self, id: OpId) -> String {
        let Some(record) = self.0.get(id.index()) else { return "?".to_owned() };
        match (&record.call, &record.returned) {
            (Call::Register(RegisterCall::Write(new) | RegisterCall::Cas(_, new)), _) => new.to_string(),
            (_, Some((_, End::Ok(Returned::Number(value))))) => shown_value(*value),
            _ => "?".to_owned(),
        }
    }

    fn writes_in(&self, _: OpId) -> Option<Vec<OpId>> {
        None
    }

    fn remark_on(&self, _: OpId) -> Option<String> {
        None
    }
}

fn shown_value(value: Option<i64>) -> String {
    value.map_or_else(|| "nil".to_owned(), |value| value.to_string())
}
