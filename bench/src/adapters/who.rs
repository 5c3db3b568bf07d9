//! The loops that this program has.

use crate::Result;
use crate::amqp::{self, Work};
use crate::hosts::{self, Host};
use crate::loops::spec::Job;
use crate::outcome::Outcome;

/// haypile on a loop.
#[derive(Clone, Copy)]
pub struct Adapter {
    pub name: &'static str,
    /// A job of `bench loop`, done through haypile's services.
    pub through: fn(Job, u64, u64) -> Result<Option<Outcome>>,
    /// A job of `bench amqp`, done by the adapter's connection.
    pub client: fn(&Work) -> Result<Option<Outcome>>,
}

impl Adapter {
    /// Itself, as a process that does work of that kind, which follows.
    pub fn line(&self, kind: &str) -> Result<Vec<String>> {
        Ok(child_line(kind)?.into_iter().chain([self.name.to_owned()]).collect())
    }
}

/// What [`super::child`] is; who, and the work, follow.
pub fn child_line(kind: &str) -> Result<Vec<String>> {
    let program = std::env::current_exe()?.display().to_string();
    Ok(vec![program, "adapters-child".to_owned(), kind.to_owned()])
}

const fn on<H: Host>(name: &'static str) -> Adapter {
    Adapter { name, through: super::through::run::<H>, client: amqp::run_on::<H> }
}

/// What the others' rates are beside. It has no other loop under it, and so no tax.
pub const SELECT: &str = "select";

/// In the order of a round.
pub const ALL: &[Adapter] = &[
    on::<hosts::Select>(SELECT),
    #[cfg(feature = "libuv")]
    on::<hosts::Libuv>("libuv"),
    #[cfg(feature = "libev")]
    on::<hosts::Libev>("libev"),
    #[cfg(feature = "libevent")]
    on::<hosts::Libevent>("libevent"),
    #[cfg(feature = "glib")]
    on::<hosts::Glib>("glib"),
    on::<hosts::Calloop>("calloop"),
    on::<hosts::Tokio>("tokio"),
    on::<hosts::AsyncIo>("async-io"),
];

pub fn find(name: &str) -> Option<&'static Adapter> {
    ALL.iter().find(|one| one.name == name)
}

/// Those that this program was built without.
pub fn missing() -> Vec<String> {
    let c = ["libuv", "libev", "libevent", "glib"].into_iter();
    let missing = c.filter(|name| find(name).is_none());
    missing
        .map(|name| format!("{name}: not in this program (cargo run --features {name})"))
        .collect()
}
