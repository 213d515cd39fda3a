//! Reads one line of a history file: a map in the notation EDN.
//!
//! Kit-owned. Read `mod.rs` first. Only what such files contain is understood; sets, characters and the like
//! are errors.

use std::iter::Peekable;
use std::str::Chars;

/// A value in EDN.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Nil,
    Int(i64),
    Text(String),
    /// Without its colon.
    Keyword(String),
    /// A vector or a list.
    List(Vec<Value>),
    Map(Vec<(Value, Value)>),
    /// Anything else: a symbol, a number that is no whole one.
    Other(String),
}

/// Deeper nesting is an error, so that no line can exhaust the stack.
const DEEPEST: usize = 32;

/// The value that a line consists of.
pub(super) fn parse(line: &str) -> Result<Value, String> {
    let mut parser = Parser { rest: line.chars().peekable() };
    let value = parser.value(0)?;
    parser.skip_blanks();
    match parser.rest.next() {
        None => Ok(value),
        Some(other) => Err(format!("expected the end of the line after the event, found {other:?}")),
    }
}

impl Value {
    /// As a message shows it.
    pub(super) fn shown(&self) -> String {
        match self {
            Value::Nil => "nil".to_owned(),
            Value::Int(number) => number.to_string(),
            Value::Text(text) => format!("{text:?}"),
            Value::Keyword(name) => format!(":{name}"),
            Value::List(_) => "a vector".to_owned(),
            Value::Map(_) => "a map".to_owned(),
            Value::Other(text) => text.clone(),
        }
    }
}

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
}

impl Parser<'_> {
    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > DEEPEST {
            return Err(format!("expected at most {DEEPEST} brackets inside one another, found more"));
        }
        self.skip_blanks();
        match self.rest.peek() {
            None => Err("expected a value, found the end of the line".to_owned()),
            Some('{') => self.map(depth),
            Some('[') => self.list(']', depth),
            Some('(') => self.list(')', depth),
            Some('"') => self.text(),
            // A tag says what the value after it is made into; what it is made of is enough here.
            Some('#') => {
                self.rest.next();
                self.word();
                self.value(depth + 1)
            }
            Some(_) => self.atom(),
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, String> {
        let Value::List(items) = self.list('}', depth)? else { return Ok(Value::Nil) };
        if items.len() % 2 == 1 {
            let last = items.last().map(Value::shown).unwrap_or_default();
            return Err(format!("expected a value for every key of a map, found none for {last}"));
        }
        let mut items = items.into_iter();
        let mut entries = Vec::new();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            entries.push((key, value));
        }
        Ok(Value::Map(entries))
    }

    fn list(&mut self, end: char, depth: usize) -> Result<Value, String> {
        self.rest.next();
        let mut items = Vec::new();
        loop {
            self.skip_blanks();
            match self.rest.peek() {
                None => return Err(format!("expected `{end}`, found the end of the line")),
                Some(&next) if next == end => {
                    self.rest.next();
                    return Ok(Value::List(items));
                }
                Some(_) => items.push(self.value(depth + 1)?),
            }
        }
    }

    fn text(&mut self) -> Result<Value, String> {
        self.rest.next();
        let mut text = String::new();
        while let Some(next) = self.rest.next() {
            match next {
                '"' => return Ok(Value::Text(text)),
                '\\' => text.push(self.escape()?),
                _ => text.push(next),
            }
        }
        Err("expected a closing quote, found the end of the line".to_owned())
    }

    fn escape(&mut self) -> Result<char, String> {
        let expected = r#"expected one of \" \\ \n \r \t \uXXXX"#;
        match self.rest.next() {
            Some('n') => Ok('\n'),
            Some('r') => Ok('\r'),
            Some('t') => Ok('\t'),
            Some(same @ ('"' | '\\')) => Ok(same),
            Some('u') => {
                let digits: String = self.rest.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4);
                code.and_then(char::from_u32).ok_or_else(|| format!("{expected}, found \\u{digits}"))
            }
            Some(other) => Err(format!("{expected}, found \\{other}")),
            None => Err(format!("{expected}, found the end of the line")),
        }
    }

    fn atom(&mut self) -> Result<Value, String> {
        let word = self.word();
        if word.is_empty() {
            return Err(match self.rest.next() {
                Some(other) => format!("expected a value, found {other:?}"),
                None => "expected a value, found the end of the line".to_owned(),
            });
        }
        Ok(match word.strip_prefix(':') {
            Some("") => return Err("expected a name after the colon, found none".to_owned()),
            Some(name) => Value::Keyword(name.to_owned()),
            None if word == "nil" => Value::Nil,
            None => word.parse().map_or(Value::Other(word), Value::Int),
        })
    }

    /// Everything up to the next blank, bracket or quote.
    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(next) = self.rest.next_if(|next| !is_blank(*next) && !"[](){}\"".contains(*next)) {
            word.push(next);
        }
        word
    }

    fn skip_blanks(&mut self) {
        while self.rest.next_if(|next| is_blank(*next)).is_some() {}
    }
}

/// Commas are blanks in EDN.
fn is_blank(character: char) -> bool {
    character.is_whitespace() || character == ','
}
