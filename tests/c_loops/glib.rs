//! Of GLib.
#![allow(unsafe_code, reason = "GLib is C")]

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use haypile::{BaseConnection, GlibConnection, GlibServices, Services};

use crate::support::Probes;
use crate::support::hosts::glib::{
    Context, SOURCE, Source, SourceFunc, SourceFuncs, g_idle_source_new, g_source_attach,
    g_source_destroy, g_source_new, g_source_set_callback, g_source_unref,
};
use crate::{assert_gone, never_told, on_readable, silent_broker};

#[test]
fn null_is_the_default_context() {
    // SAFETY: null is allowed.
    let services = unsafe { GlibServices::attach(ptr::null_mut()) }.unwrap();
    let called = Rc::new(Cell::new(false));
    let call = Rc::clone(&called);
    services.add_callback(move || call.set(true));
    while !called.get() {
        // SAFETY: null is the default context.
        unsafe { crate::support::hosts::glib::g_main_context_iteration(ptr::null_mut(), 1) };
    }
}

#[test]
fn a_context_that_goes_detaches_them() {
    let (context, probes) = (Context::new(), Probes::default());
    let (_listener, parameters) = silent_broker();
    // SAFETY: the context is iterated on this thread.
    let connection =
        unsafe { GlibConnection::new(parameters, never_told(&probes), context.0) }.unwrap();
    assert_eq!(connection.main_context(), Some(context.0));
    context.iterate();
    drop(context);
    assert_eq!(probes.live(), 0);
    assert!(connection.is_closed());
    assert_eq!(connection.main_context(), None);
    assert_gone(connection.services());
}

/// GLib has asked ours by then how long to wait.
#[test]
fn what_another_source_adds_before_the_poll_does_not_wait_for_its_end() {
    const LONG: c_int = 5_000;

    type Add = fn(&Services, Rc<Cell<bool>>);

    thread_local! {
        static ADD: Cell<Option<Box<dyn FnOnce()>>> = const { Cell::new(None) };
    }

    extern "C" fn prepare(_: Source, timeout: *mut c_int) -> c_int {
        if let Some(add) = ADD.take() {
            add();
        }
        // SAFETY: GLib's.
        unsafe { *timeout = LONG };
        0
    }
    extern "C" fn dispatch(_: Source, _: SourceFunc, _: *mut c_void) -> c_int {
        unreachable!("it is never ready")
    }
    static FUNCTIONS: SourceFuncs = SourceFuncs {
        prepare: Some(prepare),
        check: None,
        dispatch,
        finalize: None,
        of_glib: [None; 2],
    };

    let context = Context::new();
    // SAFETY: the context is iterated on this thread.
    let services = unsafe { GlibServices::attach(context.0) }.unwrap();
    // SAFETY: it is attached behind ours, and GLib keeps the address of the functions.
    let source = unsafe {
        let source = g_source_new(&FUNCTIONS, SOURCE);
        g_source_attach(source, context.0);
        source
    };
    let adds: [Add; 2] = [
        |services, called| services.add_callback(move || called.set(true)),
        |services, called| {
            services.call_later(Duration::from_millis(1), move || called.set(true));
        },
    ];
    for add in adds {
        let (called, added) = (Rc::new(Cell::new(false)), services.clone());
        let call = Rc::clone(&called);
        ADD.set(Some(Box::new(move || add(&added, call))));
        let begun = Instant::now();
        while !called.get() {
            context.iterate();
        }
        assert!(begun.elapsed() < Duration::from_millis(LONG as u64), "{:?}", begun.elapsed());
    }
    // SAFETY: made here.
    unsafe {
        g_source_destroy(source);
        g_source_unref(source);
    }
}

/// A dialog, say: the main loop runs inside of a callback of ours.
#[test]
fn in_a_main_loop_inside_of_a_callback_they_are_silent() {
    extern "C" fn count(idle: *mut c_void) -> c_int {
        // SAFETY: set below.
        let idle = unsafe { &*idle.cast::<Cell<usize>>() };
        idle.set(idle.get() + 1);
        1
    }

    let context = Rc::new(Context::new());
    // SAFETY: the context is iterated on this thread.
    let services = unsafe { GlibServices::attach(context.0) }.unwrap();
    let idle = Box::new(Cell::new(0_usize));
    let source = g_idle_source_new();
    // SAFETY: the source is destroyed before its data.
    unsafe {
        g_source_set_callback(source, count, (&raw const *idle).cast_mut().cast(), None);
        g_source_attach(source, context.0);
    }
    let (told, posted) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let (nested, tell, post) = (Rc::clone(&context), Rc::clone(&told), Rc::clone(&posted));
    let seen_inside = Rc::new(Cell::default());
    let (weak, inside) = (services.downgrade(), Rc::clone(&seen_inside));
    let _other = on_readable(&services, move || {
        tell.set(tell.get() + 1);
        let posting = Rc::clone(&post);
        weak.upgrade().unwrap().add_callback(move || posting.set(posting.get() + 1));
        if tell.get() == 1 {
            // The idle source has its turns, because nothing of ours is ready, by descriptor or time.
            (0..10).for_each(|_| nested.iterate());
            inside.set((tell.get(), post.get()));
        }
    });
    while told.get() < 3 {
        context.iterate();
    }
    assert_eq!(seen_inside.get(), (1, 0));
    assert!(idle.get() >= 9, "{}", idle.get());
    assert!(posted.get() >= 2, "what was posted in there is called after it");
    let fired = Rc::new(Cell::new(false));
    let fire = Rc::clone(&fired);
    services.call_later(Duration::from_millis(1), move || fire.set(true));
    while !fired.get() {
        context.iterate();
    }
    // SAFETY: made above.
    unsafe {
        g_source_destroy(source);
        g_source_unref(source);
    }
}
