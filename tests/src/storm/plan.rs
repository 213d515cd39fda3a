//! The plan of a fault storm: what is drawn, and in which words a report tells it.
//!
//! Kit-owned; a part of `../storm.rs`, which has the faults happen.

use std::time::Duration;

use labraft::ServerId;
use labrpc::{InFlight, Kinds, Leg, Moment, Stream};

use crate::network::sent_by_deed;

/// The faults of a storm, in the order in which they begin.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) faults: Vec<Fault>,
    pub(super) span: Duration,
}

/// One fault of a storm.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    pub(super) at: Duration,
    pub(super) span: Duration,
    pub(super) kind: Kind,
}

/// What a fault does, for as long as it lasts.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
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
pub(super) enum Target {
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

/// How probable it is that a storm has stalls.
const STALLS_CHANCE: f64 = 0.3;

impl Plan {
    /// Draws `count` faults that begin within `span`.
    pub(super) fn draw(random: &mut Stream, servers: usize, span: Duration, count: usize, mix: Mix) -> Plan {
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
    pub(super) fn add_stalls(&mut self, random: &mut Stream, servers: usize) {
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
    pub(super) fn for_any_messages(&mut self) {
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
                    *moment = sent_by_deed(leg);
                }
            }
            _ => {}
        }
    }

    pub(super) fn describe(&self) -> String {
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
    pub(super) fn describe(&self) -> String {
        format!(
            "{:>6.3} s for {:.3} s: {}",
            self.at.as_secs_f64(),
            self.span.as_secs_f64(),
            self.kind.describe()
        )
    }
}
