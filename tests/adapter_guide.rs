//! The conformance suite over the adapter that the guide is about, as it stands in the examples.

#[path = "../examples/poll_loop/adapter.rs"]
mod adapter;
#[path = "../examples/poll_loop/poll_loop.rs"]
mod poll_loop;

use std::process::ExitCode;
use std::rc::Rc;

use adapter::PollServices;
use haypile::Services;
use haypile::conformance::{self, Host};
use poll_loop::PollLoop;

struct PollHost {
    poll_loop: Rc<PollLoop>,
    adapter: Rc<PollServices>,
}

impl PollHost {
    fn new() -> Self {
        let poll_loop = Rc::new(PollLoop::default());
        let adapter = PollServices::attach(&poll_loop).expect("a pair of sockets");
        Self { poll_loop, adapter }
    }
}

impl Host for PollHost {
    fn services(&self) -> Services {
        self.adapter.services()
    }

    fn run_until_stopped(&self) -> haypile::Result<()> {
        Ok(self.poll_loop.run()?)
    }

    fn stopper(&self) -> Rc<dyn Fn()> {
        let poll_loop = Rc::clone(&self.poll_loop);
        Rc::new(move || poll_loop.stop())
    }
}

impl Drop for PollHost {
    fn drop(&mut self) {
        self.services().core().detach();
    }
}

fn main() -> ExitCode {
    conformance::main("poll(2)", PollHost::new)
}
