//! The conformance suite, over every poller and every adapter of this crate.

#[path = "support/hosts/mod.rs"]
#[allow(dead_code, unused_macros, unused_imports, reason = "the suite uses a part of it")]
mod hosts;

use std::process::ExitCode;

use haypile::PollerKind;
use haypile::conformance::Suite;
use hosts::Select;

fn main() -> ExitCode {
    let suite = Suite::new()
        .host("mio", || Select::over(PollerKind::Mio))
        .host("polling", || Select::over(PollerKind::Polling))
        .host("poll", || Select::over(PollerKind::Poll))
        .host("select", || Select::over(PollerKind::Select));
    #[cfg(feature = "async-io")]
    let suite = suite.host("async-io", <hosts::AsyncIo as hosts::Host>::new);
    #[cfg(feature = "calloop")]
    let suite = suite.host("calloop", <hosts::Calloop as hosts::Host>::new);
    #[cfg(feature = "tokio")]
    let suite = suite.host("tokio", <hosts::Tokio as hosts::Host>::new);
    #[cfg(feature = "glib")]
    let suite = suite.host("glib", <hosts::Glib as hosts::Host>::new);
    #[cfg(feature = "libev")]
    let suite = suite.host("libev", <hosts::Libev as hosts::Host>::new);
    #[cfg(feature = "libevent")]
    let suite = suite.host("libevent", <hosts::Libevent as hosts::Host>::new);
    #[cfg(feature = "libuv")]
    let suite = suite.host("libuv", <hosts::Libuv as hosts::Host>::new);
    suite.protocol_host("protocol", hosts::Protocol::new).main()
}
