//! What is tried, how often and for how long, until a connection is open.

use super::parameters::ConnectionParameters;

/// How a connection comes to be (pika's `AMQPConnectionWorkflow`): what the constructors of all
/// connections take. [`ConnectionParameters`] turn into one, which tries them.
#[derive(Clone, Debug)]
pub struct ConnectionWorkflow {
    parameters: ConnectionParameters,
}

impl ConnectionWorkflow {
    pub(crate) fn parameters(&self) -> &ConnectionParameters {
        &self.parameters
    }
}

impl From<ConnectionParameters> for ConnectionWorkflow {
    fn from(parameters: ConnectionParameters) -> Self {
        Self { parameters }
    }
}
