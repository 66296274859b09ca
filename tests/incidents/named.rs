//! The table of incidents names tests: every one of them is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// All functions in the files of a folder, the crate's and the tests'.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let names = text.lines().filter_map(|line| line.trim_start().strip_prefix("fn "));
            found.extend(names.filter_map(|rest| rest.split('(').next()).map(str::to_owned));
        }
    }
}

#[test]
fn every_test_that_the_table_of_incidents_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut there = BTreeSet::new();
    functions(&root.join("src"), &mut there);
    functions(&root.join("tests"), &mut there);

    let table = fs::read_to_string(root.join("tests/README.md")).unwrap();
    // Test names are the long ones; what else stands in back quotes has no five words.
    let quoted = table.split('`').skip(1).step_by(2);
    let named: BTreeSet<_> = quoted.filter(|name| name.matches('_').count() >= 4 && !name.contains(' ')).collect();
    assert!(named.len() > 60, "the table names {} tests", named.len());
    let missing: Vec<_> = named.iter().filter(|name| !there.contains(**name)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
