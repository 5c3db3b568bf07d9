//! A connection whose kind is chosen when the program runs.

use std::str::FromStr;

#[cfg(feature = "tokio")]
use super::TokioConnection;
use super::{BaseConnection, SelectConnection};
use crate::connection::{ConnectionCallbacks, ConnectionWorkflow};
use crate::error::{ParametersError, Result};
use crate::io_services::Services;

/// Which loop a connection is to run on: see [`create_connection`].
///
/// By [`FromStr`] it has a name, for configurations: `"select"` and `"tokio"`, which need to be given
/// no loop. For the others (`"async-io"`, `"calloop"`, `"glib"`, `"libuv"`, `"libev"`, `"libevent"`) the
/// program attaches services to the loop that it runs, and gives these.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ConnectionKind {
    /// An [`IOLoop`](crate::IOLoop) that the connection makes and owns.
    Select,
    /// The tokio `LocalSet` or local runtime that is running.
    #[cfg(feature = "tokio")]
    Tokio,
    /// Whatever loop these services are of.
    Services(Services),
}

impl From<Services> for ConnectionKind {
    fn from(services: Services) -> Self {
        Self::Services(services)
    }
}

impl From<&Services> for ConnectionKind {
    fn from(services: &Services) -> Self {
        Self::Services(services.clone())
    }
}

impl FromStr for ConnectionKind {
    type Err = ParametersError;

    /// # Errors
    /// [`ParametersError::UnknownKind`], [`ParametersError::KindNotCompiledIn`],
    /// [`ParametersError::KindNeedsServices`].
    fn from_str(name: &str) -> Result<Self, ParametersError> {
        const NAMES: [(&str, bool); 7] = [
            ("tokio", cfg!(feature = "tokio")),
            ("async-io", cfg!(feature = "async-io")),
            ("calloop", cfg!(feature = "calloop")),
            ("glib", cfg!(feature = "glib")),
            ("libuv", cfg!(feature = "libuv")),
            ("libev", cfg!(feature = "libev")),
            ("libevent", cfg!(feature = "libevent")),
        ];
        match name {
            "select" => return Ok(Self::Select),
            #[cfg(feature = "tokio")]
            "tokio" => return Ok(Self::Tokio),
            _ => {}
        }
        Err(match NAMES.into_iter().find(|(known, _)| *known == name) {
            Some((kind, true)) => ParametersError::KindNeedsServices { kind },
            Some((kind, false)) => ParametersError::KindNotCompiledIn { kind },
            None => ParametersError::UnknownKind(name.to_owned()),
        })
    }
}

/// Starts to connect, on the loop that `kind` says. Whatever happens is told to the callbacks.
///
/// All is as in that loop's own constructor; several hosts, and a workflow of the program's own,
/// work alike in each. A connection of [`ConnectionKind::Select`] has an
/// [`ioloop`](BaseConnection::ioloop) to start; the others run when the program runs their loop.
///
/// ```no_run
/// use haypile::{ConnectionCallbacks, ConnectionKind, ConnectionParameters, create_connection};
///
/// let kind: ConnectionKind = std::env::var("LOOP").as_deref().unwrap_or("select").parse()?;
/// let parameters: ConnectionParameters = "amqp://localhost".parse()?;
/// let callbacks = ConnectionCallbacks::new().on_close(|_, reason| println!("{reason}"));
/// let connection = create_connection(kind, parameters, callbacks)?;
/// if let Some(ioloop) = connection.ioloop() {
///     ioloop.start()?;
/// }
/// # Ok::<(), haypile::Error>(())
/// ```
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) if the operating system has no loop to give;
/// [`ParametersError::KindNotRunning`] for `ConnectionKind::Tokio` outside of tokio.
///
/// # Panics
/// For `ConnectionKind::Tokio` on a runtime of tokio's, as `TokioServices::attach`: outside of its
/// `LocalSet`s, if it is not a local one.
pub fn create_connection(
    kind: impl Into<ConnectionKind>,
    workflow: impl Into<ConnectionWorkflow>,
    callbacks: ConnectionCallbacks,
) -> Result<Box<dyn BaseConnection>> {
    Ok(match kind.into() {
        ConnectionKind::Select => Box::new(SelectConnection::new(workflow, callbacks)?),
        #[cfg(feature = "tokio")]
        ConnectionKind::Tokio => {
            let runs = tokio::runtime::Handle::try_current();
            runs.map_err(|_| ParametersError::KindNotRunning { kind: "tokio" })?;
            Box::new(TokioConnection::new(workflow, callbacks))
        }
        ConnectionKind::Services(services) => {
            Box::new(ServicesConnection::with_services(workflow, callbacks, &services))
        }
    })
}

foreign_connection! {
    /// A connection on services of whatever loop: what an adapter without a connection type of its own
    /// has.
    ///
    /// Dropping it closes nothing: the loop owns the connection until it has ended.
    pub struct ServicesConnection;
}
