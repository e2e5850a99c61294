//! A checkpoint that an older program made: `tests/checkpoints/format-N` is a job, its state and what it had written when it was stopped
//! with the first program of format N. The present program goes on from there, and each row is there once. When the format changes, a
//! folder of the new one is added and the old ones stay.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::program::Place;

/// Numbers of the job's sequence.
const ROWS: i64 = 3_000;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The rows of a folder's visible csv files, sorted.
fn rows(place: &Place, folder: &str) -> Vec<Vec<i64>> {
    let mut rows = Vec::new();
    for (path, bytes) in place.files() {
        if path.starts_with(place.path(folder)) && !path.file_name().unwrap().to_str().unwrap().starts_with('.') {
            let text = String::from_utf8(bytes).unwrap();
            rows.extend(text.lines().map(|line| line.split(',').map(|n| n.parse().unwrap()).collect::<Vec<i64>>()));
        }
    }
    rows.sort_unstable();
    rows
}

#[test]
fn a_job_goes_on_from_a_checkpoint_of_every_older_format() {
    let fixtures = Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the crate lies"))
        .join("tests/checkpoints");
    let mut formats: Vec<_> = fs::read_dir(fixtures).unwrap().map(|entry| entry.unwrap().path()).collect();
    formats.sort_unstable();
    assert!(!formats.is_empty());
    for format in formats {
        let place = Place::new();
        copy(&format, &place.path("."));
        let before = rows(&place, "sums").len();
        assert!((1..3_000).contains(&before), "{before} rows were there");
        let run = place.wiesel(&["run", "job.sql", "--state", "state"]);
        assert_eq!(run.code, Some(0), "{}: {run:?}", format.display());
        assert!(run.stderr.contains("resumed from checkpoint"), "{}: {run:?}", format.display());

        let (mut sums, mut windows) = (BTreeMap::<i64, i64>::new(), BTreeMap::<(i64, i64), i64>::new());
        let mut expected = Vec::new();
        for id in 1..=ROWS {
            let sum = sums.entry(id % 7).or_default();
            *sum += id;
            expected.push(vec![id, *sum]);
            *windows.entry((id % 3, id / 250 * 25)).or_default() += 1;
        }
        assert_eq!(rows(&place, "sums"), expected);
        let windows: Vec<Vec<i64>> = windows.into_iter().map(|((key, start), count)| vec![key, start, count]).collect();
        assert_eq!(rows(&place, "windows"), windows);
        let firsts: Vec<Vec<i64>> = (0..500).map(|key| vec![key, if key == 0 { 500 } else { key }]).collect();
        assert_eq!(rows(&place, "firsts"), firsts);
    }
}
