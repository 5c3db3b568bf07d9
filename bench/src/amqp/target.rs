//! The broker that is worked with: the stand-in, or a real one.

use super::broker::Broker;
use super::job::{Job, Spec};
use super::real::Queue;
use super::who::{HAYPILE, own_line};
use crate::Result;
use crate::child;

pub enum Target {
    StandIn(Broker),
    Real { url: String, queue: Queue },
}

impl Target {
    /// The broker at a URL, or else the stand-in.
    pub fn start(url: Option<&str>) -> Result<Self> {
        match url {
            None => Ok(Self::StandIn(Broker::start()?)),
            Some(url) => Ok(Self::Real { url: url.to_owned(), queue: Queue::declare(url)? }),
        }
    }

    pub fn is_real(&self) -> bool {
        matches!(self, Self::Real { .. })
    }

    fn url(&self) -> String {
        match self {
            Self::StandIn(broker) => format!("amqp://guest:guest@127.0.0.1:{}/%2f", broker.port),
            Self::Real { url, .. } => url.clone(),
        }
    }

    /// Sees to it that there is what the job needs, and gives what a child is told of it.
    pub fn prepare(&self, spec: &Spec, messages: u64) -> Result<Vec<String>> {
        let queue = match self {
            Self::StandIn(_) => match spec.job {
                Job::Publish | Job::Confirm => "sink".to_owned(),
                // It has these messages.
                Job::Consume | Job::ConsumeAck => format!("flood.{messages}.{}", spec.size),
                Job::Rpc | Job::LatencyRpc | Job::LatencyPublishDeliver => "echo".to_owned(),
            },
            Self::Real { queue, .. } => {
                queue.purge()?;
                if spec.job.drains() {
                    let line = own_line()?.into_iter().chain([HAYPILE.to_owned()]);
                    let work = self.work(Job::Publish, spec, messages, queue.name.clone());
                    child::measure(line.chain(work).collect(), false)?;
                }
                queue.name.clone()
            }
        };
        Ok(self.work(spec.job, spec, messages, queue))
    }

    /// As [`super::child`] takes it.
    fn work(&self, job: Job, spec: &Spec, messages: u64, queue: String) -> Vec<String> {
        let numbers = [messages, spec.size as u64, spec.window()].map(|number| number.to_string());
        [job.name().to_owned()].into_iter().chain(numbers).chain([queue, self.url()]).collect()
    }
}
