//! The clients.

use std::path::Path;
use std::process::Command;

use super::job::Work;
use super::{amiquip, amqprs, haypile, lapin, raw};
use crate::Result;
use crate::hosts::Select;
use crate::outcome::Outcome;
use crate::package::Package;

/// Does the work; `None` if the client has nothing of the kind.
pub type Client = fn(&Work) -> Result<Option<Outcome>>;

/// A client that can be used in more than one way comes once for each.
#[derive(Clone, Copy)]
pub struct Who {
    pub name: &'static str,
    pub kind: Kind,
    program: Program,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No client at all.
    Limit,
    Haypile,
    /// A peer that does one thing after the other.
    Plain,
    /// A peer in the way that is best for it.
    Best,
    /// A peer helped from beneath, by what is no way of the library's own.
    Beneath,
}

#[derive(Clone, Copy)]
enum Program {
    Own(Client),
    C(&'static Package),
    Python,
}

use Kind::*;
use Program::*;

const fn own(name: &'static str, kind: Kind, client: Client) -> Who {
    Who { name, kind, program: Own(client) }
}

pub const RAW: &str = "raw";
pub const HAYPILE: &str = "haypile";
pub const LAPIN: &str = "lapin";
pub const RABBITMQ_C: &str = "rabbitmq-c";

static PACKAGE: Package = Package {
    name: RABBITMQ_C,
    source: "rabbitmq.c",
    header: "amqp_tcp_socket.h",
    modules: &["librabbitmq"],
    libraries: &["-lrabbitmq"],
    debian: "librabbitmq-dev",
};

/// In the order of a round.
const ALL: &[Who] = &[
    own(RAW, Limit, raw::run),
    own(HAYPILE, Haypile, haypile::run_on::<Select>),
    own(LAPIN, Plain, lapin::plain),
    own("lapin-batched", Best, lapin::batched),
    own("amqprs", Plain, amqprs::plain),
    own("amqprs-batched", Best, amqprs::batched),
    own("amiquip", Plain, amiquip::plain),
    own("amiquip-nodelay", Best, amiquip::nodelay),
    own("amiquip-buffered", Best, amiquip::buffered),
    Who { name: RABBITMQ_C, kind: Plain, program: C(&PACKAGE) },
    Who { name: "rabbitmq-c-frames", kind: Best, program: C(&PACKAGE) },
    Who { name: "rabbitmq-c-corked", kind: Beneath, program: C(&PACKAGE) },
];

const PIKA: &[Who] = &[
    Who { name: "pika", kind: Plain, program: Python },
    Who { name: "pika-select", kind: Best, program: Python },
];

pub fn all(pika: bool) -> Vec<Who> {
    let pika = if pika { PIKA } else { &[] };
    [ALL, pika].concat()
}

/// A client of this program.
pub fn client(name: &str) -> Option<Client> {
    ALL.iter().find(|who| who.name == name).and_then(|who| match who.program {
        Own(client) => Some(client),
        _ => None,
    })
}

/// A client of this program, as a process: its name and the rest of the line follow.
pub fn own_line() -> Result<Vec<String>> {
    Ok(vec![std::env::current_exe()?.display().to_string(), "amqp-child".to_owned()])
}

impl Kind {
    /// Is compared to, by itself.
    pub fn is_peer(self) -> bool {
        matches!(self, Plain | Best)
    }
}

impl Who {
    /// The program and its first arguments. The error is for people.
    pub fn line(&self) -> Result<Vec<String>, String> {
        match self.program {
            Own(_) => own_line().map_err(|error| error.to_string()),
            C(package) if !cfg!(feature = "rabbitmq-c") => {
                let name = package.name;
                Err(format!("{}: not in this program (cargo run --features {name})", self.name))
            }
            C(package) => Ok(vec![package.build()?.display().to_string()]),
            Python => {
                let import = Command::new("python3").args(["-c", "import pika"]).output();
                if !import.is_ok_and(|output| output.status.success()) {
                    return Err("pika: not installed (pip install pika)".to_owned());
                }
                let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("py/pika_child.py");
                Ok(vec!["python3".to_owned(), script.display().to_string()])
            }
        }
    }
}
