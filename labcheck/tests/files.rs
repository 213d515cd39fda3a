//! Histories in files: what is understood, what is refused, and with which words.
//!
//! Kit-owned.

mod common;

use common::Rng;
use insta::assert_snapshot;
use labcheck::{Answer, FileVerdict, Limits, check_file_text};

#[track_caller]
fn check(text: &str) -> FileVerdict {
    check_file_text(text, Limits::default()).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn error(text: &str) -> String {
    check_file_text(text, Limits::default()).expect_err("the text is no history").to_string()
}

/// The same line after one good event, so that the error is not of line 1.
#[track_caller]
fn error_on_line_2(line: &str) -> String {
    error(&format!("{{:process 0, :type :invoke, :f :get, :key \"x\", :value nil}}\n{line}"))
}

#[test]
fn a_key_value_history() {
    let verdict = check(
        r#"
        ; two appends, and a get that shows both
        {:process 9, :type :invoke, :f :append, :key "0", :value "x 9 0 y"}
        {:process 9, :type :ok, :f :append, :key "0", :value "x 9 0 y"}

        {:process 3 :type :invoke :f :append :key "0" :value "x 3 0 y" :index 2 :time 17 :error [:no {}]}
        {:type :invoke, :value nil, :key "0", :f :get, :process 4}
        {:process 4, :type :ok, :f :get, :key "0", :value "x 9 0 yx 3 0 y"}
        {:process 5, :type :invoke, :f :get, :key "1", :value nil}
        {:process 5, :type :ok, :f :get, :key "1", :value nil}
        "#,
    );
    assert_eq!((verdict.answer, verdict.operations, verdict.keys), (Answer::Linearizable, 4, 2));
    assert_snapshot!(verdict.report, @"KV history is linearizable: 4 operations, 2 keys.");
}

#[test]
fn an_illegal_key_value_history() {
    let verdict = check(
        r#"{:process 1, :type :invoke, :f :put, :key "x", :value "a"}
           {:process 1, :type :ok, :f :put, :key "x", :value "a"}
           {:process 2, :type :invoke, :f :get, :key "x", :value nil}
           {:process 2, :type :ok, :f :get, :key "x", :value ""}"#,
    );
    assert_eq!(verdict.answer, Answer::Illegal);
    assert_snapshot!(verdict.report);
}

#[test]
fn operations_that_failed_or_whose_outcome_is_unknown() {
    let history = |end: &str, seen: &str| {
        check(&format!(
            r#"{{:process 1, :type :invoke, :f :put, :key "x", :value "a"}}
               {{:process 1, :type {end}, :f :put, :key "x", :value "a"}}
               {{:process 2, :type :invoke, :f :get, :key "x", :value nil}}
               {{:process 2, :type :ok, :f :get, :key "x", :value "{seen}"}}"#
        ))
        .answer
    };
    assert_eq!(history(":info", "a"), Answer::Linearizable);
    assert_eq!(history(":info", ""), Answer::Linearizable);
    assert_eq!(history(":fail", ""), Answer::Linearizable);
    assert_eq!(history(":fail", "a"), Answer::Illegal);
}

#[test]
fn a_register_without_compare_and_set() {
    let verdict = check(
        "{:process 0, :type :invoke, :f :write, :value 1}
         {:process 0, :type :ok, :f :write, :value 1}
         {:process 0, :type :invoke, :f :write, :value 2}
         {:process 0, :type :ok, :f :write, :value 2}
         {:process 1, :type :invoke, :f :read, :value nil}
         {:process 2, :type :invoke, :f :read, :value nil}
         {:process 2, :type :ok, :f :read, :value 2}
         {:process 1, :type :ok, :f :read, :value 1}",
    );
    assert_eq!(verdict.answer, Answer::Illegal);
    assert_snapshot!(verdict.report);
}

#[test]
fn a_register_with_compare_and_set() {
    let verdict = check(
        "{:process :nemesis, :type :info, :f :start, :value nil}
         {:process 0, :type :invoke, :f :write, :value 1}
         {:process 0, :type :ok, :f :write, :value 1}
         {:process 0, :type :invoke, :f :cas, :value [1 2]}
         {:process 1, :type :invoke, :f :cas, :value [1, 3]}
         {:process 0, :type :ok, :f :cas, :value [1 2]}
         {:process 1, :type :ok, :f :cas, :value [1 3]}
         {:process 2, :type :invoke, :f :write, :value 3}
         {:process 2, :type :info, :f :write, :value 3}",
    );
    assert_eq!(verdict.answer, Answer::Illegal);
    assert_snapshot!(verdict.report);
}

#[test]
fn registers_with_keys() {
    let register = |key: &str, read: &str| {
        format!(
            "{{:process 0, :type :invoke, :f :write, :key {key}, :value 1}}
             {{:process 0, :type :ok, :f :write, :value 1}}
             {{:process 0, :type :invoke, :f :cas, :key {key}, :value [7 8]}}
             {{:process 0, :type :fail, :f :cas, :key {key}, :value [7 8]}}
             {{:process 0, :type :invoke, :f :read, :key {key}, :value nil}}
             {{:process 0, :type :ok, :f :read, :key {key}, :value {read}}}\n"
        )
    };
    let verdict = check(&(register("1", "1") + &register("2", "1")));
    assert_eq!((verdict.answer, verdict.operations, verdict.keys), (Answer::Linearizable, 6, 2));
    assert_snapshot!(verdict.report, @"Register history is linearizable: 6 operations, 2 keys.");
    let verdict = check(&(register("1", "1") + &register("2", "8")));
    assert_eq!(verdict.answer, Answer::Illegal);
    assert_snapshot!(verdict.report);
}

#[test]
fn a_search_that_reaches_its_limits_says_so() {
    let text = "{:process 0, :type :invoke, :f :cas, :value [1 2]}
                {:process 0, :type :ok, :f :cas, :value [1 2]}";
    assert_eq!(check(text).answer, Answer::Illegal);
    let mut many = String::new();
    for process in 0..4 {
        many += &format!("{{:process {process}, :type :invoke, :f :write, :value 1}}\n");
    }
    for process in 0..4 {
        many += &format!("{{:process {process}, :type :ok, :f :write, :value 1}}\n");
    }
    let verdict = check_file_text(&many, Limits { steps: 1, ..Limits::default() });
    assert_eq!(verdict.map(|verdict| verdict.answer), Ok(Answer::Unknown));
}

#[test]
fn escapes_in_texts() {
    let verdict = check(
        r#"{:process 1, :type :invoke, :f :put, :key "x", :value "a\"\\\n\u00e9"}
           {:process 1, :type :ok, :f :put, :key "x", :value ""}
           {:process 2, :type :invoke, :f :get, :key "x", :value nil}
           {:process 2, :type :ok, :f :get, :key "x", :value "a\u0022\\\né"}"#,
    );
    assert_eq!(verdict.answer, Answer::Linearizable);
}

#[test]
fn lines_that_are_no_events() {
    assert_eq!(
        error_on_line_2("{:process 1, :value \"a"),
        "line 2: expected a closing quote, found the end of the line"
    );
    assert_eq!(
        error_on_line_2("{:process 1, :type :invoke"),
        "line 2: expected `}`, found the end of the line"
    );
    assert_eq!(
        error_on_line_2("{:process 1, :type}"),
        "line 2: expected a value for every key of a map, found none for :type"
    );
    assert_eq!(
        error_on_line_2("{:process 1, :value \"\\q\"}"),
        r#"line 2: expected one of \" \\ \n \r \t \uXXXX, found \q"#
    );
    assert_eq!(
        error_on_line_2("{:process 1, :value \"\\u12\"}"),
        r#"line 2: expected one of \" \\ \n \r \t \uXXXX, found \u12"}"#
    );
    assert_eq!(error_on_line_2("{: 1}"), "line 2: expected a name after the colon, found none");
    assert_eq!(error_on_line_2("{}  }"), "line 2: expected the end of the line after the event, found '}'");
    assert_eq!(error_on_line_2("{} {}"), "line 2: expected the end of the line after the event, found '{'");
    for (line, found) in [("[1 2]", "[1"), ("} 1", "}"), ("No history.", "No"), ("#op [1]", "a vector")] {
        let event = r#"{:process 0, :type :invoke, :f :get, :key "k", :value nil}"#;
        assert_eq!(
            error_on_line_2(line),
            format!("line 2: expected an event, such as {event}, found {found}")
        );
    }
    assert_eq!(
        error_on_line_2(&"{".repeat(100_000)),
        "line 2: expected at most 32 brackets inside one another, found more"
    );
    assert_eq!(
        error_on_line_2(&"#a ".repeat(100_000)),
        "line 2: expected at most 32 brackets inside one another, found more"
    );
}

#[test]
fn events_that_say_too_little() {
    assert_eq!(error_on_line_2("{}"), "line 2: expected :process with a number from 0, found none");
    assert_eq!(
        error_on_line_2("{:process -1, :type :invoke, :f :get, :key \"x\"}"),
        "line 2: expected :process with a number from 0, found -1"
    );
    assert_eq!(
        error_on_line_2("{:process \"a\", :type :invoke, :f :get, :key \"x\"}"),
        r#"line 2: expected :process with a number from 0, found "a""#
    );
    assert_eq!(
        error_on_line_2("{:process 1, :type :invoke}"),
        "line 2: expected :f with one of :get, :put, :append, :read, :write or :cas, found none"
    );
    assert_eq!(
        error_on_line_2("{:process 1, :type :invoke, :f :txn}"),
        "line 2: expected :f to be :get, :put, :append, :read, :write or :cas, found :txn"
    );
    let put = |value| format!("{{:process 0, :type :ok, :f :put, :key \"x\", :value {value}}}");
    for value in ["nil", "\"\"", "\"a\""] {
        let text =
            format!("{{:process 0, :type :invoke, :f :put, :key \"x\", :value \"a\"}}\n{}", put(value));
        assert!(check_file_text(&text, Limits::default()).is_ok());
    }
    let other = format!("{{:process 0, :type :invoke, :f :put, :key \"x\", :value \"a\"}}\n{}", put("\"b\""));
    let error = check_file_text(&other, Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "line 2: expected :value \"a\" as on line 1, found \"b\"");
    assert_eq!(
        error_on_line_2("{:process 1, :f :get, :key \"x\"}"),
        "line 2: expected :type with one of :invoke, :ok, :fail or :info, found none"
    );
    assert_eq!(
        error_on_line_2("{:process 1, :type :begin, :f :get, :key \"x\"}"),
        "line 2: expected :type to be :invoke, :ok, :fail or :info, found :begin"
    );
    assert_eq!(
        error_on_line_2("{:process 1, :type :invoke, :f :get}"),
        "line 2: expected :key with a text in quotes, found none"
    );
    assert_eq!(
        error_on_line_2("{:process 1, :type :invoke, :f :get, :key [1]}"),
        "line 2: expected a text in quotes as :key, found a vector"
    );
    assert_eq!(
        error_on_line_2("{:process 1, :type :invoke, :f :put, :key \"x\", :value 3}"),
        "line 2: expected a text in quotes as :value, found 3"
    );
}

#[test]
fn values_of_the_wrong_kind() {
    assert_eq!(
        error("{:process 1, :type :invoke, :f :write, :value \"a\"}"),
        r#"line 1: expected a whole number as :value, found "a""#
    );
    assert_eq!(
        error("{:process 1, :type :invoke, :f :write, :value 99999999999999999999}"),
        "line 1: expected a whole number as :value, found 99999999999999999999"
    );
    assert_eq!(
        error("{:process 1, :type :invoke, :f :cas, :value 1}"),
        "line 1: expected two whole numbers such as [1 2] as :value, found 1"
    );
    assert_eq!(
        error("{:process 1, :type :invoke, :f :cas, :value [1]}"),
        "line 1: expected two whole numbers such as [1 2] as :value, found a vector"
    );
    assert_eq!(
        error_on_line_2("{:process 0, :type :ok, :f :get, :value 1}"),
        "line 2: expected nil or a text in quotes as :value, found 1"
    );
    let read = "{:process 0, :type :invoke, :f :read}\n{:process 0, :type :ok, :f :read, :value [1]}";
    assert_eq!(error(read), "line 2: expected nil or a whole number as :value, found a vector");
}

#[test]
fn events_that_do_not_fit_together() {
    assert_eq!(
        error("{:process 1, :type :ok, :f :get, :key \"x\"}"),
        "line 1: expected an :invoke of process 1 before this, found :ok"
    );
    assert_eq!(
        error_on_line_2("{:process 0, :type :invoke, :f :get, :key \"x\"}"),
        "line 2: expected the end of the operation that process 0 called on line 1, found another :invoke"
    );
    assert_eq!(
        error_on_line_2("{:process 0, :type :ok, :f :put, :key \"x\"}"),
        "line 2: expected :f :get as on line 1, found :put"
    );
    assert_eq!(
        error_on_line_2("{:process 0, :type :ok, :f :get, :key \"y\", :value nil}"),
        r#"line 2: expected :key "x" as on line 1, found "y""#
    );
    assert_eq!(
        error_on_line_2("{:process 1, :type :invoke, :f :read}"),
        "line 2: expected :get, :put or :append as on line 1, found :read"
    );
    assert_eq!(
        error("{:process 1, :type :invoke, :f :read}\n{:process 2, :type :invoke, :f :get}"),
        "line 2: expected :read, :write or :cas as on line 1, found :get"
    );
}

#[test]
fn a_file_without_events() {
    let expected = "line 1: expected at least one event such as {:process 0, :type :invoke, :f :get, :key \"x\", \
                    :value nil}, found none in the whole file";
    assert_eq!(error("; nothing\n\n"), expected);
}

/// Whatever is done to a good file, the answer is a verdict or an error, and no panic.
#[test]
fn damaged_files_do_no_harm() {
    let good = r#"{:process 9, :type :invoke, :f :append, :key "0", :value "x 9 0 y"}
{:process 9, :type :ok, :f :append, :key "0", :value "x 9 0 y"}
{:process 3, :type :invoke, :f :get, :key "0", :value nil}
{:process 3, :type :ok, :f :get, :key "0", :value "x 9 0 y"}
"#;
    let mut refused = 0;
    for seed in 0..20_000 {
        let mut rng = Rng::new(seed);
        let mut text: Vec<char> = good.chars().collect();
        for _ in 0..1 + rng.below(3) {
            let at = rng.below(text.len());
            match rng.below(3) {
                0 => drop(text.remove(at)),
                1 => text[at] = *rng.pick(&['"', '{', '}', '\\', ':', '\n', '9', 'é', '#']),
                _ => text.insert(at, *rng.pick(&['"', '{', '}', '\\', ':', '\n', '9', 'é', '#'])),
            }
        }
        let text: String = text.into_iter().collect();
        refused += usize::from(check_file_text(&text, Limits::default()).is_err());
    }
    assert!(refused > 5_000 && refused < 20_000, "{refused}");
}
