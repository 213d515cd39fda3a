//! A key-value store with clients, whose histories are linearizable unless a fault is asked for.
//!
//! Kit-owned.

use labcheck::{KvHistory, KvOp, OpId};

use super::Rng;

/// How a run goes.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) clients: usize,
    /// A client that has nothing to do calls once in so many turns: the more, the less overlaps.
    pub(crate) rests: usize,
    pub(crate) operations: usize,
    pub(crate) keys: usize,
    pub(crate) values: Values,
    /// Out of ten operations, how many are gets, and how many of the others are puts.
    pub(crate) gets: usize,
    pub(crate) puts: usize,
    /// Once in so many operations nobody learns the outcome, or it surely failed; 0 for never.
    pub(crate) unknown: usize,
    pub(crate) failed: usize,
    pub(crate) fault: Option<Fault>,
    /// The fault strikes once, near the end, and surely.
    pub(crate) late_fault: bool,
}

/// What clients write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    /// Every value is written once, and can be told from all others.
    Unique,
    /// The same, but that clients begin anew after some time.
    Restarting,
    /// A few short ones, over and over, some of which begin with others.
    Few,
}

/// What a store may do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    DuplicateAppend,
    LostWrite,
    StaleRead,
    FutureRead,
    /// A get shows two writes in the wrong order.
    Reordered,
    /// Gets return anything.
    Random,
}

pub(crate) const FAULTS: [Fault; 6] = [
    Fault::DuplicateAppend,
    Fault::LostWrite,
    Fault::StaleRead,
    Fault::FutureRead,
    Fault::Reordered,
    Fault::Random,
];

/// An operation under way.
struct Call {
    id: OpId,
    op: KvOp,
    /// What a get found, once it was executed.
    found: Option<String>,
    executed: bool,
    /// Nobody will learn of it.
    unknown: bool,
    failed: bool,
}

struct Store<'a> {
    rng: &'a mut Rng,
    plan: Plan,
    history: KvHistory,
    /// All values that each key has held, the present one last.
    held: Vec<Vec<String>>,
    written: Vec<String>,
    /// Operations of unknown outcome that may still happen.
    lost: Vec<Call>,
    /// The late fault has struck.
    struck: bool,
    /// What a get has returned before its time: the next write makes up for it.
    promised: Option<KvOp>,
}

/// One run: clients call, the store executes, clients learn, in any interleaving.
pub(crate) fn run(rng: &mut Rng, plan: Plan) -> KvHistory {
    let held = vec![vec![String::new()]; plan.keys];
    let mut store = Store {
        rng,
        plan,
        history: KvHistory::new(),
        held,
        written: Vec::new(),
        lost: Vec::new(),
        struck: false,
        promised: None,
    };
    let mut open: Vec<Option<Call>> = (0..plan.clients).map(|_| None).collect();
    while store.history.len() < plan.operations || open.iter().any(Option::is_some) {
        let client = store.rng.below(plan.clients);
        open[client] = match open[client].take() {
            None if store.history.len() < plan.operations && store.rng.one_in(plan.rests) => {
                Some(store.call(client))
            }
            None => None,
            Some(call) => store.proceed(call),
        };
        if store.rng.one_in(8) && !store.lost.is_empty() {
            let at = store.rng.below(store.lost.len());
            let mut call = store.lost.swap_remove(at);
            store.execute(&mut call);
        }
    }
    store.history
}

impl Store<'_> {
    fn call(&mut self, client: usize) -> Call {
        let op = self.promised.take().unwrap_or_else(|| self.choose(client));
        let unknown = self.plan.unknown > 0 && self.rng.one_in(self.plan.unknown);
        let failed = !unknown && self.plan.failed > 0 && self.rng.one_in(self.plan.failed);
        let id = self.history.invoke(client as u64, op.clone());
        Call { id, op, found: None, executed: false, unknown, failed }
    }

    fn choose(&mut self, client: usize) -> KvOp {
        let key = self.rng.below(self.plan.keys).to_string();
        if self.rng.below(10) < self.plan.gets {
            return KvOp::Get { key };
        }
        let value = self.value(client);
        self.written.push(value.clone());
        if self.rng.below(10) < self.plan.puts {
            KvOp::Put { key, value }
        } else {
            KvOp::Append { key, value }
        }
    }

    fn value(&mut self, client: usize) -> String {
        let number = self.history.len();
        match self.plan.values {
            Values::Unique => format!("x {client} {number} y"),
            Values::Restarting => format!("x {client} {} y", number % 300),
            Values::Few => (*self.rng.pick(&["a", "b", "ab", "a", "b", ""])).to_owned(),
        }
    }

    /// One more step of an operation; `None` once it is over.
    fn proceed(&mut self, mut call: Call) -> Option<Call> {
        if call.unknown {
            if self.rng.one_in(2) {
                self.history.unknown(call.id);
            }
            self.lost.push(call);
            return None;
        }
        if call.failed {
            self.history.fail(call.id);
            return None;
        }
        if !call.executed {
            self.execute(&mut call);
            return Some(call);
        }
        self.history.ok(call.id, call.found);
        None
    }

    fn execute(&mut self, call: &mut Call) {
        call.executed = true;
        let key: usize = call.op.key().parse().expect("keys are numbers");
        let fault = self
            .plan
            .fault
            .filter(|_| if self.plan.late_fault { self.strikes_late(&call.op) } else { self.rng.one_in(2) });
        let mut state = self.held[key].last().cloned().unwrap_or_default();
        match &call.op {
            KvOp::Get { .. } => {
                call.found = Some(self.read(key, fault, state));
                return;
            }
            _ if fault == Some(Fault::LostWrite) => return,
            KvOp::Put { value, .. } => state.clone_from(value),
            KvOp::Append { value, .. } => {
                state.push_str(value);
                if fault == Some(Fault::DuplicateAppend) {
                    state.push_str(value);
                }
            }
        }
        self.held[key].push(state);
    }

    fn read(&mut self, key: usize, fault: Option<Fault>, state: String) -> String {
        match fault {
            Some(Fault::StaleRead) if self.plan.late_fault => {
                self.held[key][self.held[key].len() / 2].clone()
            }
            Some(Fault::StaleRead) => self.rng.pick(&self.held[key]).clone(),
            Some(Fault::FutureRead) => {
                let value = format!("x f {} y", self.history.len());
                self.promised = Some(KvOp::Append { key: key.to_string(), value: value.clone() });
                state + &value
            }
            Some(Fault::Reordered) => {
                let mut tokens: Vec<&str> = state.split_inclusive('y').collect();
                if tokens.len() > 1 {
                    let at = self.rng.below(tokens.len() - 1);
                    tokens.swap(at, at + 1);
                }
                tokens.concat()
            }
            Some(Fault::Random) => {
                let mut value = String::new();
                while !self.written.is_empty() && !self.rng.one_in(3) {
                    value.push_str(self.rng.pick::<String>(&self.written));
                }
                value
            }
            _ => state,
        }
    }

    /// Whether a late fault strikes now. Faults of reads strike gets, others the rest.
    fn strikes_late(&mut self, op: &KvOp) -> bool {
        let strikes_gets = !matches!(self.plan.fault, Some(Fault::DuplicateAppend | Fault::LostWrite));
        let is_near_the_end = self.history.len() * 5 > self.plan.operations * 4;
        let strikes = !self.struck && is_near_the_end && strikes_gets == matches!(op, KvOp::Get { .. });
        self.struck |= strikes;
        strikes
    }
}
