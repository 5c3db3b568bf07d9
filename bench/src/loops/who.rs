//! Who is measured.

use ::haypile::PollerKind;

use super::c;
use super::spec::Job;
use super::subject::Subject;
use super::{async_io, calloop, floor, haypile, tokio};
use crate::Result;
use crate::package::Package;

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
    own("haypile-polling"),
    own("haypile-poll"),
    own("haypile-select"),
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
        HAYPILE => Box::new(haypile::Haypile(PollerKind::Mio)),
        "haypile-polling" => Box::new(haypile::Haypile(PollerKind::Polling)),
        "haypile-poll" => Box::new(haypile::Haypile(PollerKind::Poll)),
        "haypile-select" => Box::new(haypile::Haypile(PollerKind::Select)),
        "calloop" => Box::new(calloop::Calloop),
        "tokio" => Box::new(tokio::Tokio),
        "async-io" => Box::new(async_io::AsyncIo),
        FLOOR | FLOOR_AGAIN => Box::new(floor::Floor),
        _ => return None,
    })
}

/// A loop of this program, as a process.
pub fn own_line(name: &str) -> Result<Vec<String>> {
    let program = std::env::current_exe()?.display().to_string();
    Ok(vec![program, "child".to_owned(), name.to_owned()])
}

impl Who {
    /// The program and its first arguments. The error is for people.
    pub fn line(&self) -> Result<Vec<String>, String> {
        match self.package {
            None => own_line(self.name).map_err(|error| error.to_string()),
            Some(package) => Ok(vec![package.build()?.display().to_string()]),
        }
    }

    /// haypile's other pollers do as the default one where nothing is waited for.
    pub fn is_told_apart_by(&self, job: Job) -> bool {
        match job {
            Job::PingSocket | Job::PingEventfd => true,
            Job::CancelInsert | Job::Reset | Job::InsertFire | Job::RearmFire => {
                !self.name.starts_with("haypile-") && self.name != FLOOR_AGAIN
            }
            _ => self.name != FLOOR_AGAIN,
        }
    }
}

pub fn is_c(name: &str) -> bool {
    ALL.iter().any(|who| who.name == name && who.package.is_some())
}
