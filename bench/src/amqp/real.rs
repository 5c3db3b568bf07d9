//! A queue of a real broker, made and emptied and removed by haypile itself.

use std::cell::Cell;
use std::rc::Rc;

use haypile::{
    Channel, ConnectionCallbacks, ConnectionParameters, IOLoop, SelectConnection, queue,
};

use crate::Result;

/// Is deleted when dropped.
pub struct Queue {
    pub name: String,
    url: String,
}

/// Called with what the broker has answered.
type Answered = Box<dyn FnOnce(Result<(), haypile::Error>)>;

impl Queue {
    pub fn declare(url: &str) -> Result<Self> {
        let name = format!("haypile-bench-{}", std::process::id());
        let queue = name.clone();
        ask(url, move |channel, answered| {
            let declare = queue::Declare { queue: queue.into(), ..Default::default() };
            channel.queue_declare(declare, |_, result| answered(result.map(drop)))
        })?;
        Ok(Self { name, url: url.to_owned() })
    }

    pub fn purge(&self) -> Result<()> {
        let queue = self.name.clone();
        ask(&self.url, move |channel, answered| {
            let purge = queue::Purge { queue: queue.into() };
            channel.queue_purge(purge, |_, result| answered(result.map(drop)))
        })
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let queue = self.name.clone();
        let deleted = ask(&self.url, move |channel, answered| {
            let delete = queue::Delete { queue: queue.into(), ..Default::default() };
            channel.queue_delete(delete, |_, result| answered(result.map(drop)))
        });
        if let Err(error) = deleted {
            eprintln!("{} stays: {error}", self.name);
        }
    }
}

/// Opens a channel, asks something there, and closes all again.
fn ask(
    url: &str,
    question: impl FnOnce(&Channel, Answered) -> haypile::Result<()> + 'static,
) -> Result<()> {
    let ioloop = IOLoop::new()?;
    let outcome = Rc::new(Cell::new(None));
    let (answer, end, handle) = (Rc::clone(&outcome), Rc::clone(&outcome), ioloop.handle());
    let callbacks = ConnectionCallbacks::new()
        .on_open(move |connection| {
            let closing = connection.clone();
            let answered = move |result| {
                answer.set(Some(result));
                let _ = closing.close(200, "asked");
            };
            let on_channel = |channel: &Channel, opened: haypile::Result<()>| match opened {
                Ok(()) => question(channel, Box::new(answered)).expect("it is open"),
                Err(error) => answered(Err(error)),
            };
            connection.channel(None, on_channel).expect("it is open");
        })
        .on_close(move |_, reason| {
            // Without an answer, that is why.
            end.set(Some(end.take().unwrap_or(Err(reason))));
            handle.stop();
        });
    let parameters: ConnectionParameters = url.parse()?;
    let _connection = SelectConnection::with_ioloop(parameters, callbacks, &ioloop)?;
    ioloop.start()?;
    outcome.take().ok_or("the broker has not answered")?.map_err(Into::into)
}
