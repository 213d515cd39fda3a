//! Makes operations out of the lines of a history file.
//!
//! Kit-owned. Read `mod.rs` and `edn.rs` first.

use std::collections::BTreeMap;

use super::LineError;
use super::edn::{self, Value};
use crate::search::RegisterCall;

/// What a file records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Get,
    Put(String),
    Append(String),
    Register(RegisterCall),
}

/// One operation of a file.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    pub(super) process: u64,
    pub(super) key: String,
    pub(super) call: Call,
    /// The lines of its two events, from 1.
    pub(super) called: usize,
    pub(super) returned: Option<(usize, End)>,
}

/// How an operation ended.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// What a get or a read returned.
    Ok(Answer),
    Fail,
    Info,
}

#[derive(Clone, Debug)]
pub(super) enum Answer {
    Nothing,
    Text(String),
    Number(Option<i64>),
}

/// The kinds of objects. A file is about one of them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Object {
    KeyValue,
    Register,
}

const FUNCTIONS: &str = ":get, :put, :append, :read, :write or :cas";
const PAIR: &str = "two whole numbers such as [1 2] as :value";

/// All operations of a file, in the order of their calls.
pub(super) fn read(text: &str) -> Result<Vec<Recorded>, LineError> {
    let mut reader = Reader::default();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with(';') {
            reader.line(index + 1, line).map_err(|message| LineError { line: index + 1, message })?;
        }
    }
    if reader.operations.is_empty() {
        let message = "expected at least one event such as {:process 0, :type :invoke, :f :get, :key \"x\", \
                       :value nil}, found none in the whole file";
        return Err(LineError { line: 1, message: message.to_owned() });
    }
    Ok(reader.operations)
}

#[derive(Default)]
struct Reader {
    operations: Vec<Recorded>,
    /// Per process, its operation that has not ended.
    open: BTreeMap<u64, usize>,
    /// What the file is about, and the line that says so.
    object: Option<(Object, usize)>,
}

/// What a line may look like.
const EXAMPLE: &str = "{:process 0, :type :invoke, :f :get, :key \"k\", :value nil}";

/// The fields of one event.
struct Fields(Vec<(Value, Value)>);

impl Reader {
    fn line(&mut self, number: usize, line: &str) -> Result<(), String> {
        // An event may carry a tag in front of it.
        if !line.trim_start().starts_with(['{', '#']) {
            let found: String = line.split_whitespace().next().unwrap_or_default().chars().take(20).collect();
            return Err(format!("expected an event, such as {EXAMPLE}, found {found}"));
        }
        let fields = match edn::parse(line)? {
            Value::Map(entries) => Fields(entries),
            other => return Err(format!("expected an event, such as {EXAMPLE}, found {}", other.shown())),
        };
        let process = match fields.get("process") {
            Some(Value::Int(process)) if *process >= 0 => *process as u64,
            // What faults were injected, and the like.
            Some(Value::Keyword(_)) => return Ok(()),
            other => return Err(expected(":process with a number from 0", other)),
        };
        let function = fields.keyword("f", FUNCTIONS)?;
        let object = object_of(function)?;
        match self.object {
            Some((known, line)) if known != object => {
                let functions = match known {
                    Object::KeyValue => ":get, :put or :append",
                    Object::Register => ":read, :write or :cas",
                };
                return Err(format!("expected {functions} as on line {line}, found :{function}"));
            }
            Some(_) => {}
            None => self.object = Some((object, number)),
        }
        match fields.keyword("type", ":invoke, :ok, :fail or :info")? {
            "invoke" => self.invoke(number, process, function, &fields),
            end @ ("ok" | "fail" | "info") => self.end(number, process, (function, end), &fields),
            other => Err(format!("expected :type to be :invoke, :ok, :fail or :info, found :{other}")),
        }
    }

    fn invoke(&mut self, line: usize, process: u64, function: &str, fields: &Fields) -> Result<(), String> {
        if let Some(&open) = self.open.get(&process) {
            let called = self.operations[open].called;
            return Err(format!(
                "expected the end of the operation that process {process} called on line {called}, found another \
                 :invoke"
            ));
        }
        let value = fields.get("value").unwrap_or(&Value::Nil);
        let call = match (function, value) {
            ("get", _) => Call::Get,
            ("read", _) => Call::Register(RegisterCall::Read),
            ("put", Value::Text(text)) => Call::Put(text.clone()),
            ("append", Value::Text(text)) => Call::Append(text.clone()),
            ("write", Value::Int(number)) => Call::Register(RegisterCall::Write(*number)),
            ("cas", Value::List(items)) => match items[..] {
                [Value::Int(old), Value::Int(new)] => Call::Register(RegisterCall::Cas(old, new)),
                _ => return Err(expected(PAIR, Some(value))),
            },
            ("put" | "append", other) => return Err(expected("a text in quotes as :value", Some(other))),
            ("write", other) => return Err(expected("a whole number as :value", Some(other))),
            (_, other) => return Err(expected(PAIR, Some(other))),
        };
        let key = match fields.get("key") {
            Some(key) => key_text(key)?,
            None if matches!(call, Call::Register(_)) => String::new(),
            None => return Err(expected(":key with a text in quotes", None)),
        };
        self.open.insert(process, self.operations.len());
        self.operations.push(Recorded { process, key, call, called: line, returned: None });
        Ok(())
    }

    fn end(
        &mut self,
        line: usize,
        process: u64,
        (function, end): (&str, &str),
        fields: &Fields,
    ) -> Result<(), String> {
        let Some(open) = self.open.remove(&process) else {
            return Err(format!("expected an :invoke of process {process} before this, found :{end}"));
        };
        let operation = &mut self.operations[open];
        let called = operation.call.function();
        if called != function {
            return Err(format!("expected :f :{called} as on line {}, found :{function}", operation.called));
        }
        if let Some(key) = fields.get("key").map(key_text).transpose()?
            && key != operation.key
        {
            return Err(format!(
                "expected :key {:?} as on line {}, found {key:?}",
                operation.key, operation.called
            ));
        }
        // What went wrong may take the place of the value, but what went well repeats it, if it says anything.
        if let ("ok", Some(written), Some(value)) = (end, operation.call.written(), fields.get("value"))
            && ![Value::Nil, Value::Text(String::new()), written.clone()].contains(value)
        {
            let (written, value) = (written.shown(), value.shown());
            return Err(format!("expected :value {written} as on line {}, found {value}", operation.called));
        }
        let end = match end {
            "ok" => End::Ok(operation.call.answer(fields.get("value").unwrap_or(&Value::Nil))?),
            "fail" => End::Fail,
            _ => End::Info,
        };
        operation.returned = Some((line, end));
        Ok(())
    }
}

impl Call {
    /// The value of a call that writes, as a file has it.
    fn written(&self) -> Option<Value> {
        match self {
            Call::Put(text) | Call::Append(text) => Some(Value::Text(text.clone())),
            Call::Register(RegisterCall::Write(number)) => Some(Value::Int(*number)),
            Call::Register(RegisterCall::Cas(old, new)) => {
                Some(Value::List(vec![Value::Int(*old), Value::Int(*new)]))
            }
            Call::Get | Call::Register(RegisterCall::Read) => None,
        }
    }

    fn function(&self) -> &'static str {
        match self {
            Call::Get => "get",
            Call::Put(_) => "put",
            Call::Append(_) => "append",
            Call::Register(RegisterCall::Read) => "read",
            Call::Register(RegisterCall::Write(_)) => "write",
            Call::Register(RegisterCall::Cas(..)) => "cas",
        }
    }

    fn answer(&self, value: &Value) -> Result<Answer, String> {
        match (self, value) {
            (Call::Get, Value::Nil) => Ok(Answer::Text(String::new())),
            (Call::Get, Value::Text(text)) => Ok(Answer::Text(text.clone())),
            (Call::Get, other) => Err(expected("nil or a text in quotes as :value", Some(other))),
            (Call::Register(RegisterCall::Read), Value::Nil) => Ok(Answer::Number(None)),
            (Call::Register(RegisterCall::Read), Value::Int(number)) => Ok(Answer::Number(Some(*number))),
            (Call::Register(RegisterCall::Read), other) => {
                Err(expected("nil or a whole number as :value", Some(other)))
            }
            _ => Ok(Answer::Nothing),
        }
    }
}

impl Fields {
    fn get(&self, name: &str) -> Option<&Value> {
        let mut entries = self.0.iter();
        entries.find(|(key, _)| matches!(key, Value::Keyword(key) if key == name)).map(|(_, value)| value)
    }

    fn keyword(&self, name: &str, choices: &str) -> Result<&str, String> {
        match self.get(name) {
            Some(Value::Keyword(word)) => Ok(word),
            other => Err(expected(&format!(":{name} with one of {choices}"), other)),
        }
    }
}

fn object_of(function: &str) -> Result<Object, String> {
    match function {
        "get" | "put" | "append" => Ok(Object::KeyValue),
        "read" | "write" | "cas" => Ok(Object::Register),
        other => Err(format!("expected :f to be {FUNCTIONS}, found :{other}")),
    }
}

/// Keys are texts; others count by how they are written.
fn key_text(key: &Value) -> Result<String, String> {
    match key {
        Value::Text(text) => Ok(text.clone()),
        Value::Int(_) | Value::Keyword(_) | Value::Other(_) => Ok(key.shown()),
        other => Err(expected("a text in quotes as :key", Some(other))),
    }
}

fn expected(what: &str, found: Option<&Value>) -> String {
    format!("expected {what}, found {}", found.map_or_else(|| "none".to_owned(), Value::shown))
}
