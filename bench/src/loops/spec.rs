//! What is measured.

/// One kind of workload. The C programs know it by the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    CancelInsert,
    Reset,
    InsertFire,
    RearmFire,
    Lateness,
    SetFire,
    PingSocket,
    PingEventfd,
    OneOfMany,
    Flip,
    Toggle,
    WakeFlood,
    WakeIdle,
    WakeStep,
    IdleTurn,
    Chain,
    StarveFd,
    StarveCallback,
}

use Job::*;

impl Job {
    const ALL: [Self; 18] = [
        CancelInsert,
        Reset,
        InsertFire,
        RearmFire,
        Lateness,
        SetFire,
        PingSocket,
        PingEventfd,
        OneOfMany,
        Flip,
        Toggle,
        WakeFlood,
        WakeIdle,
        WakeStep,
        IdleTurn,
        Chain,
        StarveFd,
        StarveCallback,
    ];

    pub fn name(self) -> &'static str {
        match self {
            CancelInsert => "cancel_insert",
            Reset => "reset",
            InsertFire => "insert_fire",
            RearmFire => "rearm_fire",
            Lateness => "lateness",
            SetFire => "set_fire",
            PingSocket => "ping_socket",
            PingEventfd => "ping_eventfd",
            OneOfMany => "one_of_many",
            Flip => "flip",
            Toggle => "toggle",
            WakeFlood => "wake_flood",
            WakeIdle => "wake_idle",
            WakeStep => "wake_step",
            IdleTurn => "idle_turn",
            Chain => "chain",
            StarveFd => "starve_fd",
            StarveCallback => "starve_callback",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|job| job.name() == name)
    }

    /// The unit of work, in words.
    pub fn about(self) -> &'static str {
        match self {
            CancelInsert => {
                "cancel a random one of N timers, insert another (Rust: with a new boxed closure)"
            }
            Reset => "move a random one of N timers to another deadline, by the loop's own call",
            InsertFire => {
                "insert N timers that are due, run the loop until all have fired; a timer"
            }
            RearmFire => "the same timers, made once, set due and fired over and over; a timer",
            Lateness => "a 5 ms timer, armed after 0.7 ms of work in a callback: how late it fires",
            SetFire => {
                "a 1 ms timer that its callback sets again, nothing else to do: CPU time; a timer"
            }
            PingSocket => "a byte to and fro over a socketpair, both ends on the loop; a hop",
            PingEventfd => "to and fro over two eventfds, both on the loop; a hop",
            OneOfMany => "N descriptors on the loop, one of them active; an event",
            Flip => "write interest on, a turn that calls the writer, which puts it off",
            Toggle => "write interest on and off again, and a turn",
            WakeFlood => "N threads post boxed closures as fast as they can; a post",
            WakeIdle => "a post to a loop that sleeps: from the sender's clock to the callback's",
            WakeStep => {
                "a post to a loop that sleeps, by a thread that waits for its call: CPU time; a post"
            }
            IdleTurn => "a turn that does not wait and finds nothing: one far timer, one silent fd",
            Chain => "a callback that posts itself for the next turn; I/O must be served meanwhile",
            StarveFd => "beside a descriptor that is always ready: a 5 ms timer and a 2 ms timerfd",
            StarveCallback => "beside a callback that reposts itself: the same timer and timerfd",
        }
    }

    /// What is told are percentiles of delays, not the time of an operation.
    pub fn is_latency(self) -> bool {
        matches!(self, Lateness | WakeIdle | StarveFd | StarveCallback)
    }

    /// Senders need a core of their own, and the starved a quiet one.
    pub fn is_pinned(self) -> bool {
        !matches!(self, WakeFlood | WakeIdle)
    }

    /// System calls per operation mean something, and can be counted.
    pub fn is_traced(self) -> bool {
        !self.is_latency()
    }
}

pub struct Spec {
    /// As in the csv.
    pub name: &'static str,
    pub job: Job,
    pub n: u64,
    ops: u64,
    /// A round does it in so many parts, everyone's one after the other.
    pub parts: usize,
    /// For a short run under strace.
    pub traced_ops: u64,
}

pub const fn spec(name: &'static str, job: Job, n: u64, ops: u64, traced_ops: u64) -> Spec {
    Spec { name, job, n, ops, parts: 1, traced_ops }
}

pub const SPECS: &[Spec] = &[
    spec("t1_cancel_insert_1", CancelInsert, 1, 1_000_000, 10_000),
    spec("t1_cancel_insert_1k", CancelInsert, 1_000, 1_000_000, 10_000),
    spec("t1_cancel_insert_10k", CancelInsert, 10_000, 1_000_000, 10_000),
    spec("t1_cancel_insert_100k", CancelInsert, 100_000, 1_000_000, 10_000),
    spec("t1_reset_1", Reset, 1, 1_000_000, 10_000),
    spec("t1_reset_1k", Reset, 1_000, 1_000_000, 10_000),
    spec("t1_reset_10k", Reset, 10_000, 1_000_000, 10_000),
    spec("t1_reset_100k", Reset, 100_000, 1_000_000, 10_000),
    spec("t2_insert_fire_1k", InsertFire, 1_000, 400_000, 10_000),
    spec("t2_insert_fire_10k", InsertFire, 10_000, 400_000, 10_000),
    // Many batches: what the first takes from the system is not what is measured.
    spec("t2_insert_fire_100k", InsertFire, 100_000, 2_000_000, 100_000),
    spec("t2_rearm_fire_1k", RearmFire, 1_000, 400_000, 10_000),
    spec("t2_rearm_fire_100k", RearmFire, 100_000, 2_000_000, 100_000),
    spec("t4_lateness", Lateness, 0, 60, 0),
    spec("f1_ping_pong_socketpair", PingSocket, 2, 40_000, 2_000),
    spec("f1_ping_pong_eventfd", PingEventfd, 2, 40_000, 2_000),
    spec("f2_one_of_10", OneOfMany, 10, 40_000, 1_000),
    spec("f2_one_of_100", OneOfMany, 100, 40_000, 1_000),
    spec("f2_one_of_1000", OneOfMany, 1_000, 40_000, 1_000),
    spec("f2_one_of_8000", OneOfMany, 8_000, 40_000, 1_000),
    spec("f3_flip", Flip, 1, 20_000, 1_000),
    spec("f3_toggle", Toggle, 1, 20_000, 1_000),
    spec("w1_wake_flood_1", WakeFlood, 1, 1_000_000, 5_000),
    spec("w1_wake_flood_4", WakeFlood, 4, 1_000_000, 5_000),
    spec("w2_wake_latency", WakeIdle, 1, 500, 0),
    spec("l1_idle_turn", IdleTurn, 1, 100_000, 2_000),
    spec("l2_call_soon_chain", Chain, 1, 200_000, 2_000),
    spec("s1_beside_busy_fd", StarveFd, 1, 200, 0),
    spec("s1_beside_repost", StarveCallback, 1, 200, 0),
];

impl Spec {
    pub const fn in_parts(self, parts: usize) -> Self {
        Self { parts, ..self }
    }

    /// How much `who` does in one round. The error says why it does nothing.
    pub fn ops(&self, who: &str, quick: bool) -> Result<u64, &'static str> {
        let ops = match (self.job, quick) {
            (Lateness | StarveFd | StarveCallback, true) => self.ops / 3,
            (_, true) => self.ops / 10,
            (_, false) => self.ops,
        };
        // Those that would take ten times as long as the others do less.
        let less = match (who, self.job, self.n) {
            ("calloop", CancelInsert | Reset | InsertFire, 100_000) => {
                return Err(
                    "left out: each insert scans all sources, and the set-up takes minutes",
                );
            }
            ("haypile-select", OneOfMany, 8_000..) => {
                return Err("takes no descriptor from 1,024 on");
            }
            ("calloop", CancelInsert | Reset, 10_000) => 100,
            ("calloop", CancelInsert | Reset | InsertFire, 1_000..) => 20,
            // Its timers come at the end of a millisecond.
            ("tokio", InsertFire, 1) => 100,
            ("tokio" | "async-io", InsertFire, _) => 2,
            ("tokio" | "async-io", CancelInsert | Reset, _) => 5,
            ("glib" | "haypile-poll", OneOfMany, 1_000) => 10,
            ("glib" | "haypile-poll", OneOfMany, 8_000) => 100,
            _ => 1,
        };
        Ok(self.whole(ops / less / self.parts as u64))
    }

    /// Timers that fire come N at a time.
    pub fn whole(&self, ops: u64) -> u64 {
        match self.job {
            InsertFire | RearmFire => ops.next_multiple_of(self.n),
            _ => ops,
        }
    }
}
