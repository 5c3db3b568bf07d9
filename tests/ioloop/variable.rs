//! The environment variable that names the poller.

use haypile::{Error, IOLoop, ParametersError, PollerKind};

use crate::pollers::{Poller, every_poller};
use crate::tools::in_own_process;

every_poller!(the_environment_names_the_poller);

fn the_environment_names_the_poller(poller: Poller) {
    let kind = poller.kind();
    let text = in_own_process("variable::tell", &[(PollerKind::VARIABLE, &kind.to_string())]);
    assert!(text.contains(&format!("IOLoop {{ poller: {kind:?}, .. }}")), "{text}");
    assert_eq!(kind.to_string().parse(), Ok(kind));
}

#[test]
fn without_it_the_poller_is_mio() {
    let text = in_own_process("variable::tell", &[]);
    assert!(text.contains("IOLoop { poller: Mio, .. }"), "{text}");
}

#[test]
#[ignore = "run by the tests above, in processes of their own"]
fn tell() {
    println!("{:?}", IOLoop::new().unwrap());
}

#[test]
fn a_name_that_is_no_pollers_is_an_error() {
    for name in ["epoll", "Mio", "", "mio "] {
        in_own_process("variable::refused", &[(PollerKind::VARIABLE, name)]);
    }
}

#[test]
#[ignore = "run by the test above, in processes of its own"]
fn refused() {
    let name = std::env::var(PollerKind::VARIABLE).unwrap();
    let error = IOLoop::new().unwrap_err();
    let Error::Parameters(ParametersError::Invalid { name: variable, .. }) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(*variable, PollerKind::VARIABLE);
    let text = error.to_string();
    assert!(text.contains(&format!("{name:?}")), "{text}");
    assert!(PollerKind::ALL.iter().all(|kind| text.contains(&kind.to_string())), "{text}");
    // A loop that asks for its poller does not ask the environment.
    for poller in Poller::ALL {
        drop(poller.new_loop());
    }
}
