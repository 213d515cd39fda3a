//! The words of a report: what happened, why no order exists, and what the usual cause is.
//!
//! Kit-owned. Read `mod.rs` and `../proof.rs` first.

use super::Book;
use crate::history::OpId;
use crate::proof::Proof;
use crate::verdict::Anomaly;

/// What the name of an anomaly means.
pub(super) fn in_one_sentence(anomaly: Anomaly) -> &'static str {
    match anomaly {
        Anomaly::NeverWritten => "A read returned something that nobody had written.",
        Anomaly::DuplicateAppend => "An append was called once, and took effect twice.",
        Anomaly::PutInside => "A put did not replace what was there before.",
        Anomaly::Disagreement => "Two gets show the same history of writes in two different ways.",
        Anomaly::ExecutedAgain => "An append was called once, and took effect before and after a put.",
        Anomaly::StaleRead => "A read misses something that was there before it was called.",
        Anomaly::FutureRead => "A read returned a value before it was written.",
        Anomaly::WriteOrder => {
            "A write took effect after another one that was called only when it had returned."
        }
        Anomaly::LostWrite => {
            "A write was acknowledged, and what came after it shows that it never happened."
        }
        Anomaly::Interleaved => "Two lines of history, each begun by another write, go on side by side.",
        Anomaly::NoOrder => "These operations cannot be put in any order that explains what was seen.",
    }
}

/// Where to look first.
pub(super) fn usual_cause(proof: &Proof) -> &'static str {
    if let Proof::Lost { is_stale_read: true, .. } = proof {
        return "a server answered from its own state while it was not (or no longer) the leader, or before it \
                had executed everything that was committed. Or the write was acknowledged too early, and is lost.";
    }
    match proof.anomaly() {
        Anomaly::NeverWritten => {
            "state that was restored only in part, or an answer that belongs to another key or request."
        }
        Anomaly::DuplicateAppend | Anomaly::ExecutedAgain => {
            "a client sent its request again, and the servers did not recognise it as one they had executed; \
             or what they knew of executed requests was lost with a restart or a snapshot."
        }
        Anomaly::PutInside => "a put that is executed as an append, or two states that were joined.",
        Anomaly::Disagreement => {
            "two servers executed different operations at the same place: an entry was executed before it was \
             committed, or their logs differ; or a server goes on from a snapshot that it did not load, or only in part."
        }
        Anomaly::StaleRead => {
            "a server answered from its own state while it was not (or no longer) the leader, or before it had \
             executed everything that was committed."
        }
        Anomaly::FutureRead => {
            "answers that were mixed up, or a write that was executed before it was called."
        }
        Anomaly::WriteOrder => {
            "an old copy of a request was executed late: a repeated or delayed one was not recognised."
        }
        Anomaly::LostWrite => {
            "a write was acknowledged before it was committed, and was lost when the leader changed."
        }
        Anomaly::Interleaved => "two servers acted as leader at the same time, each with a state of its own.",
        Anomaly::NoOrder => "a server acted on a state that was not the latest one.",
    }
}

/// Why no order exists, sentence by sentence.
pub(super) fn sentences(proof: &Proof, book: &impl Book) -> Vec<String> {
    match proof {
        Proof::NeverWritten { get, at } => never_written(book, *get, *at),
        Proof::Twice { append, get } => twice(book, *append, *get),
        Proof::PutInside { put, get } => vec![format!(
            "{put} replaces the whole value, so that {} can only stand at its beginning. In what {get} \
             returned, something else stands before it.",
            book.value(*put)
        )],
        Proof::Disagree { first, second, shown_first, shown_second } => {
            disagree(book, (*first, *second), (*shown_first, *shown_second))
        }
        Proof::TwoEpochs { append, first, second } => vec![
            format!("{append} added {} once. {first} and {second} both show it.", book.value(*append)),
            "But their values begin with different writes: between them, a put replaced the whole value, and \
             with it what had been appended."
                .to_owned(),
        ],
        Proof::MissesAcknowledged { write, get, shown_by } => {
            misses_acknowledged(book, *write, *get, *shown_by)
        }
        Proof::MissesSeen { first, get, missed } => misses_seen(book, *first, *get, *missed),
        Proof::Future { get, write } => vec![
            format!("{write} must come before {get}: {get} shows {}.", book.value(*write)),
            returned_before(*get, *write),
        ],
        Proof::WriteOrder { first, second, get } => vec![
            returned_before(*first, *second),
            format!("{second} must come before {first}: that is how they stand in what {get} returned."),
        ],
        Proof::Lost { write, before, after, shown_by, .. } => lost(book, *write, *before, *after, *shown_by),
        Proof::OldEpoch { .. } => old_epoch(proof, book),
        Proof::Stale { returned, get } => stale(book, returned, *get),
        Proof::NoOrder { operations } => no_order(book, operations),
    }
}

fn returned_before(first: OpId, second: OpId) -> String {
    format!("{first} must come before {second}: it had returned before {second} was called.")
}

fn never_written(book: &impl Book, get: OpId, at: Option<usize>) -> Vec<String> {
    let mut sentences = vec![match at {
        None | Some(0) => format!("No writes, in whatever order, make the value that {get} returned."),
        Some(at) => {
            format!("The value that {get} returned goes on, after {at} bytes, with what nobody wrote.")
        }
    }];
    sentences.extend(book.remark_on(get));
    sentences
}

fn twice(book: &impl Book, append: OpId, get: OpId) -> Vec<String> {
    let mut sentences =
        vec![format!("{append} was called once, so that {} can be added only once.", book.value(append))];
    let places: Vec<String> = book.writes_in(get).map_or_else(Vec::new, |writes| {
        let places = writes.iter().enumerate().filter(|(_, write)| **write == append);
        places.map(|(place, _)| (place + 1).to_string()).collect()
    });
    sentences.push(if places.len() < 2 {
        format!("In what {get} returned it stands twice.")
    } else {
        let all = book.writes_in(get).map_or(0, |writes| writes.len());
        let places = places.join(" and ");
        format!("In what {get} returned it stands more than once: as numbers {places} of {all} writes.")
    });
    sentences
}

fn disagree(
    book: &impl Book,
    (first, second): (OpId, OpId),
    (shown_first, shown_second): (Option<OpId>, Option<OpId>),
) -> Vec<String> {
    let mut sentences = vec![format!(
        "Appends only add at the end. So of two values that begin with the same write, or go back to the \
         start, one must be the beginning of the other.",
    )];
    if let (Some(one), Some(other)) = (shown_first, shown_second) {
        sentences.push(format!(
            "Where {first} shows {} ({one}), {second} shows {} ({other}).",
            book.value(one),
            book.value(other)
        ));
    }
    sentences
}

fn misses_acknowledged(book: &impl Book, write: OpId, get: OpId, shown_by: Option<OpId>) -> Vec<String> {
    let reason = match shown_by {
        Some(shown_by) => {
            format!("{shown_by} shows it after the same put that {get} shows, so that no put came between.")
        }
        None => "its value goes back to the very start, so that no put came between.".to_owned(),
    };
    vec![
        returned_before(write, get),
        format!("{get} must come before {write}: it does not show {}. And {reason}", book.value(write)),
    ]
}

fn misses_seen(book: &impl Book, first: OpId, get: OpId, missed: Option<OpId>) -> Vec<String> {
    let what = missed.map_or_else(String::new, |write| format!(" {} ({write})", book.value(write)));
    vec![
        returned_before(first, get),
        format!(
            "{get} must come before {first}: it does not show{what}, which {first} shows. And no put came \
             between, as both values begin alike."
        ),
    ]
}

fn lost(
    book: &impl Book,
    write: OpId,
    before: Option<OpId>,
    after: OpId,
    shown_by: Option<OpId>,
) -> Vec<String> {
    let value = book.value(write);
    let Some(before) = before else {
        let reason = match shown_by {
            None => format!("its value goes back to the very start, without {value}."),
            Some(get) => format!("{get} shows it after what goes back to the very start, without {value}."),
        };
        return vec![returned_before(write, after), format!("{after} must come before {write}: {reason}")];
    };
    let shown = shown_by.map_or_else(String::new, |get| format!(" (see {get})"));
    vec![
        returned_before(before, write),
        returned_before(write, after),
        format!(
            "But {write} cannot stand between {before} and {after}: both belong to the same put{shown}, and \
             {value} is in no value that was read."
        ),
    ]
}

fn old_epoch(proof: &Proof, book: &impl Book) -> Vec<String> {
    let Proof::OldEpoch { earlier, seen, last, puts: (old_put, put), shown_by, .. } = proof else {
        return Vec::new();
    };
    let mut sentences: Vec<String> =
        earlier.map(|(old, new)| returned_before(old, new)).into_iter().collect();
    sentences.push(returned_before(*seen, *last));
    let shown: Vec<String> = shown_by.iter().map(OpId::to_string).collect();
    let shown = if shown.is_empty() { String::new() } else { format!(" (see {})", shown.join(" and ")) };
    sentences.push(match (earlier, old_put) {
        (Some((old, _)), Some(old_put)) => {
            let old = belong(book, &[*old, *last], *old_put);
            let replaced = "replaces the whole value";
            let new = earlier.map_or_else(Vec::new, |(_, new)| vec![new, *seen]);
            if new.iter().all(|id| id == put) {
                format!("But {old}{shown}, and {put} ({}) {replaced}.", book.value(*put))
            } else {
                let new = belong(book, &new, *put);
                format!(
                    "But {old}, and {new}{shown}. Each of the two {replaced}: once the later of them is \
                     executed, nothing belongs to the other any more."
                )
            }
        }
        _ if seen == put => format!(
            "{last} must come before {seen}: it goes back to the very start{shown}, and {seen} replaces the \
             whole value."
        ),
        _ => format!(
            "{last} must come before {seen}: it goes back to the very start{shown}, and {seen} comes after \
             {put} ({}), which replaces the whole value.",
            book.value(*put)
        ),
    });
    sentences
}

/// Says which of these operations, apart from itself, belong to a put.
fn belong(book: &impl Book, ids: &[OpId], put: OpId) -> String {
    let mut others: Vec<OpId> = ids.iter().copied().filter(|id| *id != put).collect();
    others.sort_unstable();
    others.dedup();
    let verb = if others.len() == 1 { "belongs" } else { "belong" };
    format!("{} {verb} to {put} ({})", list(&others), book.value(put))
}

fn stale(book: &impl Book, returned: &[OpId], get: OpId) -> Vec<String> {
    let names = list(returned);
    let had = if returned.len() == 1 { "It" } else { "They" };
    vec![
        format!(
            "{names} must come before {get}: {} had returned before {get} was called.",
            had.to_lowercase()
        ),
        format!(
            "After that, {} could not be read any more, whenever and however often all other writes happened.",
            book.value(get)
        ),
    ]
}

fn no_order(book: &impl Book, operations: &[OpId]) -> Vec<String> {
    let mut sentences = vec![
        "They fit in no order, even if every other write may happen at any time, any number of times, or \
         never."
            .to_owned(),
    ];
    let shown: Vec<_> = operations.iter().map(|&id| book.shown(id)).collect();
    let pairs = shown.iter().flat_map(|one| shown.iter().map(move |other| (one, other)));
    let in_order =
        pairs.filter(|(one, other)| one.returned.as_ref().is_some_and(|(event, _)| *event < other.called.0));
    sentences.extend(in_order.take(4).map(|(one, other)| returned_before(one.id, other.id)));
    sentences
}

fn list(ids: &[OpId]) -> String {
    let names: Vec<String> = ids.iter().map(OpId::to_string).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}
