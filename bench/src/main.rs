//! Runs haypile and its peers side by side, and says how they compare.

mod adapters;
mod amqp;
mod bars;
mod chart;
mod child;
mod hosts;
mod loops;
mod options;
mod outcome;
mod package;
mod rounds;
mod scale;
mod table;

use std::error::Error;
use std::process::ExitCode;

const USAGE: &str = "\
Usage: bench loop [FLAG ..]
       bench adapters [FLAG ..]
       bench amqp [--pika] [--sizes] [--url URL] [FLAG ..]
       bench chart FILE
       bench scale [FLAG ..]
       bench instructions

loop measures event loops, each in a process of its own, in interleaved rounds: haypile, libuv,
libev, libevent, GLib, calloop, tokio, async-io, and the bare system calls as the floor.

adapters measures what haypile's adapters cost: the loops by themselves and haypile on them, and the
rates of their connections. With the features libuv, libevent, glib those too, or libev.

amqp measures AMQP clients so, against a stand-in broker that is written for speed: haypile, lapin,
amqprs, amiquip, with the feature rabbitmq-c also that, and bytes that were encoded before as the
limit.

All end with 1 when a contender has failed.

  --pika           pika too (pip install pika)
  --sizes          bodies from nothing to 16 MiB, instead of the usual benches
  --url URL        against a real broker, in a queue that is made there and removed

chart draws an SVG of what amqp --csv has written.

scale measures haypile with thousands of channels, consumers and connections, beside one.

instructions has callgrind count how many haypile takes for a message. It needs valgrind.

  --quick          few rounds of little work: shows that it runs, not how fast
  --rounds N       rounds (15 of loop and adapters, 7 of the others; with --quick 3 of loop, or 1)
  --csv FILE       writes one row per bench and contender there
  --markdown       prints the tables for a page
  --only BENCH,..  only these benches; t1 stands for all whose names start so
  --who NAME,..    only these loops or clients, named in the same way
";

fn main() -> ExitCode {
    let mut arguments = pico_args::Arguments::from_env();
    let done = match arguments.subcommand() {
        Ok(Some(command)) if command == "loop" => loops::main(arguments),
        Ok(Some(command)) if command == "child" => loops::child(arguments),
        Ok(Some(command)) if command == "adapters" => adapters::main(arguments),
        Ok(Some(command)) if command == "adapters-child" => adapters::child(arguments),
        Ok(Some(command)) if command == "amqp" => amqp::main(arguments),
        Ok(Some(command)) if command == "chart" => chart::main(arguments),
        Ok(Some(command)) if command == "amqp-broker" => amqp::broker(),
        Ok(Some(command)) if command == "amqp-child" => amqp::child(arguments),
        Ok(Some(command)) if command == "scale" => scale::main(arguments),
        Ok(Some(command)) if command == "scale-child" => scale::child(arguments),
        Ok(Some(command)) if command == "instructions" => amqp::instructions::main(arguments),
        Ok(_) if arguments.contains("--help") => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Ok(_) => Err(USAGE.into()),
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;
