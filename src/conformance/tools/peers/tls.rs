//! A peer that speaks TLS.

use std::io::Write;
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};

use super::Wire;

impl Wire {
    /// Speaks TLS from now on: what is sent and read is plain. Gives how the handshake ended.
    pub fn start_tls(&mut self, config: Arc<ServerConfig>) -> std::io::Result<()> {
        let tls = self.tls.insert(ServerConnection::new(config).expect("a configuration"));
        while tls.is_handshaking() {
            tls.complete_io(&mut self.stream)?;
        }
        Ok(())
    }

    /// Speaks TLS, and says something in the same breath as the end of the handshake.
    pub fn start_tls_and_say(&mut self, config: Arc<ServerConfig>, bytes: &[u8]) {
        let tls = self.tls.insert(ServerConnection::new(config).expect("a configuration"));
        while tls.is_handshaking() {
            let mut answer = Vec::new();
            while tls.wants_write() {
                tls.write_tls(&mut answer).expect("to memory");
            }
            self.stream.write_all(&answer).expect("to send");
            tls.read_tls(&mut self.stream).expect("the client goes on");
            tls.process_new_packets().expect("the client speaks TLS");
        }
        self.send(bytes);
    }

    /// Sends bytes as TLS, each of whose own bytes travels alone.
    pub fn dribble(&mut self, bytes: &[u8]) {
        let tls = self.tls.as_mut().expect("TLS");
        tls.writer().write_all(bytes).expect("there is room");
        let mut sealed = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut sealed).expect("to memory");
        }
        self.stream.set_nodelay(true).expect("an option");
        for byte in sealed {
            self.stream.write_all(&[byte]).expect("to send");
        }
    }

    /// The TLS that is spoken.
    pub fn tls(&mut self) -> &mut ServerConnection {
        self.tls.as_mut().expect("TLS")
    }

    /// Ends TLS in order, and leaves TCP open.
    pub fn say_goodbye(&mut self) {
        self.tls().send_close_notify();
        self.send([]);
    }
}
