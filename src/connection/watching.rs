//! What futures have of a connection.

use std::rc::Rc;

use super::handle::Connection;
use crate::error::Misuse;
use crate::futures::{Ending, Watch};

impl Connection {
    /// What is told when it opens and when it ends. There is one, however many futures wait.
    pub(crate) fn watch(&self) -> Rc<Watch> {
        match self.session() {
            Ok(session) => Rc::clone(session.watch.get_or_init(|| self.start_watch())),
            Err(refused) => Watch::ended(refused.into()),
        }
    }

    fn start_watch(&self) -> Rc<Watch> {
        if self.is_closed() {
            return Watch::ended(Misuse::ConnectionNotOpen.into());
        }
        let watch = Rc::<Watch>::default();
        let (opened, ending) = (Rc::clone(&watch), Ending::of(&watch));
        if let Ok(session) = self.session() {
            let mut callbacks = session.callbacks.borrow_mut();
            callbacks.on_ending = Some(Box::new(move |cause| ending.tell(cause)));
        }
        // It fails if there is nothing to wait for any more.
        let _ = self.add_on_open_callback(move |_| opened.changed());
        watch
    }
}
