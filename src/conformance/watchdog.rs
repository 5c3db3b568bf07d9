//! Nothing that a scenario does wrong goes on for ever.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use libtest_mimic::Failed;

use super::stage::ON_PURPOSE;

/// No scenario takes longer, on a busy machine either: most are done in milliseconds.
const LIMIT: Duration = Duration::from_secs(30);

/// Runs a scenario in a thread of its name. One that does not end is left alone with it.
pub(super) fn run(name: &str, scenario: impl FnOnce() + Send + 'static) -> Result<(), Failed> {
    let (tell, told) = mpsc::channel();
    let body = move || {
        let outcome = catch_unwind(AssertUnwindSafe(scenario));
        drop(tell.send(outcome.map_err(|panic| message(&*panic))));
    };
    thread::Builder::new().name(name.to_owned()).spawn(body)?;
    match told.recv_timeout(LIMIT) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(message)) => Err(message.into()),
        Err(RecvTimeoutError::Timeout) => {
            Err(format!("it hangs: nothing has stopped its loop within {LIMIT:?}").into())
        }
        Err(RecvTimeoutError::Disconnected) => Err("its thread ended without a word".into()),
    }
}

pub(super) fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
    text.or_else(|| panic.downcast_ref().cloned()).unwrap_or_else(|| "a panic".into())
}

/// Has panics on purpose write nothing.
pub(super) fn quiet() {
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !message(panic.payload()).starts_with(ON_PURPOSE) {
            loud(panic);
        }
    }));
}
