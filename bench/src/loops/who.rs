//! Who is measured.

use super::c::{self, Package};
use super::subject::Subject;
use super::{async_io, calloop, floor, haypile, tokio};

/// haypile with its default poller: what the bars are about, and others are compared to.
pub const HAYPILE: &str = "haypile";
pub const FLOOR: &str = "floor";
/// The floor once more, so that its own spread is known.
pub const FLOOR_AGAIN: &str = "floor-again";

pub struct Who {
    pub name: &'static str,
    /// A program of its own.
    pub package: Option<&'static Package>,
}

const fn own(name: &'static str) -> Who {
    Who { name, package: None }
}

const fn package(package: &'static Package) -> Who {
    Who { name: package.name, package: Some(package) }
}

/// In the order of a round.
pub const ALL: &[Who] = &[
    own(FLOOR),
    own(HAYPILE),
    package(&c::LIBUV),
    package(&c::LIBEV),
    package(&c::LIBEVENT),
    package(&c::GLIB),
    own("calloop"),
    own("tokio"),
    own("async-io"),
    own(FLOOR_AGAIN),
];

/// The loops of this program.
pub fn subject(name: &str) -> Option<Box<dyn Subject>> {
    Some(match name {
        HAYPILE => Box::new(haypile::Haypile),
        "calloop" => Box::new(calloop::Calloop),
        "tokio" => Box::new(tokio::Tokio),
        "async-io" => Box::new(async_io::AsyncIo),
        FLOOR | FLOOR_AGAIN => Box::new(floor::Floor),
        _ => return None,
    })
}

pub fn is_c(name: &str) -> bool {
    ALL.iter().any(|who| who.name == name && who.package.is_some())
}
