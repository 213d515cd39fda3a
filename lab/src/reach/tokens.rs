//! Source code as a flat list of tokens.
//!
//! Kit-owned. Only the lexer has seen it, so code in a macro is no different from code outside of one, what does
//! not parse is looked through like the rest, and no nesting is too deep: nothing here calls itself.

use std::str::FromStr;

use proc_macro2::token_stream::IntoIter;
use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// A word, a literal, a lifetime or a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    /// A word without `r#`, a mark (`::` is one); nothing for literals and lifetimes.
    pub(crate) text: String,
    /// Its line, from 1 on.
    pub(crate) line: usize,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Word,
    Literal,
    Lifetime,
    Mark,
}

impl Token {
    /// True for this word.
    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text == word
    }

    /// True for this mark.
    pub(crate) fn is_mark(&self, mark: &str) -> bool {
        self.kind == Kind::Mark && self.text == mark
    }
}

/// The tokens of a file; `None` where it is no Rust, which the compiler will say better.
pub(crate) fn tokens_of(text: &str) -> Option<Vec<Token>> {
    let stream = TokenStream::from_str(text).ok()?;
    let mut tokens = Vec::new();
    let mut open: Vec<(IntoIter, &str, usize)> = vec![(stream.into_iter(), "", 0)];
    while let Some((inside, end, last_line)) = open.last_mut() {
        let Some(tree) = inside.next() else {
            if !end.is_empty() {
                tokens.push(mark(end, *last_line));
            }
            open.pop();
            continue;
        };
        let line = tree.span().start().line;
        match tree {
            TokenTree::Group(group) => {
                let (start, end) = marks_of(group.delimiter());
                tokens.push(mark(start, line));
                open.push((group.stream().into_iter(), end, group.span_close().start().line));
            }
            TokenTree::Literal(_) => tokens.push(Token { kind: Kind::Literal, text: String::new(), line }),
            TokenTree::Ident(word) => match tokens.last_mut() {
                // The lexer takes a lifetime for a quotation mark and a word.
                Some(quote) if quote.is_mark("'") => quote.kind = Kind::Lifetime,
                _ => {
                    let text = word.to_string().trim_start_matches("r#").to_owned();
                    // As a raw word a keyword is a name like any other.
                    let is_raw_keyword = word == "r#static" || word == "r#unsafe";
                    let text = if is_raw_keyword { word.to_string() } else { text };
                    tokens.push(Token { kind: Kind::Word, text, line });
                }
            },
            TokenTree::Punct(punct) => match tokens.last_mut() {
                Some(colon) if colon.is_mark(": ") && punct.as_char() == ':' => colon.text = "::".into(),
                _ if punct.as_char() == ':' && punct.spacing() == Spacing::Joint => {
                    tokens.push(mark(": ", line));
                }
                _ => tokens.push(mark(&punct.as_char().to_string(), line)),
            },
        }
    }
    Some(tokens)
}

fn mark(text: &str, line: usize) -> Token {
    Token { kind: Kind::Mark, text: text.into(), line }
}

fn marks_of(delimiter: Delimiter) -> (&'static str, &'static str) {
    match delimiter {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        tokens_of(text).unwrap().into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn paths_lifetimes_and_raw_words_are_told_apart() {
        assert_eq!(texts("a::r#fs { b: ::c }"), ["a", "::", "fs", "{", "b", ":", "::", "c", "}"]);
        assert_eq!(texts("&'static r#static"), ["&", "'", "r#static"]);
        assert_eq!(tokens_of("a\n(\n)").unwrap().last().unwrap().line, 3);
        assert_eq!(tokens_of("\"never closed"), None);
        assert_eq!(tokens_of("( ]"), None);
    }

    #[test]
    fn no_nesting_is_too_deep() {
        let depth = 200_000;
        let text = "(".repeat(depth) + &")".repeat(depth);
        assert_eq!(tokens_of(&text).unwrap().len(), 2 * depth);
    }
}
