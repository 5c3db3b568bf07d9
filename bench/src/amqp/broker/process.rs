//! The stand-in broker as a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command};

use crate::Result;
use crate::child::{Place, spawn};

/// Runs until it is dropped.
pub struct Broker {
    process: Child,
    pub port: u16,
}

impl Broker {
    pub fn start() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = spawn(command.arg("amqp-broker"), Place::Beside)?;
        let mut line = String::new();
        if let Some(stdout) = process.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        Ok(Self { process, port: line.trim().parse()? })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
