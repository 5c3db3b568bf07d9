//! The loops that are C libraries.
//!
//! Each has a program of its own, since libev and libevent cannot share one: they export the same
//! names.

use crate::package::Package;

pub const LIBUV: Package = Package {
    name: "libuv",
    source: "uv.c",
    header: "uv.h",
    modules: &["libuv"],
    libraries: &["-luv"],
    debian: "libuv1-dev",
};

pub const LIBEV: Package = Package {
    name: "libev",
    source: "ev.c",
    header: "ev.h",
    modules: &["libev"],
    libraries: &["-lev", "-lm"],
    debian: "libev-dev",
};

pub const LIBEVENT: Package = Package {
    name: "libevent",
    source: "event.c",
    header: "event2/event.h",
    modules: &["libevent", "libevent_pthreads"],
    libraries: &["-levent", "-levent_pthreads"],
    debian: "libevent-dev",
};

pub const GLIB: Package = Package {
    name: "glib",
    source: "glib.c",
    header: "glib.h",
    modules: &["glib-2.0"],
    libraries: &["-lglib-2.0"],
    debian: "libglib2.0-dev",
};
