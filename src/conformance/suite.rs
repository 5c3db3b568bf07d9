//! Scenarios by loops, run and told of as tests are.

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

use super::scenarios::{self, Scenario};
use super::{Host, watchdog};

/// Runs the suite on one loop, by the arguments of the command line: a whole `main`.
pub fn main<H: Host + 'static>(
    name: &str,
    new: impl Fn() -> H + Send + Sync + 'static,
) -> ExitCode {
    Suite::new().host(name, new).main()
}

/// The suite, for several loops in one program.
#[derive(Default)]
#[must_use = "nothing runs before `main`"]
pub struct Suite {
    hosts: Vec<(String, NewHost, Vec<&'static Scenario>)>,
}

/// How many scenarios run at a time, unless the command line says.
const THREADS: usize = 8;

type NewHost = Arc<dyn Fn() -> Box<dyn Host> + Send + Sync>;

impl Suite {
    /// A suite that has no loop yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a loop: `new` makes one, in the thread of the scenario that is to run on it.
    pub fn host<H: Host + 'static>(
        self,
        name: &str,
        new: impl Fn() -> H + Send + Sync + 'static,
    ) -> Self {
        self.with(name, new, scenarios::all().collect())
    }

    /// Adds a host of [`ProtocolConnection`](crate::ProtocolConnection)s, which owns their sockets: of
    /// the scenarios, those that are about a connection that has its socket. They are given
    /// [parameters](crate::ConnectionWorkflow::parameters) of one host, to which
    /// [`start_connection`](Host::start_connection) connects, and keep no connection. On the services,
    /// which are not those of any connection, they have timers of their own.
    pub fn protocol_host<H: Host + 'static>(
        self,
        name: &str,
        new: impl Fn() -> H + Send + Sync + 'static,
    ) -> Self {
        self.with(name, new, scenarios::of_one_connection().collect())
    }

    fn with<H: Host + 'static>(
        mut self,
        name: &str,
        new: impl Fn() -> H + Send + Sync + 'static,
        scenarios: Vec<&'static Scenario>,
    ) -> Self {
        self.hosts.push((name.to_owned(), Arc::new(move || Box::new(new())), scenarios));
        self
    }

    /// Runs each scenario on each loop, by the arguments of the command line, and tells how that
    /// went. Fails if one of them did.
    pub fn main(self) -> ExitCode {
        let mut arguments = Arguments::from_args();
        // They wait, most of their time.
        arguments.test_threads.get_or_insert(THREADS);
        watchdog::quiet();
        let trials = self.hosts.iter().flat_map(|(host, new, scenarios)| {
            scenarios.iter().map(move |&scenario| {
                let name = format!("{host}::{}", scenario.name);
                let (test, new) = (name.clone(), Arc::clone(new));
                Trial::test(name, move || watchdog::run(&test, move || scenario.run(new())))
            })
        });
        let conclusion = libtest_mimic::run(&arguments, trials.collect());
        for (host, _, scenarios) in &self.hosts {
            println!("{host}: {} scenarios", scenarios.len());
        }
        println!("{} passed, {} failed", conclusion.num_passed, conclusion.num_failed);
        conclusion.exit_code()
    }
}

impl std::fmt::Debug for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.hosts.iter().map(|(name, ..)| name)).finish()
    }
}
