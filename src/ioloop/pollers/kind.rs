//! Which poller a loop waits by.

use std::env;
use std::fmt;
use std::str::FromStr;

use crate::error::{ParametersError, Result};

/// How an [`IOLoop`](crate::IOLoop) waits for descriptors (pika's pollers). All of them behave
/// alike; see [`IOLoop`](crate::IOLoop#portability) for where systems differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PollerKind {
    /// epoll or kqueue, by the crate mio: the one to take, and the default.
    #[default]
    Mio,
    /// epoll, kqueue or event ports, by the crate polling.
    Polling,
    /// poll(2), which looks at each descriptor at each wait.
    Poll,
    /// select(2), which does so too, and takes no descriptor from 1,024 on.
    Select,
}

impl PollerKind {
    /// Every kind.
    pub const ALL: &[Self] = &[Self::Mio, Self::Polling, Self::Poll, Self::Select];

    /// The environment variable that names the poller of all loops of a process that ask for none
    /// (pika's `SELECT_TYPE`): `mio`, `polling`, `poll` or `select`.
    pub const VARIABLE: &str = "HAYPILE_POLLER";

    /// What [`VARIABLE`](Self::VARIABLE) names, or the default.
    ///
    /// # Errors
    /// [`Error::Parameters`](crate::Error::Parameters) if it names none.
    pub fn of_process() -> Result<Self> {
        match env::var_os(Self::VARIABLE) {
            None => Ok(Self::default()),
            Some(name) => Ok(name.to_string_lossy().parse()?),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Mio => "mio",
            Self::Polling => "polling",
            Self::Poll => "poll",
            Self::Select => "select",
        }
    }
}

impl fmt::Display for PollerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for PollerKind {
    type Err = ParametersError;

    fn from_str(name: &str) -> Result<Self, ParametersError> {
        let kind = Self::ALL.iter().copied().find(|kind| kind.name() == name);
        kind.ok_or_else(|| ParametersError::Invalid {
            name: Self::VARIABLE,
            reason: format!("there is no poller {name:?}: mio, polling, poll and select are there"),
        })
    }
}
