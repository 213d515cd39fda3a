//! Fault storms: random faults, drawn up front as data, so that a plan can be run again with fewer.
//!
//! Kit-owned. Each fault stands for itself: it says when it begins, how long it lasts and whom it hits, and
//! ends without regard to the others. So any of them can be left out, and what remains is what it was.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use labraft::ServerId;
use labrpc::{
    Effect, InFlight, Kinds, Leg, Links, Moment, Purpose, Rule, RuleId, Stalls, Stream, long_reordering,
    unreliable,
};
use parking_lot::Mutex;

use crate::cluster::Cluster;
use crate::server::node_of;

/// The faults of a storm, in the order in which they begin.
#[derive(Clone, Debug, PartialEq)]
struct Plan {
    faults: Vec<Fault>,
    span: Duration,
}

/// One fault of a storm.
#[derive(Clone, Debug, PartialEq)]
struct Fault {
    at: Duration,
    span: Duration,
    kind: Kind,
}

/// What a fault does, for as long as it lasts.
#[derive(Clone, Debug, PartialEq)]
enum Kind {
    CutOff(Target),
    /// These servers and all others do not hear each other.
    Divided(Vec<ServerId>),
    /// The first cannot send to the second.
    OneWay(Target, ServerId),
    /// Two servers do not hear each other.
    Parted(Target, ServerId),
    Lossy,
    Reordered(Leg),
    Duplicated,
    /// Messages of a kind that a server sends are held, and sent on at the end.
    Held(Target, Kinds, Option<Leg>),
    Paused(Target),
    Slow(Target),
    SlowDisk(Target),
    /// Its threads are held up now and then, once in so many chances.
    Stalls(Target, u32),
    Crashed(Target, InFlight),
    /// It crashes when it comes to a moment for the nth time.
    CrashAt(Target, Moment, u32),
}

/// Whom a fault hits. Who leads is known only when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Server(ServerId),
    Leader,
}

/// Which faults a storm has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// Those of the network, and slow and paused servers.
    Network,
    /// Also crashes and slow disks.
    Crashes,
    /// Also what befalls the answers to clients.
    Service,
}

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

/// How probable it is that a storm has stalls.
const STALLS_CHANCE: f64 = 0.3;

/// For how long a thread is held up.
const STALL_SPAN: Range<Duration> = Duration::from_micros(100)..Duration::from_millis(400);

/// How long a save takes at most on a slow disk.
const DISK_DELAY: Duration = Duration::from_millis(10);

/// Mean time between two commands.
const COMMAND_INTERVAL: Duration = Duration::from_millis(150);

impl Plan {
    /// Draws `count` faults that begin within `span`.
    fn draw(random: &mut Stream, servers: usize, span: Duration, count: usize, mix: Mix) -> Plan {
        let mut faults: Vec<Fault> = (0..count)
            .map(|_| Fault {
                at: random.duration(&(Duration::ZERO..span)),
                span: random.duration(&(Duration::from_millis(50)..Duration::from_millis(3_000))),
                kind: Kind::draw(random, servers, mix),
            })
            .collect();
        faults.sort_by_key(|fault| fault.at);
        Plan { faults, span }
    }

    /// Adds stalls: to most plans none, to some many.
    fn add_stalls(&mut self, random: &mut Stream, servers: usize) {
        if !random.chance(STALLS_CHANCE) {
            return;
        }
        for _ in 0..random.range(1..7) {
            let at = random.duration(&(Duration::ZERO..self.span));
            let span = random.duration(&(Duration::from_millis(50)..Duration::from_millis(3_000)));
            let target = Target::draw(random, servers);
            let one_in = 1 << random.range(4..9);
            self.faults.push(Fault { at, span, kind: Kind::Stalls(target, one_in) });
        }
        self.faults.sort_by_key(|fault| fault.at);
    }

    /// The same for servers with messages of their own: what names a kind of message picks by what it does.
    fn for_any_messages(&mut self) {
        self.faults.iter_mut().for_each(|fault| fault.kind.pick_by_deed());
    }
}

impl Kind {
    fn draw(random: &mut Stream, servers: usize, mix: Mix) -> Kind {
        let target = Target::draw(random, servers);
        let other = random.below(servers as u64) as usize;
        let kinds = match mix {
            Mix::Network => 10,
            Mix::Crashes => 15,
            Mix::Service => 18,
        };
        match random.below(kinds) {
            0 | 1 => Kind::CutOff(target),
            2 => {
                let mut all: Vec<ServerId> = (0..servers).collect();
                random.shuffle(&mut all);
                all.truncate(servers / 2);
                all.sort_unstable();
                Kind::Divided(all)
            }
            3 => Kind::OneWay(target, other),
            4 => Kind::Parted(target, other),
            5 => Kind::Lossy,
            6 => Kind::Reordered(if random.chance(0.5) { Leg::Request } else { Leg::Reply }),
            7 => Kind::Duplicated,
            8 => {
                let kind = if random.chance(0.7) { "AppendEntries" } else { "RequestVote" };
                let leg = if random.chance(0.5) { Leg::Request } else { Leg::Reply };
                Kind::Held(target, Kinds::Only(kind), Some(leg))
            }
            9 => {
                if random.chance(0.5) {
                    Kind::Paused(target)
                } else {
                    Kind::Slow(target)
                }
            }
            10 => Kind::SlowDisk(target),
            11 | 12 => Kind::Crashed(
                target,
                if random.chance(0.5) { InFlight::Dropped } else { InFlight::Delivered },
            ),
            13 | 14 => Kind::CrashAt(target, moment(random), 1 + random.below(3) as u32),
            15 => {
                let kind = if random.chance(0.6) { "PutAppend" } else { "Get" };
                Kind::Held(target, Kinds::Only(kind), Some(Leg::Reply))
            }
            _ => {
                let answered = Moment::Sent { leg: Leg::Reply, kind: "PutAppend" };
                Kind::CrashAt(target, answered, 1 + random.below(5) as u32)
            }
        }
    }

    /// Names no kind of message between servers any more. Those of the service stay, whatever Raft is below.
    fn pick_by_deed(&mut self) {
        let is_servers = |kind: &str| ["AppendEntries", "RequestVote"].contains(&kind);
        match self {
            Kind::Held(_, kinds, leg) if matches!(&*kinds, Kinds::Only(kind) if is_servers(kind)) => {
                (*kinds, *leg) = (Kinds::All, None);
            }
            Kind::CrashAt(_, moment, _) => {
                if let Moment::Sent { leg, kind } = *moment
                    && is_servers(kind)
                {
                    *moment = if leg == Leg::Reply { Moment::SentAfterSave } else { Moment::SentAny };
                }
            }
            _ => {}
        }
    }

    fn describe(&self) -> String {
        match self {
            Kind::CutOff(target) => format!("{target} is cut off"),
            Kind::Divided(servers) => format!("S{servers:?} and all others do not hear each other")
                .replace("S[", "[S")
                .replace(", ", ", S"),
            Kind::OneWay(from, to) => format!("{from} cannot send to S{to}"),
            Kind::Parted(one, other) => format!("{one} and S{other} do not hear each other"),
            Kind::Lossy => "the network is unreliable".into(),
            Kind::Reordered(leg) => format!("two thirds of {} are 0.2 to 2.2 s late", legs(*leg)),
            Kind::Duplicated => "half of the messages arrive twice".into(),
            Kind::Held(from, kinds, leg) => {
                let kind = if let Kinds::Only(kind) = kinds { format!("{kind} ") } else { String::new() };
                format!("{kind}{} that {from} sends are held", leg.map_or("messages", legs))
            }
            Kind::Paused(target) => format!("{target} is paused"),
            Kind::Slow(target) => format!("{target} is slow"),
            Kind::SlowDisk(target) => format!("{target}'s disk is slow"),
            Kind::Stalls(target, _) => format!("{target}'s threads are held up now and then"),
            Kind::Crashed(target, InFlight::Dropped) => format!("{target} is down, its messages are lost"),
            Kind::Crashed(target, InFlight::Delivered) => format!("{target} is down"),
            Kind::CrashAt(target, moment, nth) => format!("{target} is to crash {}", at(moment, *nth)),
        }
    }
}

impl Target {
    fn draw(random: &mut Stream, servers: usize) -> Target {
        if random.chance(0.4) {
            Target::Leader
        } else {
            Target::Server(random.below(servers as u64) as usize)
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Server(server) => write!(f, "S{server}"),
            Target::Leader => f.write_str("the leader"),
        }
    }
}

fn legs(leg: Leg) -> &'static str {
    match leg {
        Leg::Request => "requests",
        Leg::Reply => "replies",
    }
}

fn moment(random: &mut Stream) -> Moment {
    let sent = |leg, kind| Moment::Sent { leg, kind };
    match random.below(6) {
        0 | 1 => Moment::BeforeSave,
        2 | 3 => Moment::AfterSave,
        4 => sent(Leg::Reply, if random.chance(0.5) { "AppendEntries" } else { "RequestVote" }),
        _ => sent(Leg::Request, "AppendEntries"),
    }
}

fn at(moment: &Moment, nth: u32) -> String {
    let moment = match moment {
        Moment::BeforeSave => "before save".to_owned(),
        Moment::AfterSave => "after save".to_owned(),
        Moment::Sent { leg: Leg::Request, kind } => format!("after sending {kind} request"),
        Moment::Sent { leg: Leg::Reply, kind } => format!("after replying to {kind}"),
        Moment::SentAny => "after sending message".to_owned(),
        Moment::SentAfterSave => "after sending the first message since a save,".to_owned(),
    };
    format!("{moment} number {nth}")
}

impl Fault {
    fn describe(&self) -> String {
        format!(
            "{:>6.3} s for {:.3} s: {}",
            self.at.as_secs_f64(),
            self.span.as_secs_f64(),
            self.kind.describe()
        )
    }
}

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
                        && (kinds == Kinds::All || kinds == Kinds::Only(held.kind))
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
