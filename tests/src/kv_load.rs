//! Clients that are busy, and what befalls the service meanwhile.
//!
//! Kit-owned.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use labraft::ServerId;
use labrpc::{Purpose, Stream, thread};

use crate::kv::{Client, KvCluster};
use crate::kv_record::Action;
use crate::limits::{OPERATION_TIME, POLL_INTERVAL};
use crate::storm::Mix;

/// What busy clients do.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many keys they use.
    pub keys: u64,
    /// How probable it is that an operation reads.
    pub gets: f64,
    /// How probable it is that one that writes puts, and does not append.
    pub puts: f64,
    /// How long a client rests between two operations, on average.
    pub rest: Duration,
}

impl Default for Load {
    fn default() -> Load {
        Load { keys: 3, gets: 0.4, puts: 0.15, rest: Duration::from_millis(30) }
    }
}

/// Clients that are at work.
pub struct Busy {
    stop: Rc<Cell<bool>>,
    working: Rc<Cell<usize>>,
}

/// Counts a client as working for as long as it lives.
struct Working(Rc<Cell<usize>>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// What befalls the service while clients use it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Use {
    /// How many clients there are.
    pub clients: usize,
    /// What they do.
    pub load: Load,
    /// Whether the network loses a tenth each way.
    pub unreliable: bool,
    /// Whether all servers crash, and come back, after each round.
    pub crashes: bool,
    /// Whether the servers are divided at random, again and again.
    pub partitions: bool,
}

/// How many times the clients begin anew.
const ROUNDS: usize = 3;

/// How long a round lasts at least.
const ROUND: Duration = Duration::from_millis(1_000);

impl KvCluster {
    /// Sets clients to work, each on a thread of its own, until [`KvCluster::stop_work`].
    pub fn work(&mut self, clients: &[Client], load: Load) -> Busy {
        let busy = Busy { stop: Rc::default(), working: Rc::new(Cell::new(clients.len())) };
        self.turns += 1;
        for &client in clients {
            let node = self.client_node(client);
            let (world, record) = (self.servers.world().clone(), self.record.clone());
            let mut random = world.stream(Purpose::Workload, self.turns << 16 | node.number() as u64);
            let (stop, working) = (busy.stop.clone(), Working(busy.working.clone()));
            self.servers.world().spawn_on(node.node(), "client", move || {
                let _working = working;
                while !stop.get() {
                    let (action, key) = load.draw(&mut random);
                    let operation = record.borrow_mut().new_operation(node.number(), action, &key);
                    node.perform(&world, &record, &operation);
                    thread::sleep(random.duration(&(Duration::ZERO..load.rest * 2)));
                }
            });
        }
        busy
    }

    /// Lets clients finish what they are at, and waits for them.
    pub fn stop_work(&mut self, busy: &Busy) {
        busy.stop.set(true);
        while busy.working.get() > 0 {
            self.servers.sleep(POLL_INTERVAL);
            self.check_operations();
        }
    }

    /// Has clients use the service in rounds, while all kinds of things befall it. After each round it is made
    /// whole, and every operation has to return.
    pub fn use_service(&mut self, how: Use) {
        let clients = self.new_clients(how.clients);
        for _ in 0..ROUNDS {
            if how.unreliable {
                self.servers.make_unreliable();
            }
            let busy = self.work(&clients, how.load);
            let end = self.servers.now() + ROUND;
            while how.partitions && self.servers.now() < end {
                self.divide();
                let span = Duration::from_millis(self.servers.faults().range(50..700));
                self.servers.sleep(span);
            }
            self.servers.sleep(end.saturating_sub(self.servers.now()));
            if how.crashes {
                let all = 0..self.servers.len();
                all.for_each(|server| self.servers.crash1(server));
                let span = Duration::from_millis(self.servers.faults().range(1..300));
                self.servers.sleep(span);
            }
            self.heal();
            self.stop_work(&busy);
        }
        self.check_log_sizes();
    }

    /// Has one client do one operation after the other, and measures how long each takes on average.
    pub fn measure_speed(&mut self) {
        const OPERATIONS: u32 = 80;
        let client = self.new_client();
        // There is a leader, and the client knows it, when this is over.
        self.put(client, "0");
        let begun = self.servers.now();
        for _ in 0..OPERATIONS / 2 {
            self.put(client, "0");
            self.get(client, "0");
        }
        let each = (self.servers.now() - begun) / OPERATIONS;
        self.servers.measure(OPERATION_TIME, each.as_secs_f64());
    }

    /// Divides the servers in two at random; clients reach both parts.
    fn divide(&mut self) {
        let all = 0..self.servers.len();
        let random = self.servers.faults();
        let (first, second): (Vec<ServerId>, Vec<ServerId>) = all.partition(|_| random.chance(0.5));
        self.servers.partition(&[&first, &second]);
    }

    /// Has a storm of `count` faults within `span` go over servers and network while five clients work, two
    /// of which give up at some time.
    pub fn storm_under_load(&mut self, span: Duration, count: usize) {
        let clients = self.new_clients(5);
        for &client in &clients[..2] {
            let nth = self.servers.faults().range(3..60) as u32;
            self.give_up_after(client, nth);
        }
        let load = Load { rest: Duration::from_millis(60), ..Load::default() };
        let busy = self.work(&clients, load);
        self.servers.storm(span, count, Mix::Service);
        self.heal();
        self.stop_work(&busy);
    }
}

impl Load {
    fn draw(&self, random: &mut Stream) -> (Action, String) {
        let action = if random.chance(self.gets) {
            Action::Get
        } else if random.chance(self.puts) {
            Action::Put
        } else {
            Action::Append
        };
        (action, format!("k{}", random.below(self.keys)))
    }
}
