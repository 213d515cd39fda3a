//! How scripts live with an election timer of which they know nothing.
//!
//! Kit-owned. Time-outs are the student's choice, so a script cannot know them, and a dozen tries do not
//! show the shortest: of time-outs from 150 to 1,500 ms, the shortest of twelve is 600 ms or more in one run
//! of four where the server sleeps until an old deadline before it looks at the new one. So what is seen
//! only makes a script speak faster, to servers that are quicker than usual; it never speaks more slowly than the
//! shortest time-outs in use bear.

use std::time::Duration;

use labraft::{ServerId, Term};

use crate::finding::Finding;
use crate::parts::heartbeat;
use crate::script::{STANDS_WITHIN, Script};

/// The shortest time-out in use: the paper's, which the chapter names.
const SHORTEST_IN_USE: Duration = Duration::from_millis(150);

/// How often a server is watched until it stands.
const TRIES: usize = 12;

/// What was seen of a server's time-outs.
#[derive(Clone, Copy, Debug)]
pub struct TimeOuts {
    shortest: Duration,
    longest: Duration,
    /// The term in which S0 was seen last. It may have stood again since.
    pub term: Term,
}

impl TimeOuts {
    /// A server that hears from its leader this often never stands: a quarter of the shortest time-out that
    /// it can have, by what is in use and by what was seen.
    ///
    /// The chance that a correct server stands all the same is nil for time-outs of 150 ms and more, from
    /// whatever range: 38 ms and the 4 ms of a message and its answer are less than a third of that. Only one
    /// that has time-outs of less than 42 ms, but showed none below 150 ms, could.
    pub fn interval(&self) -> Duration {
        self.shortest.min(SHORTEST_IN_USE) / 4
    }

    /// For so many of these intervals a server is to be held off: twice the longest time-out that was seen,
    /// so a timer that nothing resets runs out meanwhile.
    pub fn rounds(&self) -> u32 {
        let needed = 2 * self.longest.as_micros() / self.interval().as_micros().max(1);
        u32::try_from(needed).unwrap_or(u32::MAX).clamp(80, 4_000)
    }
}

/// What a follower hears often, in the words of a report.
#[derive(Clone, Copy, Debug)]
pub struct HeardOften {
    /// "a heartbeat comes"
    pub happens: &'static str,
    /// ", while its leader ...", or nothing.
    pub meanwhile: &'static str,
}

impl Script {
    /// Watches S0 stand a dozen times after it has heard a leader.
    pub fn watch_time_outs(&mut self) -> TimeOuts {
        let mut seen = TimeOuts { shortest: STANDS_WITHIN, longest: Duration::ZERO, term: 1_000 };
        for _ in 0..TRIES {
            self.append_entries(1, heartbeat(seen.term, 1));
            let heard = self.now();
            self.forget();
            let (stood, args) = self.wait_for_candidate(seen.term);
            let waited = stood.saturating_sub(heard);
            seen.shortest = seen.shortest.min(waited);
            seen.longest = seen.longest.max(waited);
            seen.term = args.term + 10;
        }
        seen
    }

    /// S1 leads, and `speak` has it say something to S0 often enough to hold off any election, for longer than
    /// S0 was seen to wait. Fails the run when S0 stands all the same: `rule` is broken, although S0 heard so
    /// often of `what`.
    pub fn check_holds_off(&mut self, rule: &str, what: &HeardOften, speak: impl Fn(&Script, Term)) {
        let time_outs = self.watch_time_outs();
        let (interval, term) = (time_outs.interval(), time_outs.term + 10);
        self.append_entries(1, heartbeat(term, 1));
        self.forget();
        for _ in 0..time_outs.rounds() {
            self.sleep(interval);
            speak(self, term);
        }
        let stand = self.arrived().into_iter().find(|arrived| arrived.is_candidacy_after(term));
        if let Some(stand) = stand {
            self.fail(Finding::liveness(
                rule,
                format!("S0 stays in term {term}, as {} every {interval:.0?}", what.happens),
                format!("S0 stood for election in term {}{}", stand.request.term(), what.meanwhile),
            ));
        }
    }

    /// `peer` speaks as the leader of a term above S0's own; returns that term. After a start a script goes
    /// on in this way, because a server may stand at once then, and refuse all that is said in an earlier term.
    /// Now it follows, and has a whole time-out before it.
    pub fn lead(&self, peer: ServerId) -> Term {
        let term = self.get_state().0 + 10;
        self.append_entries(peer, heartbeat(term, peer));
        term
    }
}
