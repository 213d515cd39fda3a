//! Engine B: a depth-first search for an order, for any [`Model`].
//!
//! Kit-owned. Read `model.rs` first. `timeline.rs`, `states.rs` and `hash.rs` are its parts.
//!
//! The search places operations one after the other. What may come next is what was called before the first
//! return among those still unplaced; a branch ends when nothing fits. The method is that of J. Wing and
//! C. Gong (1993) with the memory of G. Lowe (*Testing for Linearizability*, 2017): a set of operations that
//! led to a state once need not be tried again in another order. What makes it fast here:
//!
//! - States are numbers, and a set of operations is the exclusive-or of one random 128-bit word each. So a
//!   step costs the same however long the history is. Two of the sets met would have to share a word of 128
//!   bits for a verdict to go wrong.
//! - A read that fits the state is placed at once, and never taken back: it changes nothing, and whatever
//!   order exists without it here exists with it here.
//! - Of operations that ask and answer alike, the one that returns first is placed first: in any order, it
//!   can change places with the other.
//! - An open operation that would change nothing is not placed.
//! - A state is given up when one of the operations that return next can neither follow from it nor from a
//!   write that is still to come; or when it is called only after another one that needs such a write, and
//!   has none of its own.
//! - What returns first is tried first, and next what makes that possible.
//! - Once all completed operations are placed, an order is found. Open ones need not have happened.

use super::hash::{KeySet, random_word};
use super::model::Model;
use super::states::{Exchange, States};
use super::timeline::{Entry, Timeline};

/// An operation, as the search sees it.
pub(super) struct Task<'a, M: Model> {
    pub(super) exchange: Exchange<'a, M>,
    pub(super) called: u64,
    pub(super) returned: Option<u64>,
}

impl<M: Model> Clone for Task<'_, M> {
    fn clone(&self) -> Self {
        Task { ..*self }
    }
}

/// Where a search stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// There is an order.
    Found,
    /// There is none.
    Impossible,
    /// The steps given were used up; it can go on.
    Paused,
}

/// A search that can be stopped and continued.
pub(super) struct Search<'a, M: Model> {
    model: &'a M,
    states: States<'a, M>,
    timeline: Timeline,
    /// The class of each operation.
    class: Vec<u32>,
    word: Vec<u128>,
    /// Classes of operations that may be executed at any time and any number of times, or never.
    free: Vec<u32>,
    /// All reads of the history, if `free` is to be held down by them.
    reads: Vec<u32>,
    /// What was placed, in order.
    trail: Vec<u32>,
    /// The exclusive-or of the words of what was placed.
    placed: u128,
    /// How many completed operations are unplaced.
    missing: usize,
    /// The choices made, and those still open.
    frames: Vec<Frame>,
    choices: Vec<Choice>,
    seen: KeySet,
    scratch: Scratch<'a, M>,
    started: bool,
    pub(super) steps: u64,
}

struct Frame {
    state: u32,
    /// How long the trail was before what led here was placed.
    trail: usize,
    /// Its choices begin here; those of the frame above begin behind them.
    choices: usize,
    next: usize,
}

#[derive(Clone, Copy)]
enum Choice {
    Op(u32),
    Free(u32),
}

/// Memory of one walk along the timeline, kept so that it need not be made anew.
struct Scratch<'a, M: Model> {
    walk: u32,
    /// Per class, the walk that met it last, and the place of the choice it then stood for.
    met: Vec<(u32, u32)>,
    writes: Vec<u32>,
    late_reads: Vec<u32>,
    /// What the writes, and the operations that may happen at will, ask for.
    inputs: Vec<&'a M::Input>,
    keyed: Vec<(u8, u32, u32)>,
}

/// How many returns a state is tested against.
const LOOK_AHEAD: usize = 16;

/// Salts of the random words.
const OPERATION: u64 = 1;
const STATE: u64 = 2;

impl<'a, M: Model> Search<'a, M> {
    /// Prepares a search. Besides the `tasks`, operations with the exchanges in `free` may happen at will.
    pub(super) fn new(model: &'a M, tasks: &[Task<'a, M>], free: &[Exchange<'a, M>]) -> Search<'a, M> {
        let mut states = States::new(model);
        let class: Vec<u32> = tasks.iter().map(|task| states.class_of(task.exchange)).collect();
        let mut free: Vec<u32> = free.iter().map(|&exchange| states.class_of(exchange)).collect();
        free.sort_unstable();
        free.dedup();
        let mut reads: Vec<u32> = class.iter().copied().filter(|&class| states.is_read(class)).collect();
        reads.sort_unstable();
        reads.dedup();
        let times: Vec<_> = tasks.iter().map(|task| (task.called, task.returned)).collect();
        let scratch = Scratch {
            walk: 0,
            met: vec![(0, 0); states.classes()],
            writes: Vec::new(),
            late_reads: Vec::new(),
            inputs: Vec::new(),
            keyed: Vec::new(),
        };
        Search {
            model,
            states,
            timeline: Timeline::new(&times),
            class,
            word: (0..tasks.len() as u64).map(|op| random_word(OPERATION, op)).collect(),
            free,
            reads,
            trail: Vec::new(),
            placed: 0,
            missing: tasks.iter().filter(|task| task.returned.is_some()).count(),
            frames: Vec::new(),
            choices: Vec::new(),
            seen: KeySet::new(),
            scratch,
            started: false,
            steps: 0,
        }
    }

    /// Goes on for so many steps.
    pub(super) fn run(&mut self, steps: u64) -> Progress {
        let end = self.steps.saturating_add(steps);
        if !std::mem::replace(&mut self.started, true) && self.enter(0, 0) {
            return Progress::Found;
        }
        while let Some(frame) = self.frames.last_mut() {
            if self.steps >= end {
                return Progress::Paused;
            }
            let Some(&choice) = self.choices.get(frame.next) else {
                self.leave();
                continue;
            };
            frame.next += 1;
            self.steps += 1;
            let state = frame.state;
            if self.follow(state, choice) {
                return Progress::Found;
            }
        }
        Progress::Impossible
    }

    /// What was placed, in order, once an order was found.
    pub(super) fn order(&self) -> &[u32] {
        &self.trail
    }

    /// How much memory it takes, about.
    pub(super) fn bytes(&self) -> usize {
        self.seen.bytes() + self.states.bytes()
    }

    /// Makes one choice. Whether that ends the search with success.
    fn follow(&mut self, state: u32, choice: Choice) -> bool {
        let trail = self.trail.len();
        let next = match choice {
            Choice::Op(op) => self.states.step(state, self.class[op as usize]),
            Choice::Free(class) => self.states.step(state, class),
        };
        let Some(next) = next else { return false };
        match choice {
            Choice::Op(op) if next == state && self.is_open(op) => return false,
            Choice::Op(op) => self.place(op),
            Choice::Free(_) if next == state || !self.is_useful(next) => return false,
            Choice::Free(_) => {}
        }
        self.enter(next, trail)
    }

    /// Comes into a state: places all reads that fit, and opens a frame unless this leads nowhere. Whether
    /// that ends the search with success.
    fn enter(&mut self, state: u32, trail: usize) -> bool {
        self.place_reads(state);
        if self.missing == 0 {
            return true;
        }
        let key = self.placed ^ random_word(STATE, state.into());
        let choices = self.choices.len();
        if self.seen.insert(key) && self.find_choices(state) {
            self.frames.push(Frame { state, trail, choices, next: choices });
        } else {
            self.choices.truncate(choices);
            self.take_back(trail);
        }
        false
    }

    fn leave(&mut self) {
        if let Some(frame) = self.frames.pop() {
            self.choices.truncate(frame.choices);
            self.take_back(frame.trail);
        }
    }

    /// Places every read that may come next and fits. As the state stays, one pass finds all of them.
    fn place_reads(&mut self, state: u32) {
        let mut place = self.timeline.first();
        while place != 0 {
            let (entry, next) = self.timeline.after(place);
            place = next;
            let Entry::Call(op) = entry else { return };
            let class = self.class[op as usize];
            if self.states.is_read(class) && self.states.step(state, class).is_some() {
                // Its return may be what stands next.
                self.place(op);
                if place != 0 && self.timeline.after(place).0 == Entry::Return(op) {
                    place = self.timeline.after(place).1;
                }
            }
        }
    }

    /// Collects what may come next, the most promising in front. False if some operation that returns soon
    /// cannot be reached any more.
    fn find_choices(&mut self, state: u32) -> bool {
        let first = self.choices.len();
        self.scratch.walk += 1;
        self.scratch.writes.clear();
        self.scratch.late_reads.clear();
        self.scratch.inputs.clear();
        self.scratch.inputs.extend(self.free.iter().map(|&class| self.states.input(class)));
        let (mut most_urgent, mut returns, mut place) = (None, 0, self.timeline.first());
        // The state will be overwritten before the next call on the walk.
        let mut is_overwritten = false;
        while place != 0 && returns < LOOK_AHEAD {
            let (entry, next) = self.timeline.after(place);
            place = next;
            match entry {
                Entry::Call(op) if self.states.is_read(self.class[op as usize]) => {
                    if is_overwritten {
                        self.scratch.late_reads.push(op);
                    }
                }
                Entry::Call(op) => self.note_write(op, returns == 0),
                Entry::Return(op) => {
                    most_urgent = most_urgent.or(Some(op));
                    returns += 1;
                    let class = self.class[op as usize];
                    let follows = self.states.may_follow(state, class);
                    let is_late = is_overwritten && self.scratch.late_reads.contains(&op);
                    if (!follows || is_late) && !self.may_start(class) {
                        return false;
                    }
                    let from = (follows && !is_late).then_some(state);
                    if !self.states.may_build(from, &self.scratch.inputs, class) {
                        return false;
                    }
                    is_overwritten |= !follows && self.model.writes_overwrite();
                }
            }
        }
        let Some(most_urgent) = most_urgent else { return false };
        if !self.sort_choices(state, first, most_urgent) {
            return false;
        }
        self.choices.extend(self.free.iter().map(|&class| Choice::Free(class)));
        true
    }

    /// Sorts the choices by what they do for the operation that returns first, and then by their own returns.
    /// False if none of them does anything for it.
    fn sort_choices(&mut self, state: u32, first: usize, most_urgent: u32) -> bool {
        let urgent = self.class[most_urgent as usize];
        let mut is_hopeless = self.free.is_empty();
        let mut keyed = std::mem::take(&mut self.scratch.keyed);
        for choice in self.choices.drain(first..) {
            let Choice::Op(op) = choice else { continue };
            let class = self.class[op as usize];
            let use_of_it = match self.states.step(state, class) {
                Some(_) if op == most_urgent => 0,
                Some(next) if self.states.step(next, urgent).is_some() => 1,
                Some(next) if next != state && self.states.may_follow(next, urgent) => 2,
                _ if self.states.may_start(class, urgent) => 3,
                _ => 4,
            };
            is_hopeless &= use_of_it == 4;
            keyed.push((use_of_it, self.timeline.deadline(op), op));
        }
        keyed.sort_unstable();
        self.choices.extend(keyed.drain(..).map(|(_, _, op)| Choice::Op(op)));
        self.scratch.keyed = keyed;
        !is_hopeless
    }

    /// Notes a write met on the walk. If it may come next it is a choice, unless one of its class is.
    fn note_write(&mut self, op: u32, may_be_next: bool) {
        let class = self.class[op as usize];
        let (walk, choice) = &mut self.scratch.met[class as usize];
        if *walk != self.scratch.walk {
            (*walk, *choice) = (self.scratch.walk, self.choices.len() as u32);
            self.scratch.writes.push(class);
            self.scratch.inputs.push(self.states.input(class));
            if may_be_next {
                self.choices.push(Choice::Op(op));
            }
        } else if may_be_next
            && let Choice::Op(other) = &mut self.choices[*choice as usize]
            && self.timeline.deadline(op) < self.timeline.deadline(*other)
        {
            *other = op;
        }
    }

    /// Whether a write met on the walk may start what operations of this class need.
    fn may_start(&self, class: u32) -> bool {
        let mut writes = self.scratch.writes.iter().chain(&self.free);
        writes.any(|&write| self.states.may_start(write, class))
    }

    /// Whether it can matter that an operation which may happen at will leads to this state. Where writes
    /// succeed in any case, only a read can tell.
    fn is_useful(&self, state: u32) -> bool {
        !self.model.writes_always_succeed()
            || self.reads.iter().any(|&read| self.states.may_follow(state, read))
    }

    fn is_open(&self, op: u32) -> bool {
        self.timeline.deadline(op) == u32::MAX
    }

    fn place(&mut self, op: u32) {
        self.timeline.lift(op);
        self.trail.push(op);
        self.placed ^= self.word[op as usize];
        self.missing -= usize::from(!self.is_open(op));
    }

    fn take_back(&mut self, trail: usize) {
        while self.trail.len() > trail
            && let Some(op) = self.trail.pop()
        {
            self.timeline.unlift(op);
            self.placed ^= self.word[op as usize];
            self.missing += usize::from(!self.is_open(op));
        }
    }
}
