//! Fault storms: random faults, drawn up front as data, so that a plan can be run again with fewer.
//!
//! Kit-owned. Each fault stands for itself: it says when it begins, how long it lasts and whom it hits, and
//! ends without regard to the others. So any of them can be left out, and what remains is what it was.

mod plan;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use labraft::ServerId;
use labrpc::{
    Effect, InFlight, Kinds, Leg, Links, Purpose, Rule, RuleId, Stalls, Stream, long_reordering, unreliable,
};
use parking_lot::Mutex;

pub use self::plan::Mix;
use self::plan::{Fault, Kind, Plan, Target};
use crate::cluster::Cluster;
use crate::server::node_of;

/// Which faults of a plan to keep, and where the plan is left for reports.
#[derive(Clone, Debug, Default)]
pub(crate) struct StormOrder {
    /// The numbers of the faults to keep, counted from 1; all when `None`.
    pub(crate) keep: Option<Vec<usize>>,
    /// The faults of the run, each with its number.
    pub(crate) faults: Arc<Mutex<Vec<(usize, String)>>>,
}

/// How late the threads of a slow server are.
const LATENESS: Duration = Duration::from_millis(20);

/// For how long a thread is held up.
const STALL_SPAN: Range<Duration> = Duration::from_micros(100)..Duration::from_millis(400);

/// How long a save takes at most on a slow disk.
const DISK_DELAY: Duration = Duration::from_millis(10);

/// Mean time between two commands.
const COMMAND_INTERVAL: Duration = Duration::from_millis(150);

/// How to end a fault that has begun.
enum Undo {
    Links(Vec<(ServerId, ServerId)>),
    Rules(Vec<RuleId>),
    Held(RuleId, ServerId, Kinds, Option<Leg>),
    Resume(ServerId),
    Quicken(ServerId),
    EndStalls(ServerId),
    Start(ServerId),
    Nothing,
}

/// A storm that is going on.
struct Weather<'a> {
    cluster: &'a mut Cluster,
    /// How many faults cut each link.
    cuts: BTreeMap<(ServerId, ServerId), u32>,
}

impl Cluster {
    /// Draws `count` faults that begin within `span`, from a stream of their own, and has them go over the
    /// cluster as `weather` says.
    pub fn storm(&mut self, span: Duration, count: usize, mix: Mix) {
        let mut faults = self.world().stream(Purpose::Faults, 1);
        let mut plan = Plan::draw(&mut faults, self.len(), span, count, mix);
        // From a stream of their own, so that all other faults are what they are without them.
        plan.add_stalls(&mut self.world().stream(Purpose::Faults, 2), self.len());
        if !self.is_readable() {
            plan.for_any_messages();
        }
        self.weather(plan);
    }

    /// Has a storm go over the cluster while commands come in, if the stage has any; then lifts all faults,
    /// starts whoever is down, and lets held messages go.
    fn weather(&mut self, plan: Plan) {
        let keep = self.storm_order.keep.clone();
        let is_kept = |number: usize| keep.as_ref().is_none_or(|keep| keep.contains(&number));
        let faults: Vec<(usize, Fault)> =
            (1..).zip(plan.faults).filter(|(number, _)| is_kept(*number)).collect();
        *self.storm_order.faults.lock() =
            faults.iter().map(|(number, fault)| (*number, fault.describe())).collect();
        let mut turns: Vec<(Duration, bool, usize)> = Vec::new();
        for (place, (_, fault)) in faults.iter().enumerate() {
            turns.push((fault.at, true, place));
            turns.push((fault.at + fault.span, false, place));
        }
        turns.sort();
        let begun = self.now();
        let mut load = self.world().stream(Purpose::Workload, 0);
        let mut undo: BTreeMap<usize, Undo> = BTreeMap::new();
        let mut weather = Weather { cluster: self, cuts: BTreeMap::new() };
        for (at, begins, place) in turns {
            weather.work_until(begun + at, &mut load);
            let (number, fault) = &faults[place];
            if begins {
                weather.cluster.world().note(&format!("fault {number} begins: {}", fault.kind.describe()));
                undo.insert(place, weather.begin(&fault.kind));
            } else if let Some(undo) = undo.remove(&place) {
                weather.cluster.world().note(&format!("fault {number} ends"));
                weather.end(undo);
            }
        }
        weather.work_until(begun + plan.span, &mut load);
        self.heal();
        (0..self.len()).for_each(|server| self.start1(server));
        self.release(|_| true);
    }
}

impl Weather<'_> {
    /// Lets time pass, with a command now and then.
    fn work_until(&mut self, end: Duration, load: &mut Stream) {
        loop {
            let left = end.saturating_sub(self.cluster.now());
            if left.is_zero() {
                return;
            }
            let pause = load.duration(&(Duration::ZERO..COMMAND_INTERVAL * 2));
            self.cluster.sleep(pause.min(left));
            if pause <= left && self.cluster.has_commands() {
                self.cluster.start_everywhere();
            }
        }
    }

    fn begin(&mut self, kind: &Kind) -> Undo {
        let servers = self.cluster.len();
        match kind {
            Kind::CutOff(target) => {
                let server = self.resolve(*target);
                let links = (0..servers).filter(|&peer| peer != server);
                self.cut(links.flat_map(|peer| [(server, peer), (peer, server)]).collect())
            }
            Kind::Divided(group) => {
                let pairs = (0..servers).flat_map(|from| (0..servers).map(move |to| (from, to)));
                self.cut(pairs.filter(|(from, to)| group.contains(from) != group.contains(to)).collect())
            }
            Kind::OneWay(from, to) => {
                let from = self.resolve(*from);
                self.cut(vec![(from, *to)])
            }
            Kind::Parted(one, other) => {
                let one = self.resolve(*one);
                self.cut(vec![(one, *other), (*other, one)])
            }
            Kind::Lossy => self.rules(unreliable()),
            Kind::Reordered(leg) => self.rules(vec![long_reordering(*leg)]),
            Kind::Duplicated => {
                let effect =
                    Effect::Duplicate { chance: 0.5, delay: Duration::ZERO..Duration::from_millis(800) };
                self.rules(vec![Rule { links: Links::All, kinds: Kinds::All, leg: None, effect }])
            }
            Kind::Held(from, kinds, leg) => {
                let from = self.resolve(*from);
                let links = Links::From(node_of(from));
                let rule = Rule { links, kinds: kinds.clone(), leg: *leg, effect: Effect::Hold };
                Undo::Held(self.cluster.add_rule(rule), from, kinds.clone(), *leg)
            }
            Kind::Paused(target) => self.hit(*target, |cluster, server| {
                cluster.pause(server);
                Undo::Resume(server)
            }),
            Kind::Slow(target) => self.hit(*target, |cluster, server| {
                cluster.slow(server, Duration::ZERO..LATENESS);
                Undo::Quicken(server)
            }),
            Kind::SlowDisk(target) => self.hit(*target, |cluster, server| {
                cluster.slow_disk(server, Duration::ZERO..DISK_DELAY);
                Undo::Quicken(server)
            }),
            Kind::Stalls(target, one_in) => self.hit(*target, |cluster, server| {
                cluster.stall(server, Stalls { one_in: *one_in, span: STALL_SPAN });
                Undo::EndStalls(server)
            }),
            Kind::Crashed(target, in_flight) => self.hit(*target, |cluster, server| {
                cluster.crash_with(server, *in_flight);
                Undo::Start(server)
            }),
            Kind::CrashAt(target, moment, nth) => self.hit(*target, |cluster, server| {
                cluster.crash_at(server, moment.clone(), *nth, InFlight::Delivered);
                Undo::Start(server)
            }),
        }
    }

    fn end(&mut self, undo: Undo) {
        match undo {
            Undo::Links(links) => {
                for (from, to) in links {
                    let cuts = self.cuts.entry((from, to)).or_default();
                    *cuts -= 1;
                    if *cuts == 0 {
                        self.cluster.mend(from, to);
                    }
                }
            }
            Undo::Rules(rules) => rules.into_iter().for_each(|rule| self.cluster.remove_rule(rule)),
            Undo::Held(rule, from, kinds, leg) => {
                self.cluster.remove_rule(rule);
                let is_ours = |held: &labrpc::HeldMessage| {
                    held.from.node == node_of(from)
                        && kinds.has(held.kind)
                        && leg.is_none_or(|leg| held.leg == leg)
                };
                self.cluster.release(is_ours);
            }
            Undo::Resume(server) => {
                // A crash has woken it meanwhile, perhaps.
                if self.cluster.members[server].is_paused {
                    self.cluster.resume(server);
                }
            }
            Undo::Quicken(server) => {
                self.cluster.slow(server, Duration::ZERO..Duration::ZERO);
                self.cluster.slow_disk(server, Duration::ZERO..Duration::ZERO);
            }
            Undo::EndStalls(server) => self.cluster.end_stalls_of(server),
            Undo::Start(server) => self.cluster.start1(server),
            Undo::Nothing => {}
        }
    }

    /// Does something to a server, unless it is down.
    fn hit(&mut self, target: Target, f: impl FnOnce(&mut Cluster, ServerId) -> Undo) -> Undo {
        let server = self.resolve(target);
        if self.cluster.is_up(server) { f(self.cluster, server) } else { Undo::Nothing }
    }

    fn rules(&mut self, rules: Vec<Rule>) -> Undo {
        Undo::Rules(rules.into_iter().map(|rule| self.cluster.add_rule(rule)).collect())
    }

    fn cut(&mut self, links: Vec<(ServerId, ServerId)>) -> Undo {
        let links: Vec<_> = links.into_iter().filter(|(from, to)| from != to).collect();
        for &(from, to) in &links {
            let cuts = self.cuts.entry((from, to)).or_default();
            *cuts += 1;
            if *cuts == 1 {
                self.cluster.cut(from, to);
            }
        }
        Undo::Links(links)
    }

    /// The server that leads the latest term, as far as anyone says so; the first one otherwise.
    fn resolve(&mut self, target: Target) -> ServerId {
        match target {
            Target::Server(server) => server,
            Target::Leader => {
                let is_asked = |server: &ServerId| !self.cluster.members[*server].is_paused;
                let asked: Vec<ServerId> = (0..self.cluster.len()).filter(is_asked).collect();
                self.cluster.latest_leader_of(&asked).unwrap_or(0)
            }
        }
    }
}
