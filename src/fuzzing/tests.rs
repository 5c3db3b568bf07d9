//! The fuzz targets without a fuzzer: over the seeds, and over what a fixed generator makes of them.
//!
//! It knows nothing of coverage, so it finds less than libFuzzer does; but what it does is the same
//! everywhere and every time. `FUZZ_INPUTS` says how many inputs each target gets.

use super::seeds::targets;

/// A second or two in a debug build.
const INPUTS: usize = 3000;

/// Marsaglia's xorshift: all that is needed of a generator here is that it stays the same.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }

    fn octet(&mut self) -> u8 {
        match self.below(3) {
            0 => self.below(8) as u8,
            1 => [0xff, 0x80, 0x7f, 0xce, b'S', b'F', b'A', b't'][self.below(8)],
            _ => self.below(256) as u8,
        }
    }

    /// Changes a place or a few: set, put in, taken out, doubled, or joined with another's end.
    fn mutate(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..=self.below(6) {
            let at = self.below(input.len() + 1);
            match self.below(6) {
                0 | 1 if at < input.len() => input[at] = self.octet(),
                2 => input.insert(at, self.octet()),
                3 => drop(input.drain(at..(at + self.below(8)).min(input.len()))),
                4 => {
                    let part = input[at..(at + self.below(32)).min(input.len())].to_vec();
                    input.splice(at..at, part);
                }
                _ => {
                    let from = self.below(other.len() + 1);
                    input.truncate(at);
                    input.extend_from_slice(&other[from..]);
                }
            }
        }
        input.truncate(4096);
    }
}

/// Prints the input if `run` panics with it.
struct Shown<'i>(&'i [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input: b\"{}\"", self.0.escape_ascii());
        }
    }
}

fn drive(target: &str) {
    let (_, run, seeds) =
        targets().into_iter().find(|(name, ..)| *name == target).expect("a target of that name");
    let count = std::env::var("FUZZ_INPUTS").map_or(INPUTS, |count| count.parse().unwrap());
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut inputs = seeds;
    for input in &inputs {
        let _shown = Shown(input);
        run(input);
    }
    let fixed = inputs.len();
    for _ in 0..count {
        let other = inputs[random.below(inputs.len())].clone();
        let mut input = inputs[random.below(inputs.len())].clone();
        random.mutate(&mut input, &other);
        {
            let _shown = Shown(&input);
            run(&input);
        }
        // A few of them are changed further.
        match inputs.len() {
            length if length < fixed + 200 => inputs.push(input),
            length => inputs[fixed + random.below(length - fixed)] = input,
        }
    }
}

#[test]
fn frames() {
    drive("frames");
}

#[test]
fn machine() {
    drive("machine");
}

#[test]
fn methods() {
    drive("methods");
}

#[test]
fn tables() {
    drive("tables");
}
