//! The states that a search has met, each with a number, and what the operations did to them.
//!
//! Kit-owned. Read `engine.rs` first.

use std::rc::Rc;

use super::hash::FastMap;
use super::model::Model;

/// What is asked and what is answered: operations that agree in both are one class.
pub(super) type Exchange<'a, M> = (&'a <M as Model>::Input, Option<&'a <M as Model>::Output>);

/// States and classes by number.
pub(super) struct States<'a, M: Model> {
    model: &'a M,
    classes: Vec<Class<'a, M>>,
    class_numbers: FastMap<Exchange<'a, M>, u32>,
    states: Vec<Rc<M::State>>,
    state_numbers: FastMap<Rc<M::State>, u32>,
    /// By state and class, the state after it.
    steps: FastMap<u64, u32>,
    /// How much memory the states take.
    bytes: usize,
}

struct Class<'a, M: Model> {
    exchange: Exchange<'a, M>,
    is_read: bool,
}

const IMPOSSIBLE: u32 = u32::MAX;

impl<'a, M: Model> States<'a, M> {
    /// The initial state has number 0.
    pub(super) fn new(model: &'a M) -> States<'a, M> {
        let mut states = States {
            model,
            classes: Vec::new(),
            class_numbers: FastMap::default(),
            states: Vec::new(),
            state_numbers: FastMap::default(),
            steps: FastMap::default(),
            bytes: 0,
        };
        states.number_of(model.initial());
        states
    }

    /// The class of operations with this exchange.
    pub(super) fn class_of(&mut self, exchange: Exchange<'a, M>) -> u32 {
        let next = self.classes.len() as u32;
        let number = *self.class_numbers.entry(exchange).or_insert(next);
        if number == next {
            self.classes.push(Class { exchange, is_read: self.model.is_read(exchange.0) });
        }
        number
    }

    pub(super) fn classes(&self) -> usize {
        self.classes.len()
    }

    pub(super) fn is_read(&self, class: u32) -> bool {
        self.classes[class as usize].is_read
    }

    /// The state after an operation of `class`, if it can be executed in `state`.
    pub(super) fn step(&mut self, state: u32, class: u32) -> Option<u32> {
        let key = u64::from(state) << 32 | u64::from(class);
        if let Some(&next) = self.steps.get(&key) {
            return (next != IMPOSSIBLE).then_some(next);
        }
        let Class { exchange: (input, output), is_read } = self.classes[class as usize];
        let next = self.model.step(&self.states[state as usize], input, output).map(|next| {
            // A read leaves the state as it is, so that there is no need to look up which one it is.
            if is_read { state } else { self.number_of(next) }
        });
        self.steps.insert(key, next.unwrap_or(IMPOSSIBLE));
        next
    }

    /// Whether operations of this class may come after `state` without a write that starts anew.
    pub(super) fn may_follow(&self, state: u32, class: u32) -> bool {
        match self.classes[class as usize].exchange {
            (input, Some(output)) => self.model.may_follow(&self.states[state as usize], input, output),
            (_, None) => true,
        }
    }

    /// Whether a write of one class may start what operations of another one need.
    pub(super) fn may_start(&self, write: u32, class: u32) -> bool {
        match self.classes[class as usize].exchange {
            (input, Some(output)) => {
                self.model.may_start(self.classes[write as usize].exchange.0, input, output)
            }
            (_, None) => true,
        }
    }

    /// Whether what operations of this class need can be made of `state`, if it is given, and of writes with
    /// these inputs.
    pub(super) fn may_build(&self, state: Option<u32>, writes: &[&'a M::Input], class: u32) -> bool {
        let Class { exchange: (input, output), is_read } = &self.classes[class as usize];
        let state = state.map(|state| &*self.states[state as usize]);
        match output {
            Some(output) if *is_read => self.model.may_build(state, writes, input, output),
            _ => true,
        }
    }

    /// What operations of this class ask for.
    pub(super) fn input(&self, class: u32) -> &'a M::Input {
        self.classes[class as usize].exchange.0
    }

    /// How many bytes the states and what is known of them take, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.steps.capacity() * 13
    }

    fn number_of(&mut self, state: M::State) -> u32 {
        if let Some(&number) = self.state_numbers.get(&state) {
            return number;
        }
        let number = self.states.len() as u32;
        self.bytes += self.model.size(&state) + 48;
        let state = Rc::new(state);
        self.states.push(Rc::clone(&state));
        self.state_numbers.insert(state, number);
        number
    }
}
