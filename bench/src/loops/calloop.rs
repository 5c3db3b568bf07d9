//! calloop. It drops what its idle callbacks post to the next dispatch without waking it, so chains
//! dispatch without waiting.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use calloop::channel::{Event, channel};
use calloop::generic::Generic;
use calloop::timer::{TimeoutAction, Timer};
use calloop::{
    Dispatcher, EventLoop, Interest, LoopHandle, LoopSignal, Mode, PostAction, RegistrationToken,
};

use super::measure::*;
use super::subject::Subject;

pub struct Calloop;

type Loop = EventLoop<'static, ()>;
type Handle = LoopHandle<'static, ()>;

fn new_loop() -> Loop {
    Loop::try_new().expect("a loop")
}

fn run(event_loop: &mut Loop) {
    event_loop.run(None, &mut (), |()| {}).expect("a run");
}

/// One turn that does not wait.
fn turn(event_loop: &mut Loop) {
    event_loop.dispatch(Duration::ZERO, &mut ()).expect("a dispatch");
}

fn timer(
    handle: &Handle,
    deadline: Instant,
    callback: impl FnOnce() + 'static,
) -> RegistrationToken {
    let mut callback = Some(callback);
    let source = Timer::from_deadline(deadline);
    let inserted = handle.insert_source(source, move |_, (), ()| {
        if let Some(callback) = callback.take() {
            callback();
        }
        TimeoutAction::Drop
    });
    inserted.expect("a timer")
}

fn watch(handle: &Handle, fd: &Rc<OwnedFd>, mut handler: impl FnMut() + 'static) {
    let source = Generic::new(Rc::clone(fd), Interest::READ, Mode::Level);
    let inserted = handle.insert_source(source, move |_, _, ()| {
        handler();
        Ok(PostAction::Continue)
    });
    inserted.expect("a source");
}

impl Subject for Calloop {
    fn cancel_insert(&self, n: usize, ops: u64) -> Option<Outcome> {
        let event_loop = new_loop();
        let handle = event_loop.handle();
        let (base, mut rng, fired) = (Instant::now(), Rng::new(), Rc::new(Cell::new(0)));
        let insert = |rng: &mut Rng| {
            let fired = Rc::clone(&fired);
            timer(&handle, base + rng.far(), move || fired.set(fired.get() + 1))
        };
        let mut tokens: Vec<_> = (0..n).map(|_| insert(&mut rng)).collect();
        Some(timed(ops, || {
            for _ in 0..ops {
                let index = rng.below(n);
                handle.remove(tokens[index]);
                tokens[index] = insert(&mut rng);
            }
        }))
    }

    /// By a dispatcher, which gives access to a timer that has been inserted.
    fn reset(&self, n: usize, ops: u64) -> Option<Outcome> {
        let event_loop = new_loop();
        let handle = event_loop.handle();
        let (base, mut rng) = (Instant::now(), Rng::new());
        let timers: Vec<_> = (0..n)
            .map(|_| {
                let timer = Timer::from_deadline(base + rng.far());
                let timer = Dispatcher::new(timer, |_, (), &mut ()| TimeoutAction::Drop);
                (handle.register_dispatcher(timer.clone()).expect("a timer"), timer)
            })
            .collect();
        Some(timed(ops, || {
            for _ in 0..ops {
                let (token, timer) = &timers[rng.below(n)];
                timer.as_source_mut().set_deadline(base + rng.far());
                handle.update(token).expect("an update");
            }
        }))
    }

    fn insert_fire(&self, n: usize, ops: u64) -> Option<Outcome> {
        let mut event_loop = new_loop();
        let handle = event_loop.handle();
        Some(timed(ops, || {
            for _ in 0..ops / n as u64 {
                expect_fires(n as u64);
                let now = Instant::now();
                for _ in 0..n {
                    timer(&handle, now, || _ = fire());
                }
                while fires_left() {
                    turn(&mut event_loop);
                }
            }
        }))
    }

    fn lateness(&self, late: Rc<Late>) -> Option<Outcome> {
        fn arm(handle: Handle, late: Rc<Late>, signal: LoopSignal) {
            let deadline = late.arm();
            timer(&handle.clone(), deadline, move || match late.fired() {
                true => arm(handle, late, signal),
                false => signal.stop(),
            });
        }
        let mut event_loop = new_loop();
        let timing = Timing::begin();
        arm(event_loop.handle(), Rc::clone(&late), event_loop.get_signal());
        run(&mut event_loop);
        Some(late.report(timing))
    }

    fn ping_pong(&self, transport: Transport, ops: u64) -> Option<Outcome> {
        let mut event_loop = new_loop();
        let left = Rc::new(Cell::new(ops));
        for end in End::pair(transport) {
            let (left, signal) = (Rc::clone(&left), event_loop.get_signal());
            watch(&event_loop.handle(), &Rc::clone(&end.from), move || {
                end.hop();
                if count_down(&left) {
                    signal.stop();
                }
            });
        }
        Some(timed(ops, || run(&mut event_loop)))
    }

    fn one_of_many(&self, n: usize, ops: u64) -> Option<Outcome> {
        let mut event_loop = new_loop();
        let left = Rc::new(Cell::new(ops));
        for index in 0..n {
            let (left, signal) = (Rc::clone(&left), event_loop.get_signal());
            let fd = new_eventfd((index == n / 2).into());
            let own = Rc::clone(&fd);
            watch(&event_loop.handle(), &fd, move || {
                drain(&own);
                if count_down(&left) {
                    signal.stop();
                }
                kick(&own);
            });
        }
        Some(timed(ops, || run(&mut event_loop)))
    }

    fn flip(&self, ops: u64) -> Option<Outcome> {
        let mut event_loop = new_loop();
        let handle = event_loop.handle();
        let [_other, end] = End::pair(Transport::Socket);
        let left = Rc::new(Cell::new(ops));
        let counter = Rc::clone(&left);
        let writer = Generic::new(end.from, Interest::READ, Mode::Level);
        let writer = Dispatcher::new(writer, move |ready, _, ()| {
            counter.set(counter.get() - u64::from(ready.writable));
            Ok(PostAction::Continue)
        });
        let token = handle.register_dispatcher(writer.clone()).expect("a source");
        let set = |interest| {
            writer.as_source_mut().interest = interest;
            handle.update(&token).expect("an update");
        };
        Some(timed(ops, || {
            while left.get() > 0 {
                set(Interest::BOTH);
                turn(&mut event_loop);
                // Its interest is out of reach of its own callback.
                set(Interest::READ);
            }
        }))
    }

    fn toggle(&self, ops: u64) -> Option<Outcome> {
        let mut event_loop = new_loop();
        let handle = event_loop.handle();
        let [_other, end] = End::pair(Transport::Socket);
        let source = Generic::new(end.from, Interest::READ, Mode::Level);
        let source = Dispatcher::new(source, |_, _, ()| Ok(PostAction::Continue));
        let token = handle.register_dispatcher(source.clone()).expect("a source");
        Some(timed(ops, || {
            for _ in 0..ops {
                for interest in [Interest::BOTH, Interest::READ] {
                    source.as_source_mut().interest = interest;
                    handle.update(&token).expect("an update");
                }
                turn(&mut event_loop);
            }
        }))
    }

    fn posts(&self, posts: &'static Posts) -> Option<Outcome> {
        let mut event_loop = new_loop();
        let signal = event_loop.get_signal();
        posts.on_done(move || signal.stop());
        let (sender, receiver) = channel::<Box<dyn FnOnce() + Send>>();
        let inserted = event_loop.handle().insert_source(receiver, |event, (), ()| {
            if let Event::Msg(post) = event {
                post();
            }
        });
        inserted.expect("a channel");
        let send = move |post: Post| sender.send(Box::new(move || post.run())).expect("a post");
        Some(posts.run(send, || run(&mut event_loop)))
    }

    fn idle_turn(&self, ops: u64) -> Option<Outcome> {
        let mut event_loop = new_loop();
        let handle = event_loop.handle();
        timer(&handle, Instant::now() + Duration::from_secs(1000), || {});
        watch(&handle, &new_eventfd(0), || {});
        Some(timed(ops, || (0..ops).for_each(|_| turn(&mut event_loop))))
    }

    fn chain(&self, ops: u64) -> Option<Outcome> {
        fn post(handle: Handle, left: Rc<Cell<u64>>, beside: Rc<OwnedFd>) {
            handle.clone().insert_idle(move |()| {
                if count_down(&left) {
                    return;
                }
                if left.get().is_multiple_of(PING_EVERY) {
                    kick(&beside);
                }
                post(handle, left, beside);
            });
        }
        let mut event_loop = new_loop();
        let (beside, served) = (new_eventfd(0), Rc::new(Cell::new(0)));
        let (own, counter) = (Rc::clone(&beside), Rc::clone(&served));
        watch(&event_loop.handle(), &beside, move || {
            drain(&own);
            counter.set(counter.get() + 1);
        });
        let left = Rc::new(Cell::new(ops));
        post(event_loop.handle(), Rc::clone(&left), beside);
        let outcome = timed(ops, || {
            while left.get() > 0 {
                turn(&mut event_loop);
            }
        });
        Some(outcome.with("served", served.get().into()))
    }

    fn starve(&self, beside: Beside, ms: u64) -> Option<Outcome> {
        fn arm(handle: Handle, starved: Rc<Starved>) {
            let deadline = starved.arm();
            timer(&handle.clone(), deadline, move || {
                starved.fired();
                arm(handle, starved);
            });
        }
        fn repost(handle: Handle, starved: Rc<Starved>, going: Rc<Cell<bool>>) {
            handle.clone().insert_idle(move |()| {
                going.set(starved.busy());
                if going.get() {
                    repost(handle, starved, going);
                }
            });
        }
        let mut event_loop = new_loop();
        let handle = event_loop.handle();
        let (starved, going) = (Starved::new(ms), Rc::new(Cell::new(true)));
        let ticked = Rc::clone(&starved);
        watch(&handle, &starved.ticker, move || ticked.ticked());
        let (busy, still) = (Rc::clone(&starved), Rc::clone(&going));
        match beside {
            Beside::Callback => repost(handle.clone(), busy, still),
            Beside::Fd => watch(&handle, &new_eventfd(1), move || still.set(busy.busy())),
        }
        let timing = Timing::begin();
        arm(handle, Rc::clone(&starved));
        let timeout = (beside == Beside::Callback).then_some(Duration::ZERO);
        while going.get() {
            event_loop.dispatch(timeout, &mut ()).expect("a dispatch");
        }
        Some(starved.report(timing))
    }
}
