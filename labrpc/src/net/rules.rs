//! Fault rules: data that says what befalls which messages.
//!
//! Kit-owned. A message that leaves is held against every rule in the order in which they were added;
//! those that match change its [`Fate`] in turn. Cut links are not rules: see [`crate::World::cut`].

use std::ops::Range;
use std::time::Duration;

use crate::constants::{
    LONG_REORDERING_CHANCE, LONG_REORDERING_DELAY, RELIABLE_DELAY, UNRELIABLE_DELAY, UNRELIABLE_LOSS,
};
use crate::kernel::NodeId;
use crate::record::Leg;
use crate::streams::Stream;

/// Something that befalls messages.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Between which nodes.
    pub links: Links,
    /// Of which kinds.
    pub kinds: Kinds,
    /// On the way there or on the way back; `None` for both.
    pub leg: Option<Leg>,
    /// What happens to them.
    pub effect: Effect,
}

/// Names a rule that was added, so that it can be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleId(pub(super) u64);

/// A set of directed links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Links {
    /// Every link.
    All,
    /// Links on which this node sends.
    From(NodeId),
    /// Links on which this node receives.
    To(NodeId),
    /// The link from the first node to the second.
    One(NodeId, NodeId),
}

/// A set of message kinds. A reply is of the kind of its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kinds {
    /// Every kind.
    All,
    /// One kind, by the name its request type gives it.
    Only(&'static str),
}

impl Kinds {
    /// True if messages of this kind are among them.
    pub fn has(&self, kind: &str) -> bool {
        match *self {
            Kinds::All => true,
            Kinds::Only(only) => only == kind,
        }
    }
}

/// What happens to a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// It takes this long, instead of what it took otherwise.
    Delay(Range<Duration>),
    /// With some probability it takes this much longer.
    ExtraDelay {
        /// The probability.
        chance: f64,
        /// By how much longer.
        delay: Range<Duration>,
    },
    /// It is lost with this probability.
    Lose(f64),
    /// With some probability a second copy arrives, later than the first.
    Duplicate {
        /// The probability.
        chance: f64,
        /// By how much later.
        delay: Range<Duration>,
    },
    /// The network keeps it until the test releases or drops it.
    Hold,
}

/// The rules of an unreliable network: requests take 0 to 26 ms, and each way a tenth is lost.
pub fn unreliable() -> Vec<Rule> {
    let everywhere = |leg, effect| Rule { links: Links::All, kinds: Kinds::All, leg, effect };
    vec![
        everywhere(Some(Leg::Request), Effect::Delay(UNRELIABLE_DELAY)),
        everywhere(None, Effect::Lose(UNRELIABLE_LOSS)),
    ]
}

/// The rule of long reordering: two thirds of the messages on `leg` are held back by 200 to 2,200 ms.
pub fn long_reordering(leg: Leg) -> Rule {
    let effect = Effect::ExtraDelay { chance: LONG_REORDERING_CHANCE, delay: LONG_REORDERING_DELAY };
    Rule { links: Links::All, kinds: Kinds::All, leg: Some(leg), effect }
}

impl Rule {
    /// The rule in words, as a trace shows it; `name` names the nodes.
    pub fn describe(&self, name: impl Fn(NodeId) -> String) -> String {
        let what = match (&self.kinds, self.leg) {
            (Kinds::All, None) => "messages".to_owned(),
            (Kinds::All, Some(Leg::Request)) => "requests".to_owned(),
            (Kinds::All, Some(Leg::Reply)) => "replies".to_owned(),
            (Kinds::Only(kind), None) => format!("{kind} requests and replies"),
            (Kinds::Only(kind), Some(Leg::Request)) => format!("{kind} requests"),
            (Kinds::Only(kind), Some(Leg::Reply)) => format!("replies to {kind}"),
        };
        let links = match self.links {
            Links::All => String::new(),
            Links::From(node) => format!(" sent by {}", name(node)),
            Links::To(node) => format!(" sent to {}", name(node)),
            Links::One(from, to) => format!(" sent by {} to {}", name(from), name(to)),
        };
        let effect = match &self.effect {
            Effect::Delay(range) => format!("take {:?} to {:?}", range.start, range.end),
            Effect::ExtraDelay { chance, delay } => {
                format!("take {:?} to {:?} longer, with probability {chance:.2}", delay.start, delay.end)
            }
            Effect::Lose(chance) if *chance >= 1.0 => "are lost".to_owned(),
            Effect::Lose(chance) => format!("are lost with probability {chance:.2}"),
            Effect::Duplicate { chance, delay } => {
                format!("arrive twice with probability {chance:.2}, up to {:?} apart", delay.end)
            }
            Effect::Hold => "are held".to_owned(),
        };
        format!("{what}{links} {effect}")
    }

    fn applies(&self, from: NodeId, to: NodeId, kind: &str, leg: Leg) -> bool {
        let links = match self.links {
            Links::All => true,
            Links::From(node) => node == from,
            Links::To(node) => node == to,
            Links::One(sender, receiver) => sender == from && receiver == to,
        };
        links && self.kinds.has(kind) && self.leg.is_none_or(|only| only == leg)
    }
}

/// What befalls one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) lost: bool,
    pub(super) held: bool,
    pub(super) delay: Duration,
    /// How long after the message each of its copies arrives.
    pub(super) copies: Vec<Duration>,
}

impl Fate {
    /// Draws the fate of a message from its link's stream. Without rules the link is reliable.
    pub(super) fn decide(
        rules: &[(super::RuleId, Rule)],
        from: NodeId,
        to: NodeId,
        kind: &str,
        leg: Leg,
        random: &mut Stream,
    ) -> Fate {
        let mut fate =
            Fate { lost: false, held: false, delay: random.duration(&RELIABLE_DELAY), copies: vec![] };
        for (_, rule) in rules {
            if rule.applies(from, to, kind, leg) {
                fate.suffer(&rule.effect, random);
            }
        }
        fate
    }

    fn suffer(&mut self, effect: &Effect, random: &mut Stream) {
        match effect {
            Effect::Delay(range) => self.delay = random.duration(range),
            Effect::ExtraDelay { chance, delay } => {
                if random.chance(*chance) {
                    self.delay += random.duration(delay);
                }
            }
            Effect::Lose(chance) => self.lost |= random.chance(*chance),
            Effect::Duplicate { chance, delay } => {
                if random.chance(*chance) {
                    self.copies.push(random.duration(delay));
                }
            }
            Effect::Hold => self.held = true,
        }
    }
}
