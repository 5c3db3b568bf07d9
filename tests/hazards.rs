//! The page of hazards tells the truth: the tests that it names exist, and none is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const LAST: usize = 22;

/// The tests of each hazard, as (file, name), in the order of the page.
fn named() -> BTreeMap<usize, BTreeSet<(String, String)>> {
    let page = fs::read_to_string(root().join("docs/hazards.md")).expect("the page");
    let mut hazards = BTreeMap::<usize, BTreeSet<_>>::new();
    let (mut number, mut file) = (0, "");
    for line in page.lines() {
        let heading = line.strip_prefix("**").and_then(|rest| rest.split_once(". "));
        if let Some((digits, _)) = heading {
            number = digits.parse().expect("a number");
            assert!(hazards.insert(number, BTreeSet::new()).is_none(), "{number} twice");
        }
        if !line.starts_with("- ") && !line.starts_with("  ") {
            continue;
        }
        for quoted in line.split('`').skip(1).step_by(2) {
            if quoted.ends_with(".rs") {
                file = quoted;
            } else {
                let tests = hazards.get_mut(&number).expect("a hazard before its tests");
                tests.insert((file.to_owned(), quoted.to_owned()));
            }
        }
    }
    hazards
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn each_hazard_has_tests_and_they_exist() {
    let hazards = named();
    assert_eq!(hazards.keys().copied().collect::<Vec<_>>(), (1..=LAST).collect::<Vec<_>>());
    for (number, tests) in hazards {
        assert!(!tests.is_empty(), "hazard {number} has no test");
        for (file, name) in tests {
            let source = fs::read_to_string(root().join(&file)).expect(&file);
            // Itself a test, or one that a macro makes for each loop.
            let is_test = source.contains(&format!("#[test]\nfn {name}("))
                || source.contains(&format!("#[test]\n    fn {name}("))
                || source.contains(&format!("fn {name}<H: Host>("))
                || source.contains(&format!("fn {name}(poller: Poller)"));
            assert!(is_test, "hazard {number}: no test {name} in {file}");
        }
    }
}

#[test]
fn each_test_named_for_a_hazard_is_told() {
    let hazards = named();
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    sources(&root().join("tests"), &mut files);
    let mut count = 0;
    for file in files {
        let source = fs::read_to_string(&file).expect("a source");
        let path = file.strip_prefix(root()).expect("it is below").to_string_lossy().into_owned();
        for definition in source.lines().filter_map(|line| line.trim().strip_prefix("fn ")) {
            let name = definition.split(['(', '<']).next().unwrap_or_default();
            let Some((_, number)) = name.split_once("_hazard_") else { continue };
            let Ok(number) = number.parse::<usize>() else { continue };
            let is_told = hazards[&number].contains(&(path.clone(), name.to_owned()));
            assert!(is_told, "{path}: {name} is not told at hazard {number}");
            count += 1;
        }
    }
    assert!(count > LAST);
}
