//! Calls and returns in the order of time, from which operations are taken out as they are placed.
//!
//! Kit-owned. Read `engine.rs` first.

/// A list linked both ways, so that what was taken out last can be put back where it was.
pub(super) struct Timeline {
    /// Entry 0 is the head; a link to it is the end.
    links: Vec<Link>,
    /// Per operation, the entries of its call and its return; 0 if it does not return.
    entries: Vec<[u32; 2]>,
}

#[derive(Clone, Copy)]
struct Link {
    next: u32,
    previous: u32,
    /// The operation, and in the lowest bit whether this is its return.
    what: u32,
}

/// One entry: a call or a return.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    Call(u32),
    Return(u32),
}

impl Timeline {
    /// Of operations with the times of their calls and returns. At one time, calls come before returns:
    /// what touches counts as concurrent.
    pub(super) fn new(times: &[(u64, Option<u64>)]) -> Timeline {
        let mut events: Vec<(u64, u32)> = Vec::with_capacity(2 * times.len());
        for (op, &(called, returned)) in times.iter().enumerate() {
            events.push((called, (op as u32) << 1));
            events.extend(returned.map(|returned| (returned.max(called), (op as u32) << 1 | 1)));
        }
        events.sort_by_key(|&(time, what)| (time, what & 1));
        let mut links = vec![Link { next: 1, previous: events.len() as u32, what: 0 }];
        let mut entries = vec![[0; 2]; times.len()];
        for (index, &(_, what)) in events.iter().enumerate() {
            entries[(what >> 1) as usize][(what & 1) as usize] = index as u32 + 1;
            links.push(Link { next: index as u32 + 2, previous: index as u32, what });
        }
        if let Some(last) = links.last_mut() {
            last.next = 0;
        }
        Timeline { links, entries }
    }

    /// The first entry, as a place for [`after`](Timeline::after); 0 if there is none.
    pub(super) fn first(&self) -> u32 {
        self.links[0].next
    }

    /// The entry at a place other than 0, and the place of the next one.
    pub(super) fn after(&self, place: u32) -> (Entry, u32) {
        let Link { next, what, .. } = self.links[place as usize];
        (if what & 1 == 0 { Entry::Call(what >> 1) } else { Entry::Return(what >> 1) }, next)
    }

    /// The place of an operation's return among all entries: a later one is a later return, and none at all
    /// is the latest.
    pub(super) fn deadline(&self, op: u32) -> u32 {
        match self.entries[op as usize][1] {
            0 => u32::MAX,
            entry => entry,
        }
    }

    /// Takes an operation out.
    pub(super) fn lift(&mut self, op: u32) {
        let [call, ret] = self.entries[op as usize];
        self.unlink(call);
        if ret != 0 {
            self.unlink(ret);
        }
    }

    /// Puts back the operation that was taken out last.
    pub(super) fn unlift(&mut self, op: u32) {
        let [call, ret] = self.entries[op as usize];
        if ret != 0 {
            self.relink(ret);
        }
        self.relink(call);
    }

    fn unlink(&mut self, entry: u32) {
        let Link { next, previous, .. } = self.links[entry as usize];
        self.links[previous as usize].next = next;
        self.links[next as usize].previous = previous;
    }

    fn relink(&mut self, entry: u32) {
        let Link { next, previous, .. } = self.links[entry as usize];
        self.links[previous as usize].next = entry;
        self.links[next as usize].previous = entry;
    }
}
