//! The flags that all benchmarks take.

use std::error::Error;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use pico_args::Arguments;

use crate::Result;
use crate::table::Table;

pub struct Options {
    pub quick: bool,
    pub rounds: usize,
    pub markdown: bool,
    only: Option<Vec<String>>,
    who: Option<Vec<String>>,
    csv: Option<PathBuf>,
}

impl Options {
    /// Takes them off the line. Without `--rounds` there are as many as a long or a quick run has.
    pub fn take(arguments: &mut Arguments, long: usize, quick: usize) -> Result<Self> {
        let is_quick = arguments.contains("--quick");
        let csv: Option<PathBuf> = arguments.opt_value_from_str("--csv")?;
        // What cannot be written to is better told before a long run than after it.
        if let Some(path) = &csv {
            File::create(path).map_err(|error| of_file(path, error))?;
        }
        let rounds = arguments.opt_value_from_str("--rounds")?;
        Ok(Self {
            quick: is_quick,
            rounds: rounds.unwrap_or(if is_quick { quick } else { long }),
            markdown: arguments.contains("--markdown"),
            only: arguments.opt_value_from_fn("--only", list)?,
            who: arguments.opt_value_from_fn("--who", list)?,
            csv,
        })
    }

    /// Of all benches, those that `--only` names.
    pub fn benches<T>(&self, all: Vec<T>, name: impl Fn(&T) -> &str) -> Result<Vec<T>> {
        choose(self.only.as_deref(), "bench", all, name)
    }

    /// Of all who can be measured, those that `--who` names.
    pub fn contenders<T>(&self, all: Vec<T>, name: impl Fn(&T) -> &str) -> Result<Vec<T>> {
        choose(self.who.as_deref(), "contender", all, name)
    }

    pub fn print(&self, table: &Table) {
        match self.markdown {
            true => println!("{}", table.markdown()),
            false => println!("{}", table.text()),
        }
    }

    /// Writes what `--csv` asked for.
    pub fn write_csv(&self, table: impl FnOnce() -> Table) -> Result<()> {
        match &self.csv {
            Some(path) => std::fs::write(path, table().csv()).map_err(|error| of_file(path, error)),
            None => Ok(()),
        }
    }
}

/// An error that says which file it is about.
pub fn of_file(path: &Path, error: io::Error) -> Box<dyn Error> {
    format!("{}: {error}", path.display()).into()
}

pub fn nothing_more(arguments: Arguments) -> Result<()> {
    match arguments.finish().first() {
        Some(unknown) => Err(format!("unknown argument: {}", unknown.to_string_lossy()).into()),
        None => Ok(()),
    }
}

fn list(text: &str) -> Result<Vec<String>, std::convert::Infallible> {
    Ok(text.split(',').map(str::to_owned).collect())
}

/// A name stands for itself, or else for all that start so.
fn choose<T>(
    wanted: Option<&[String]>,
    kind: &str,
    all: Vec<T>,
    name: impl Fn(&T) -> &str,
) -> Result<Vec<T>> {
    let Some(wanted) = wanted else { return Ok(all) };
    let mut chosen = vec![false; all.len()];
    for text in wanted {
        let is_whole = all.iter().any(|one| name(one) == text);
        let mut any = false;
        for (one, chosen) in all.iter().zip(&mut chosen) {
            if name(one) == text || (!is_whole && name(one).starts_with(text)) {
                (*chosen, any) = (true, true);
            }
        }
        if !any {
            let names: Vec<_> = all.iter().map(name).collect();
            return Err(format!("no {kind} {text}; there are {}", names.join(", ")).into());
        }
    }
    Ok(all.into_iter().zip(chosen).filter_map(|(one, chosen)| chosen.then_some(one)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(wanted: &[&str]) -> Result<Vec<&'static str>> {
        let wanted: Vec<_> = wanted.iter().map(|&text| text.to_owned()).collect();
        let all = vec!["publish", "publish_64k", "consume", "consume_ack"];
        choose(Some(&wanted), "bench", all, |one| one)
    }

    #[test]
    fn a_whole_name_stands_for_itself_alone() {
        assert_eq!(chosen(&["publish"]).unwrap(), ["publish"]);
        assert_eq!(chosen(&["consume_ack", "publish"]).unwrap(), ["publish", "consume_ack"]);
    }

    #[test]
    fn a_beginning_stands_for_all_that_begin_so() {
        assert_eq!(chosen(&["con"]).unwrap(), ["consume", "consume_ack"]);
    }

    #[test]
    fn what_matches_nothing_is_an_error_that_says_what_there_is() {
        let error = chosen(&["publish", "confirm"]).unwrap_err().to_string();
        assert_eq!(error, "no bench confirm; there are publish, publish_64k, consume, consume_ack");
    }
}
