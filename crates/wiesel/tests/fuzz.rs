//! Feeds damaged text and bytes to every door they come in by: SQL files, environment files, rows, manifests, state files. Whatever comes,
//! the answer is a value or an error: never a panic, never an endless loop.
//!
//! `cargo test` gives each target a short run of a fixed seed. `cargo xtask fuzz TARGET --seconds N --seed S` runs one for longer. A
//! finding is printed with the seed of its input; it is then added to `FOUND` below as a test of its own.

#![allow(clippy::print_stdout, reason = "a test harness tells its results")]
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use wiesel_connectors::formats::{FormatContext, decoder_factory};
use wiesel_connectors::registry::{ConnectorContext, Registry};
use wiesel_core::env::monotonic;
use wiesel_core::options::Options;
use wiesel_core::source::{RawBatch, RawRecord};
use wiesel_core::{DataType, Field, Schema, TypeKind};
use wiesel_engine::checkpoint;
use wiesel_sql::parser::parse_script;
use wiesel_sql::session::Session;

/// Inputs of a short run.
const SHORT_RUN: u64 = 300;
const DEFAULT_SEED: u64 = 1;
/// An input that keeps a target busy for longer counts as a hang.
const HANG: Duration = Duration::from_secs(20);
/// An input does not grow beyond this.
const INPUT_BYTES_MAX: usize = 64 << 10;

struct Target {
    name: &'static str,
    corpus: fn(&Path) -> Vec<Vec<u8>>,
    run: fn(&[u8]),
}

const TARGETS: [Target; 7] = [
    Target { name: "sql", corpus: sql_corpus, run: sql },
    Target { name: "env", corpus: env_corpus, run: env_file },
    Target { name: "json", corpus: json_corpus, run: json },
    Target { name: "csv", corpus: csv_corpus, run: csv },
    Target { name: "manifest", corpus: manifest_corpus, run: manifest },
    Target { name: "state", corpus: state_corpus, run: state },
    Target { name: "checkpoint", corpus: manifest_corpus, run: signed_manifest },
];

/// What was found once: the target, and the input.
const FOUND: &[(&str, &[u8])] = &[("sql", "SELECT 1\u{fffd}".as_bytes())];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option =
        |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1)?.parse().ok());
    let (seconds, seed): (Option<u64>, Option<u64>) = (option("--seconds"), option("--seed"));
    let values: Vec<Option<&String>> = ["--seconds", "--seed"]
        .iter()
        .map(|name| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1)))
        .collect();
    let is_filter = |a: &&String| !a.starts_with('-') && !values.contains(&Some(*a));
    let filters: Vec<&String> = arguments.iter().filter(is_filter).collect();
    let targets: Vec<&Target> =
        TARGETS.iter().filter(|t| filters.is_empty() || filters.iter().any(|f| t.name == f.as_str())).collect();
    if arguments.iter().any(|a| a == "--list") {
        for target in &targets {
            println!("{}: test", target.name);
        }
        return ExitCode::SUCCESS;
    }
    let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the crate lies")).join("../..");
    println!("running {} tests", targets.len());
    let mut failed = 0;
    for target in &targets {
        for (_, input) in FOUND.iter().filter(|(name, _)| *name == target.name) {
            (target.run)(input);
        }
        let finding = fuzz(target, &root, seed.unwrap_or(DEFAULT_SEED), seconds.map(Duration::from_secs));
        println!("test {} ... {}", target.name, if finding.is_ok() { "ok" } else { "FAILED" });
        match finding {
            Ok(count) if seconds.is_some() => println!("{}: {count} inputs", target.name),
            Ok(_) => {}
            Err(text) => {
                failed += 1;
                println!("{text}");
            }
        }
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {word}. {} passed; {failed} failed; 0 ignored", targets.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs inputs of a target until one is a finding, the time is up or the short run is over; how many there were.
fn fuzz(target: &Target, root: &Path, seed: u64, time: Option<Duration>) -> Result<u64, String> {
    let corpus = (target.corpus)(root);
    let began = monotonic();
    let mut count = 0;
    loop {
        let is_over = time.map_or(count >= SHORT_RUN, |time| monotonic().duration_since(began) >= time);
        if is_over {
            return Ok(count);
        }
        let mut random = fastrand::Rng::with_seed(seed.wrapping_add(count));
        let input = mutated(&corpus, &mut random);
        let start = monotonic();
        let outcome = catch_unwind(|| (target.run)(&input));
        let took = monotonic().duration_since(start);
        if outcome.is_err() || took > HANG {
            let what = if outcome.is_err() { "panicked".to_owned() } else { format!("took {} ms", took.as_millis()) };
            let text = String::from_utf8_lossy(&input);
            return Err(format!(
                "{} {what} with seed {}, input {} bytes:\n{text:?}",
                target.name,
                seed + count,
                input.len()
            ));
        }
        count += 1;
    }
}

/// One to six changes to an entry of the corpus: bits, bytes, cuts, repeats, pieces of another entry, numbers at their limits.
fn mutated(corpus: &[Vec<u8>], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut input = corpus[random.usize(..corpus.len())].clone();
    for _ in 0..random.usize(1..=6) {
        let at = random.usize(..=input.len());
        let length = random.usize(0..=16).min(input.len() - at);
        match random.u8(..9) {
            0 if at < input.len() => input[at] ^= 1 << random.u8(..8),
            1 if at < input.len() => input[at] = random.u8(..),
            2 => input.truncate(at),
            3 => drop(input.drain(at..at + length)),
            4 => {
                let piece = input[at..at + length].to_vec();
                let piece = piece.repeat(random.usize(1..=64));
                input.splice(at..at, piece);
            }
            5 => {
                let other = &corpus[random.usize(..corpus.len())];
                let from = random.usize(..=other.len());
                let to = random.usize(from..=other.len().min(from + 200));
                input.splice(at..at, other[from..to].iter().copied());
            }
            6 => {
                const NUMBERS: [&str; 8] = [
                    "0",
                    "-1",
                    "9223372036854775807",
                    "-9223372036854775808",
                    "1e400",
                    "NaN",
                    "4294967296",
                    "0.1e-999",
                ];
                input.splice(at..at + length, NUMBERS[random.usize(..NUMBERS.len())].bytes());
            }
            7 => {
                const PIECES: [&str; 14] =
                    ["'", "\"", "`", "(", ")", "/*", "*/", "--", "${", "\\u", "\u{feff}", "\0", "\u{10ffff}", "[{"];
                let piece = PIECES[random.usize(..PIECES.len())].repeat(random.usize(1..=40));
                input.splice(at..at, piece.bytes());
            }
            _ => {
                let (word, other) = (random.usize(..=input.len()), random.usize(..=input.len()));
                let (from, to) = (word.min(other), word.max(other).min(word.min(other) + 100));
                let piece: Vec<u8> = input.drain(from..to).collect();
                let at = random.usize(..=input.len());
                input.splice(at..at, piece);
            }
        }
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}

// ---------------------------------------------------------------- doors

fn sql(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    wiesel_core::secret::keep_from_text("SELECT 1");
    let Ok(statements) = parse_script(&text) else { return };
    let registry = Arc::new(Registry::new(ConnectorContext { address_map: Vec::new() }));
    let mut session = Session::new(registry, Vec::new());
    for statement in &statements {
        drop(session.execute(statement, &text));
    }
}

fn env_file(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    drop(wiesel_core::variable::parse_environment(&text));
    drop(wiesel_core::variable::expand(&text, &wiesel_core::variable::NoVariables));
    drop(wiesel_core::secret::shown("url", &text));
    drop(wiesel_core::secret::shown("password", &text));
}

fn schema() -> Schema {
    let kinds = [
        TypeKind::Boolean,
        TypeKind::Int,
        TypeKind::BigInt,
        TypeKind::Double,
        TypeKind::VarChar(2_147_483_647),
        TypeKind::Timestamp(3),
        TypeKind::Date,
        TypeKind::Decimal { precision: 10, scale: 2 },
    ];
    let fields = kinds.into_iter().enumerate().map(|(i, kind)| Field::new(format!("f{i}"), DataType::new(kind)));
    Schema::new(fields.collect())
}

fn decode(format: &str, input: &[u8]) {
    let mut values =
        BTreeMap::from([("connector".to_owned(), "x".to_owned()), ("format".to_owned(), format.to_owned())]);
    for ignores in [false, true] {
        values.insert(format!("{format}.ignore-parse-errors"), ignores.to_string());
        let mut options = Options::new("t", &values);
        let context = FormatContext::whole("t", schema(), "UTC");
        let Ok(factory) = decoder_factory(&mut options, "format", context) else { return };
        let mut decoder = factory.create().unwrap();
        let record = RawRecord {
            key_start: 0,
            key_end: 0,
            value_start: 0,
            value_end: u32::try_from(input.len()).unwrap(),
            offset: 0,
            timestamp_ms: -1,
            has_key: false,
            has_value: true,
            tag: 0,
        };
        let batch = RawBatch { split: 0, arena: input.to_vec().into(), records: vec![record], next: 1 };
        drop(decoder.decode(&batch, 0..batch.records.len()));
    }
}

fn json(input: &[u8]) {
    decode("json", input);
}

fn csv(input: &[u8]) {
    decode("csv", input);
}

fn manifest(input: &[u8]) {
    drop(checkpoint::try_manifest(input));
}

/// The same with a checksum that agrees, so that what stands behind the checksum is met too.
fn signed_manifest(input: &[u8]) {
    let json = input.split(|b| *b == b'\n').next().unwrap_or_default();
    let mut bytes = json.to_vec();
    bytes.extend_from_slice(format!("\ncrc32:{:08x}\n", crc32fast::hash(json)).as_bytes());
    drop(checkpoint::try_manifest(&bytes));
}

/// State files with block checksums that agree, and as they are.
fn state(input: &[u8]) {
    drop(checkpoint::try_state(input));
    let mut bytes = input.to_vec();
    let mut at = 8;
    while let Some(head) = bytes.get(at..at + 8) {
        let length = u32::from_le_bytes(head[..4].try_into().unwrap()) as usize;
        let Some(block) = bytes.get(at + 8..at.saturating_add(8).saturating_add(length)) else { break };
        let crc = crc32fast::hash(block).to_le_bytes();
        bytes[at + 4..at + 8].copy_from_slice(&crc);
        at += 8 + length;
    }
    drop(checkpoint::try_state(&bytes));
}

// ---------------------------------------------------------------- corpora

fn sql_corpus(root: &Path) -> Vec<Vec<u8>> {
    let mut texts = Vec::new();
    for folder in ["examples", "tests/nexmark"] {
        collect(&root.join(folder), "sql", &mut texts);
    }
    let mut files = Vec::new();
    collect(&root.join("tests/sql"), "slt", &mut files);
    // Statements of data files, each with the statements before it, as far as they go.
    for file in files {
        let text = String::from_utf8_lossy(&file).into_owned();
        let mut script = String::new();
        let mut is_sql = false;
        for line in text.lines() {
            match line {
                _ if line.starts_with("statement") || line.starts_with("job") || line.starts_with("query") => {
                    is_sql = true
                }
                "" => {
                    if is_sql {
                        script.push_str(";\n");
                    }
                    is_sql = false;
                }
                _ if is_sql => {
                    script.push_str(line);
                    script.push('\n');
                }
                _ => {}
            }
        }
        texts.push(script.into_bytes());
    }
    texts
}

fn collect(folder: &Path, extension: &str, texts: &mut Vec<Vec<u8>>) {
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, extension, texts);
        } else if path.extension().is_some_and(|e| e == extension) {
            texts.push(std::fs::read(&path).unwrap());
        }
    }
}

fn texts(list: &[&str]) -> Vec<Vec<u8>> {
    list.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn env_corpus(_root: &Path) -> Vec<Vec<u8>> {
    texts(&[
        "# head\nA=1\nexport B = two words # said\nC='it # stays'\nD=\"a \\\"b\\\"\\n\" # gone\n",
        "jdbc:postgresql://u:p@h:1/d?user=${U}&password=${P:-x}&a=$${b}",
        "KEY=\"-----BEGIN\nX\n-----END\"\n${file:a}",
    ])
}

fn json_corpus(_root: &Path) -> Vec<Vec<u8>> {
    texts(&[
        r#"{"f0":true,"f1":1,"f2":-9223372036854775808,"f3":1.5e10,"f4":"a\u00e9\n","f5":"2024-02-29 12:00:00.123","f6":"2024-02-29","f7":12345678.90}"#,
        r#"{"f4":{"a":[1,2,{"b":null}]},"f1":"7","f0":"TRUE","f7":"1.005","x":[[[[]]]]}"#,
        r#"{"f1":null,"f2":1e3,"f3":"NaN","f4":"\ud83d\ude00","f5":"0001-01-01 00:00:00","f6":"9999-12-31"}"#,
        "[]",
        "null",
    ])
}

fn csv_corpus(_root: &Path) -> Vec<Vec<u8>> {
    texts(&[
        "true,1,-5,1.5,\"a \"\"b\"\"\",2024-02-29 12:00:00.123,2024-02-29,12.30",
        ",,,,,,,",
        "1,2",
        "\"a\nb\",\\,x",
    ])
}

fn manifest_corpus(_root: &Path) -> Vec<Vec<u8>> {
    let json = concat!(
        r#"{"format":1,"program":"wiesel 0.1.0","id":7,"time_ms":1,"duration_ms":2,"kind":"stop","job":"q","written_bytes":3,"#,
        r#""operators":[{"id":"0a","label":"Calc"}],"sources":[{"operator":"0b","table":"t","splits":[{"name":"t-0","position":5}]}],"#,
        r#""watermarks":[{"operator":"0c","emitted":-1,"splits":[["t-0",4]]}],"inputs":[{"operator":"0a","watermark":3}],"#,
        r#""sinks":[{"operator":"0d","table":"o","delivery":"exactly-once","states":["AP8="],"pending":[{"checkpoint":6,"work":["cm93cw=="]}]}],"#,
        r#""runs":[{"file":"state-7.run","bytes":9,"crc32":1}]}"#
    );
    vec![format!("{json}\ncrc32:{:08x}\n", crc32fast::hash(json.as_bytes())).into_bytes()]
}

fn state_corpus(_root: &Path) -> Vec<Vec<u8>> {
    let block = |payload: &[u8]| {
        let mut block = u32::try_from(payload.len()).unwrap().to_le_bytes().to_vec();
        block.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
        block.extend_from_slice(payload);
        block
    };
    let entry = |kind: u8, key: &[u8], value: Option<&[u8]>| {
        let mut entry = vec![kind, 1, 0, 0, 7];
        for part in [Some(key), value].into_iter().flatten() {
            entry.extend_from_slice(&u32::try_from(part.len()).unwrap().to_le_bytes());
            entry.extend_from_slice(part);
        }
        entry
    };
    let mut file = b"WSLRUN\x01\x00".to_vec();
    file.extend(block(br#"["a","b"]"#));
    file.extend(block(&[entry(0, b"key", Some(b"value")), entry(1, b"key", None), entry(2, b"k", None)].concat()));
    vec![file]
}
