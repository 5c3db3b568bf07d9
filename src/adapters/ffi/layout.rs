//! What is declared here is what the installed headers say.

use std::mem::offset_of;
use std::path::PathBuf;
use std::process::Command;

/// The values of C expressions, by the C compiler.
fn in_c(library: &str, headers: &[&str], expressions: &[&str]) -> Vec<i64> {
    let name = format!("haypile-layout-{library}-{}", std::process::id());
    let program: PathBuf = std::env::temp_dir().join(name);
    let source = program.with_extension("c");
    let includes: String = headers.iter().map(|header| format!("#include <{header}>\n")).collect();
    let prints =
        expressions.iter().map(|value| format!("printf(\"%lld\\n\", (long long)({value}));"));
    let prints: String = prints.collect();
    let text =
        format!("#include <stddef.h>\n#include <stdio.h>\n{includes}int main(void) {{{prints}}}\n");
    std::fs::write(&source, text).unwrap();
    let flags = Command::new("pkg-config").args(["--cflags", library]).output();
    // libev has none; its headers are where all are.
    let flags = flags.map(|output| String::from_utf8(output.stdout).unwrap()).unwrap_or_default();
    let mut compiler = Command::new("cc");
    compiler.args(flags.split_whitespace()).arg(&source).arg("-o").arg(&program);
    assert!(compiler.status().expect("a C compiler").success());
    let output = Command::new(&program).output().unwrap();
    std::fs::remove_file(source).unwrap();
    std::fs::remove_file(program).unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| line.parse().unwrap()).collect()
}

#[cfg(feature = "glib")]
#[test]
fn glib() {
    use super::glib::*;

    let conditions = ["G_IO_IN", "G_IO_OUT", "G_IO_ERR | G_IO_HUP | G_IO_NVAL"];
    let ours = [G_IO_IN, G_IO_OUT, G_IO_FAILED].map(i64::from);
    assert_eq!(in_c("glib-2.0", &["glib.h"], &conditions), ours);
    let sizes = ["sizeof(GSource)", "sizeof(GSourceFuncs)", "offsetof(GSourceFuncs, dispatch)"];
    let theirs = in_c("glib-2.0", &["glib.h"], &sizes);
    assert!(theirs[0] <= offset_of!(GSource, at) as i64);
    let ours = [size_of::<GSourceFuncs>(), offset_of!(GSourceFuncs, dispatch)];
    assert_eq!(theirs[1..], ours.map(|size| size as i64));
}

#[cfg(feature = "libev")]
#[test]
fn libev() {
    use super::ev::*;

    let sizes = [
        "sizeof(ev_async)",
        "sizeof(ev_cleanup)",
        "sizeof(ev_io)",
        "sizeof(ev_timer)",
        "offsetof(ev_watcher, data)",
        "offsetof(ev_async, sent)",
        "offsetof(ev_io, fd)",
        "offsetof(ev_io, events)",
        "offsetof(ev_timer, repeat)",
    ];
    let ours = [
        size_of::<ev_async>(),
        size_of::<ev_cleanup>(),
        size_of::<ev_io>(),
        size_of::<ev_timer>(),
        offset_of!(ev_watcher, data),
        offset_of!(ev_async, more),
        offset_of!(ev_io, more.fd),
        offset_of!(ev_io, more.events),
        offset_of!(ev_timer, more.repeat),
    ];
    assert_eq!(in_c("libev", &["ev.h"], &sizes), ours.map(|size| size as i64));
    let flags = ["EV_READ", "EV_WRITE", "EV_ASYNC", "EV_ERROR", "EV__IOFDSET"];
    let ours = [EV_READ, EV_WRITE, EV_ASYNC, EV_ERROR, EV__IOFDSET].map(i64::from);
    assert_eq!(in_c("libev", &["ev.h"], &flags), ours);
}

#[cfg(feature = "libevent")]
#[test]
fn libevent() {
    use super::event::*;

    let headers = ["event2/event.h", "event2/event_struct.h"];
    let sizes = ["offsetof(struct event, ev_evcallback.evcb_flags)", "sizeof(struct timeval)"];
    let ours = [offset_of!(event, flags), size_of::<timeval>()];
    assert_eq!(in_c("libevent_core", &headers, &sizes), ours.map(|size| size as i64));
    let flags =
        ["EV_TIMEOUT", "EV_READ", "EV_WRITE", "EV_PERSIST", "EVLIST_INTERNAL", "EVLIST_INIT"];
    let ours = [EV_TIMEOUT, EV_READ, EV_WRITE, EV_PERSIST, EVLIST_INTERNAL, EVLIST_INIT];
    assert_eq!(in_c("libevent_core", &headers, &flags), ours.map(i64::from));
}

#[cfg(feature = "libuv")]
#[test]
fn libuv() {
    use super::uv::*;

    let kinds = ["UV_ASYNC", "UV_IDLE", "UV_POLL", "UV_TIMER"];
    let ours = [UV_ASYNC, UV_IDLE, UV_POLL, UV_TIMER].map(i64::from);
    assert_eq!(in_c("libuv", &["uv.h"], &kinds), ours);
    let ours = [UV_READABLE, UV_WRITABLE].map(i64::from);
    assert_eq!(in_c("libuv", &["uv.h"], &["UV_READABLE", "UV_WRITABLE"]), ours);
}
