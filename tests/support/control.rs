//! The power over the broker that `scripts/with-broker` gives.

use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Held by the one test that may stop the broker. When it is dropped the broker runs.
pub struct BrokerControl(MutexGuard<'static, ()>);

impl BrokerControl {
    /// Waits for its turn.
    pub fn take() -> Self {
        static ONE: Mutex<()> = Mutex::new(());
        let control = Self(ONE.lock().unwrap_or_else(PoisonError::into_inner));
        control.run("start");
        control
    }

    /// Has it done, and waits until it is: `kill`, `start`, `pause`, `resume`, ...
    pub fn run(&self, action: &str) {
        assert!(run(&[action]), "the broker does not {action}");
    }

    /// Has `rabbitmqctl` do something.
    pub fn ctl(&self, arguments: &[&str]) {
        assert!(run(&[&["ctl"], arguments].concat()), "{arguments:?} failed");
    }
}

impl Drop for BrokerControl {
    fn drop(&mut self) {
        // Refused of one that is dead.
        run(&["resume"]);
        let runs = run(&["start"]);
        assert!(runs || std::thread::panicking(), "the broker does not start again");
    }
}

fn run(arguments: &[&str]) -> bool {
    let program = std::env::var_os("AMQP_BROKER_CONTROL").expect(
        "AMQP_BROKER_CONTROL names no broker to stop: run the tests by scripts/with-broker, \
         without AMQP_URL",
    );
    let status = Command::new(program).args(arguments).status().expect("the program runs");
    status.success()
}
