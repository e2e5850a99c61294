//! A law of whole jobs: however the input is cut into steps, wherever a job is stopped and started again, with one worker or several, with
//! mini-batch or without it, the changes of a query fold to the same table.
//!
//! Every seed makes an input: rows in bounded disorder, never behind their watermark (what a late row does may depend on the order of the
//! inputs between each other), a changelog whose retractions fit, versions of a few keys. A share of the queries of the table below runs over
//! it as one data file, first plainly, then in ways drawn from the seed. Seeds and ways are counted, so a run takes seconds and always does
//! the same; with larger numbers below it searches as long as one likes. A failure names the seed, the way, and the query.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;

use wiesel_slt::{Outputs, RunOptions, outputs_of_file};

/// Inputs that are tried.
const SEEDS: u64 = 8;

/// Ways each of them runs in beside the plain one.
const WAYS: usize = 2;

/// Rows per input table.
const ROWS: usize = 40;

/// Every so many queries one runs with a seed, beginning with the seed's number: seeds share the table among them.
const QUERY_STRIDE: usize = 4;

const TABLES: &str = "
CREATE TABLE t (id INT, k STRING, g INT, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = 't', 'format' = 'json');
CREATE TABLE o (id INT, k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'json');
CREATE TABLE u (id INT, k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = 'u', 'format' = 'debezium-json');
CREATE TABLE r (k STRING, rate INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND, PRIMARY KEY (k) NOT ENFORCED)
WITH ('connector' = 'filesystem', 'path' = 'r', 'format' = 'json');
CREATE TABLE by_key (k STRING, n BIGINT, s INT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'jdbc', 'url' = 'jdbc:postgresql://h/d', 'table-name' = 'b');
CREATE TABLE by_value (v INT, k STRING, n BIGINT, PRIMARY KEY (v) NOT ENFORCED) WITH ('connector' = 'jdbc', 'url' = 'jdbc:postgresql://h/d', 'table-name' = 'c')
";

/// A name and its query; the name is that of the table when the query is an INSERT.
type Query = (&'static str, &'static str);

const QUERIES: &[Query] = &[
    ("global", "SELECT COUNT(*), SUM(v), MIN(v), MAX(v), COUNT(DISTINCT v), AVG(v) FROM t"),
    (
        "grouped",
        "SELECT k, COUNT(*), SUM(v), FIRST_VALUE(v), LAST_VALUE(v), LISTAGG(CAST(v AS STRING)) FROM t GROUP BY k",
    ),
    (
        "grouped_updates",
        "SELECT k, COUNT(*), SUM(v), MIN(v), MAX(v), COUNT(DISTINCT v), COUNT(v) FILTER (WHERE v > 3) FROM u GROUP BY k",
    ),
    (
        "grouped_twice",
        "SELECT n, COUNT(*), SUM(s) FROM (SELECT k, g, COUNT(*) AS n, SUM(v) AS s FROM t GROUP BY k, g) GROUP BY n",
    ),
    ("distinct_rows", "SELECT DISTINCT k, v FROM u"),
    ("having", "SELECT k, v, COUNT(*) FROM u GROUP BY k, v HAVING COUNT(*) > 1"),
    ("sets", "SELECT k, g, COUNT(*), MAX(v) FROM t GROUP BY CUBE (k, g)"),
    ("by_key", "INSERT INTO by_key SELECT k, COUNT(*), SUM(v) FROM t WHERE k IS NOT NULL GROUP BY k"),
    ("by_value", "INSERT INTO by_value SELECT COALESCE(MAX(v), -1), k, COUNT(*) FROM u WHERE k = 'a' GROUP BY k"),
    (
        "top",
        "SELECT k, id, v, rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v DESC, id) AS rn FROM t) WHERE rn <= 3",
    ),
    (
        "top_updates",
        "SELECT k, id, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v, id) AS rn FROM u) WHERE rn BETWEEN 2 AND 4",
    ),
    (
        "top_counts",
        "SELECT k, n FROM (SELECT *, ROW_NUMBER() OVER (ORDER BY n DESC, k) AS rn FROM (SELECT k, COUNT(*) AS n FROM u GROUP BY k)) WHERE rn <= 2",
    ),
    (
        "last_row",
        "SELECT id, k, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k, g ORDER BY ts DESC) AS rn FROM t) WHERE rn = 1",
    ),
    (
        "first_row",
        "SELECT id, k, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k, g ORDER BY ts) AS rn FROM t) WHERE rn = 1",
    ),
    ("inner_join", "SELECT t.id, u.id, u.v FROM t JOIN u ON t.k = u.k AND t.v = u.v"),
    ("outer_join", "SELECT t.id, u.id, u.v FROM t LEFT JOIN u ON t.id = u.id AND t.v <= u.v"),
    ("full_join", "SELECT t.id, t.k, u.id, u.v FROM (SELECT * FROM t WHERE g = 1) AS t FULL JOIN u ON t.id = u.id"),
    ("semi_join", "SELECT id, k FROM u WHERE v IN (SELECT v FROM t WHERE g = 0)"),
    ("anti_join", "SELECT id, k FROM t WHERE NOT EXISTS (SELECT * FROM u WHERE u.k = t.k AND u.v > t.v)"),
    (
        "interval_join",
        "SELECT t.id, o.id FROM t JOIN o ON t.k = o.k AND o.ts BETWEEN t.ts - INTERVAL '3' SECOND AND t.ts + INTERVAL '4' SECOND",
    ),
    (
        "interval_outer",
        "SELECT t.id, o.id FROM t FULL JOIN o ON t.k = o.k AND t.v < o.v AND o.ts BETWEEN t.ts - INTERVAL '2' SECOND AND t.ts",
    ),
    ("temporal_join", "SELECT t.id, r.rate FROM t LEFT JOIN r FOR SYSTEM_TIME AS OF t.ts ON t.k = r.k"),
    (
        "over_rows",
        "SELECT id, SUM(v) OVER w, COUNT(DISTINCT v) OVER w, MAX(v) OVER w FROM t WINDOW w AS (PARTITION BY k ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)",
    ),
    (
        "over_range",
        "SELECT id, SUM(v) OVER w, MIN(v) OVER w FROM t WINDOW w AS (PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL '6' SECOND PRECEDING AND CURRENT ROW)",
    ),
    ("lag", "SELECT id, LAG(v) OVER (PARTITION BY k ORDER BY ts) FROM t"),
    (
        "tumble",
        "SELECT window_start, k, COUNT(*), SUM(v), LAST_VALUE(v), COUNT(DISTINCT v) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, k",
    ),
    (
        "hop_updates",
        "SELECT window_end, k, COUNT(*), SUM(v), MAX(v) FROM TABLE(HOP(TABLE u, DESCRIPTOR(ts), INTERVAL '4' SECOND, INTERVAL '12' SECOND)) GROUP BY window_start, window_end, k",
    ),
    (
        "cumulate",
        "SELECT window_start, window_end, COUNT(DISTINCT k), SUM(v) FROM TABLE(CUMULATE(TABLE t, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '20' SECOND)) GROUP BY window_start, window_end",
    ),
    (
        "session",
        "SELECT window_start, window_end, k, COUNT(*), SUM(v), MIN(v) FROM TABLE(SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), INTERVAL '4' SECOND)) GROUP BY window_start, window_end, k",
    ),
    (
        "session_rows",
        "SELECT id, window_start, window_end FROM TABLE(SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), INTERVAL '3' SECOND))",
    ),
    (
        "window_top",
        "SELECT window_end, id, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY v DESC, id) AS rn FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND))) WHERE rn <= 2",
    ),
    (
        "window_join",
        "SELECT a.id, b.id FROM (SELECT * FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND))) AS a LEFT JOIN (SELECT * FROM TABLE(TUMBLE(TABLE o, DESCRIPTOR(ts), INTERVAL '10' SECOND))) AS b ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end",
    ),
    (
        "window_of_windows",
        "SELECT window_start, SUM(n), COUNT(*) FROM TABLE(TUMBLE(TABLE (SELECT k, window_time AS wt, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '5' SECOND)) GROUP BY k, window_start, window_end, window_time), DESCRIPTOR(wt), INTERVAL '15' SECOND)) GROUP BY window_start, window_end",
    ),
    (
        "set_operation",
        "(SELECT k, v FROM t INTERSECT SELECT k, v FROM o) UNION ALL (SELECT k, v FROM o EXCEPT SELECT k, v FROM u)",
    ),
    ("all", "SELECT k, v FROM u EXCEPT ALL SELECT k, v FROM o"),
    (
        "pattern",
        "SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY k ORDER BY ts MEASURES FIRST(a.id) AS f, COUNT(b.id) AS n, c.id AS l ONE ROW PER MATCH AFTER MATCH SKIP TO NEXT ROW PATTERN (a b* c) DEFINE b AS b.v > a.v, c AS c.v <= a.v) AS m",
    ),
];

#[test]
fn every_way_to_run_a_job_folds_to_the_same_tables() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("job.slt");
    for (seed, first) in (0..SEEDS).zip((0..QUERY_STRIDE).cycle()) {
        let queries: Vec<Query> = QUERIES.iter().copied().skip(first).step_by(QUERY_STRIDE).collect();
        let mut random = fastrand::Rng::with_seed(seed);
        let input = Input::new(&mut random);
        let run = |way: &Way, random: &mut fastrand::Rng| {
            std::fs::write(&file, script(&queries, way, &input, random)).unwrap();
            tables(&file, way)
        };
        let expected = run(&Way::plain(), &mut random);
        for ((name, query), rows) in queries.iter().zip(&expected) {
            assert!(!rows.is_empty(), "seed {seed}: `{name}` gives no row, so it shows nothing\n{query}");
        }
        for _ in 0..WAYS {
            let way = Way::new(&mut random);
            let found = run(&way, &mut random);
            assert_eq!(found.len(), queries.len());
            for ((name, query), (expected, found)) in queries.iter().zip(expected.iter().zip(&found)) {
                let script = std::fs::read_to_string(&file).unwrap();
                assert_eq!(found, expected, "seed {seed}, {way:?}: `{name}`\n{query}\nthe file:\n{script}");
            }
        }
    }
}

/// How a job runs.
#[derive(Debug)]
struct Way {
    workers: usize,
    mini_batch: bool,
    /// Rows of a step at most; 0 = a table's rows are one step.
    step: usize,
    /// Of a hundred steps how many have a restart behind them.
    restarts: u32,
}

impl Way {
    fn plain() -> Way {
        Way { workers: 1, mini_batch: false, step: 0, restarts: 0 }
    }

    fn new(random: &mut fastrand::Rng) -> Way {
        Way {
            workers: random.usize(1..=3),
            mini_batch: random.bool(),
            step: *random.choice(&[3, 10, 40]).unwrap(),
            restarts: *random.choice(&[0, 5, 15]).unwrap(),
        }
    }
}

/// Rows by table, in order.
struct Input(Vec<(&'static str, Vec<String>)>);

impl Input {
    fn new(random: &mut fastrand::Rng) -> Input {
        let mut input = Vec::new();
        for table in ["t", "o"] {
            let mut clock = 0;
            let rows = (0..ROWS).map(|id| {
                clock += random.i64(0..4);
                let (key, group, value) = (key(random), random.u8(0..3), value(random));
                let ts = time(clock - random.i64(0..5));
                let group = if table == "t" { format!(",\"g\":{group}") } else { String::new() };
                format!("{{\"id\":{id},\"k\":{key}{group},\"v\":{value},\"ts\":\"{ts}\"}}")
            });
            input.push((table, rows.collect()));
        }
        input.push(("u", changes(random)));
        let mut clock = -5;
        let versions = (0..ROWS / 3).map(|_| {
            clock += random.i64(0..10);
            let (key, rate) = (random.choice(["a", "b"]).unwrap(), random.u8(0..100));
            format!("{{\"k\":\"{key}\",\"rate\":{rate},\"ts\":\"{}\"}}", time(clock - random.i64(0..5)))
        });
        input.push(("r", versions.collect()));
        Input(input)
    }
}

/// A changelog whose retractions take back what is there, and in time: a row keeps the time it came with, and goes before its windows do.
fn changes(random: &mut fastrand::Rng) -> Vec<String> {
    let (mut rows, mut clock) = (Vec::new(), 0);
    let mut live: Vec<(usize, String, i64)> = Vec::new();
    for id in 0..ROWS {
        clock += random.i64(0..3);
        live.retain(|(_, _, at)| clock - at < 4);
        let at = clock - random.i64(0..4);
        let row = |id: usize, key: &str, value: &str, at: i64| {
            format!("{{\"id\":{id},\"k\":{key},\"v\":{value},\"ts\":\"{}\"}}", time(at))
        };
        let pick = (!live.is_empty()).then(|| random.usize(0..live.len()));
        match (random.u8(0..4), pick) {
            (0, Some(pick)) => {
                let (_, old, _) = live.swap_remove(pick);
                rows.push(format!("-D {old}"));
            }
            (1, Some(pick)) => {
                let (id, old, at) = &mut live[pick];
                let new = row(*id, &key(random), &value(random), *at);
                rows.push(format!("-U {old}"));
                rows.push(format!("+U {new}"));
                *old = new;
            }
            _ => {
                let new = row(id, &key(random), &value(random), at);
                rows.push(format!("+I {new}"));
                live.push((id, new, at));
            }
        }
    }
    rows
}

fn key(random: &mut fastrand::Rng) -> String {
    random.choice(["\"a\"", "\"b\"", "\"c\"", "null"]).unwrap().to_owned()
}

fn value(random: &mut fastrand::Rng) -> String {
    if random.u8(0..12) == 0 { "null".to_owned() } else { random.u8(0..8).to_string() }
}

fn time(second: i64) -> String {
    let second = second + 100;
    format!("2024-01-01 00:{:02}:{:02}.000", second / 60, second % 60)
}

/// The folded table of every query of a file.
fn tables(file: &Path, way: &Way) -> Vec<Vec<String>> {
    let options = RunOptions { workers: way.workers, ..RunOptions::default() };
    let Outputs { found, failures, .. } = outputs_of_file(file, &options);
    assert!(failures.is_empty(), "{way:?}: {failures:?}");
    found.into_iter().map(|(_, rows)| rows).collect()
}

/// The data file: the tables, the settings, the jobs, the input in steps, what is looked at in the end.
fn script(queries: &[Query], way: &Way, input: &Input, random: &mut fastrand::Rng) -> String {
    let mut text = format!("# description: generated\n\nstatement ok{TABLES}\n");
    if way.mini_batch {
        text.push_str(
            "statement ok\nSET 'table.exec.mini-batch.enabled' = 'true';\nSET 'table.exec.mini-batch.allow-latency' = '2 s';\n\
             SET 'table.exec.mini-batch.size' = '7'\n\n",
        );
    }
    for (name, query) in queries {
        text += &format!("job {name}\n{query}\n\n");
    }
    let mut left: Vec<(&str, &[String])> = input.0.iter().map(|(table, rows)| (*table, rows.as_slice())).collect();
    while !left.is_empty() {
        let pick = if way.step == 0 { 0 } else { random.usize(0..left.len()) };
        let (table, rows) = &mut left[pick];
        let step = if way.step == 0 { rows.len() } else { random.usize(1..=way.step).min(rows.len()) };
        let (now, later) = rows.split_at(step);
        text += &format!("input {table}\n{}\n\n", now.join("\n"));
        *rows = later;
        if later.is_empty() {
            left.swap_remove(pick);
        }
        if random.u32(0..100) < way.restarts {
            text.push_str("restore\n\n");
        }
        if way.mini_batch && random.bool() {
            text.push_str("advance 1 s\n\n");
        }
    }
    text.push_str("end\n\n");
    for (name, _) in queries {
        text += &format!("table {name}\n----\n\n");
    }
    text
}
