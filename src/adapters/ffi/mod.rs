//! What is used of the C loops, as their headers declare it. Each is linked to the host's own
//! library, never to a copy: joining the loop that the host already runs is the point.
#![allow(unsafe_code, unreachable_pub, reason = "declarations of C, for the adapters alone")]

#[cfg(all(feature = "libev", feature = "libevent"))]
compile_error!(
    "the features `libev` and `libevent` exclude each other: libev exports functions of libevent's \
     names (`event_add`, `event_base_new`, ...), and a program linked to both calls the wrong ones"
);

/// Declares a type that is only pointed to.
macro_rules! opaque {
    ($(#[$doc:meta])* $vis:vis struct $Type:ident;) => {
        $(#[$doc])*
        #[repr(C)]
        $vis struct $Type {
            _nothing_known: [u8; 0],
            _neither_send_nor_sync: std::marker::PhantomData<*mut u8>,
        }
    };
}
use opaque;

#[cfg(feature = "libev")]
pub(super) mod ev;
#[cfg(feature = "libevent")]
pub(super) mod event;
#[cfg(feature = "glib")]
pub(super) mod glib;
#[cfg(feature = "libuv")]
pub(super) mod uv;

#[cfg(test)]
mod layout;

/// The loops of C libraries, which are only pointed to: cast to these from the types of whatever
/// binding the program uses.
pub mod native {
    #![allow(non_camel_case_types, reason = "the names are C's")]

    #[cfg(feature = "libev")]
    super::opaque! {
        /// libev's loop, its `struct ev_loop`.
        pub struct ev_loop;
    }

    #[cfg(feature = "libevent")]
    super::opaque! {
        /// libevent's loop, its `struct event_base`.
        pub struct event_base;
    }

    #[cfg(feature = "glib")]
    super::opaque! {
        /// GLib's main context.
        pub struct GMainContext;
    }

    #[cfg(feature = "libuv")]
    super::opaque! {
        /// libuv's loop.
        pub struct uv_loop_t;
    }
}
