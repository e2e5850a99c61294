//! The counters of a run add up: of each source, along each edge of the plan, of each sink, and what came too late is counted where it was
//! dropped. Read from what the program says at its end, with every source and sink that needs no server.

use std::collections::BTreeMap;

use super::program::{Output, Place};

/// The numbers in a text, in their order.
fn numbers(text: &str) -> Vec<u64> {
    text.split(|c: char| !c.is_ascii_digit())
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().unwrap())
        .collect()
}

/// What a run said of its counters.
#[derive(Debug, Default)]
struct Counters {
    /// By table: fetched, records, skipped, refused.
    sources: BTreeMap<String, [u64; 4]>,
    /// By table: received, delivered, folded, refused.
    sinks: BTreeMap<String, [u64; 4]>,
    late: u64,
}

/// Reads the lines and checks that they add up.
fn counters(run: &Output) -> Counters {
    let mut found = Counters::default();
    // By job: rows in, where from, rows out.
    let mut nodes: BTreeMap<(String, u64), (u64, Vec<u64>, u64)> = BTreeMap::new();
    for line in run.stderr.lines() {
        let Some((head, counted)) = line.rsplit_once("`: ") else { continue };
        let name = |what: &str| head.rsplit_once(what).map(|(_, name)| name.to_owned());
        if counted.contains(" fetched = ") {
            let rest = counted.replace('(', " ");
            let n = numbers(&rest);
            let [fetched, records, skipped, refused] = match n.as_slice() {
                [fetched, records, _, skipped, refused] | [fetched, records, skipped, refused] => {
                    [*fetched, *records, *skipped, *refused]
                }
                _ => panic!("{line}"),
            };
            assert_eq!(fetched, records + skipped + refused, "{line}");
            found.sources.insert(name("source `").unwrap(), [fetched, records, skipped, refused]);
        } else if counted.contains(" received = ") {
            let n = numbers(counted);
            assert_eq!(n[0], n[1] + n[2] + n[3], "{line}");
            found.sinks.insert(name("sink `").unwrap(), [n[0], n[1], n[2], n[3]]);
        } else if let Some((job, node)) = head.rsplit_once(": node ")
            && counted.contains(" in")
        {
            let id = numbers(node)[0];
            let (taken, rest) = counted.split_once(" in").unwrap();
            let (from, given) = rest.split_once(", ").unwrap();
            let given = numbers(given);
            found.late += given.get(1).copied().unwrap_or(0);
            nodes.insert((job.to_owned(), id), (numbers(taken)[0], numbers(from), given[0]));
        }
    }
    assert!(!nodes.is_empty(), "{run:?}");
    for ((job, id), (taken, from, _)) in &nodes {
        if !from.is_empty() {
            let given: u64 = from.iter().map(|input| nodes[&(job.clone(), *input)].2).sum();
            assert_eq!(*taken, given, "what comes to node {id} of {job}: {}", run.stderr);
        }
    }
    found
}

fn run(place: &Place, sql: &str) -> Counters {
    place.write("job.sql", sql);
    let run = place.wiesel(&["run", "job.sql", "--fresh", "--log-level", "debug"]);
    assert_eq!(run.code, Some(0), "{sql}\n{}", run.stderr);
    counters(&run)
}

/// 300 lines, every thirtieth broken.
fn lines(good: impl Fn(u32) -> String, bad: &str) -> String {
    (0..300).map(|n| if n % 30 == 7 { format!("{bad}\n") } else { good(n) + "\n" }).collect()
}

#[test]
fn what_is_fetched_is_rows_and_skipped_and_refused_and_what_a_sink_takes_it_delivers() {
    let place = Place::new();
    place.write("json/rows", &lines(|n| format!("{{\"a\":{n},\"b\":\"b{n}\"}}"), "{\"a\":"));
    place.write("csv/rows", &lines(|n| format!("{n},b{n}"), "x,y,z"));
    let update = |n: u32| {
        format!("{{\"before\":{{\"a\":{n},\"b\":\"old\"}},\"after\":{{\"a\":{n},\"b\":\"new\"}},\"op\":\"u\"}}")
    };
    place.write("changes/rows", &(0..50).map(|n| update(n) + "\n").collect::<String>());
    let files = |path: &str, format: &str| {
        format!("'connector' = 'filesystem', 'path' = '{}', 'format' = '{format}'", place.path(path).display())
    };
    let datagen = "'connector' = 'datagen', 'number-of-rows' = '500', 'fields.a.kind' = 'sequence', 'fields.a.start' = '1', \
                   'fields.a.end' = '500'";
    let ignored = |format: &str| format!("{}, '{format}.ignore-parse-errors' = 'true'", files(format, format));
    // The source's options; fetched, records, skipped; the rows that it gives.
    let sources: [(String, [u64; 3], u64); 4] = [
        (datagen.to_owned(), [500, 500, 0], 500),
        (ignored("json"), [300, 290, 10], 290),
        (ignored("csv"), [300, 290, 10], 290),
        (files("changes", "debezium-json"), [50, 50, 0], 100),
    ];
    let sinks = [
        "'connector' = 'blackhole'".to_owned(),
        "'connector' = 'print'".to_owned(),
        files("out-json", "json"),
        files("out-parquet", "parquet"),
    ];
    for workers in [1, 2] {
        for (source, [fetched, records, skipped], rows) in &sources {
            for sink in &sinks {
                // Files take no changes.
                if *rows == 100 && sink.contains("filesystem") {
                    continue;
                }
                let counted = run(
                    &place,
                    &format!(
                        "SET 'parallelism.default' = '{workers}';\nCREATE TABLE src (a INT, b STRING) WITH ({source});\n\
                         CREATE TABLE dst (a INT, b STRING) WITH ({sink});\nINSERT INTO dst SELECT a, UPPER(b) FROM src;\n"
                    ),
                );
                assert_eq!(counted.sources["src"], [*fetched, *records, *skipped, 0], "{source}");
                assert_eq!(counted.sinks["dst"], [*rows, *rows, 0, 0], "{source} {sink}");
            }
        }
    }
    // What the Parquet sink wrote, as columns that need no decoding.
    let counted = run(
        &place,
        &format!(
            "CREATE TABLE src (a INT, b STRING) WITH ({});\nCREATE TABLE dst (a INT, b STRING) WITH ('connector' = 'blackhole');\n\
             INSERT INTO dst SELECT a, b FROM src WHERE a < 100;\n",
            files("out-parquet", "parquet")
        ),
    );
    let rows = 2 * (500 + 290 + 290);
    assert_eq!(counted.sources["src"], [rows, rows, 0, 0]);
}

#[test]
fn refused_late_and_dropped_rows_are_counted_where_they_were() {
    let place = Place::new();
    place.write("json/rows", &lines(|n| format!("{{\"a\":{n},\"b\":\"b{n}\"}}"), "{\"a\":"));
    let json = format!("'connector' = 'filesystem', 'path' = '{}', 'format' = 'json'", place.path("json").display());
    let letters =
        format!("'connector' = 'filesystem', 'path' = '{}', 'format' = 'json'", place.path("letters").display());
    let counted = run(
        &place,
        &format!(
            "SET 'wiesel.on-refused' = 'dead-letter';\nSET 'wiesel.dead-letter.table' = 'letters';\n\
             SET 'table.exec.sink.not-null-enforcer' = 'DROP';\n\
             CREATE TABLE src (a INT, b STRING) WITH ({json});\n\
             CREATE TABLE letters (`at` TIMESTAMP(3), table_name STRING, topic STRING, `partition` INT, `offset` BIGINT, `raw` BYTES, \
             reason STRING) WITH ({letters});\n\
             CREATE TABLE dst (a INT NOT NULL, n BIGINT) WITH ('connector' = 'blackhole');\n\
             INSERT INTO dst SELECT CASE WHEN MOD(a, 3) = 0 THEN CAST(NULL AS INT) ELSE MOD(a, 3) END, COUNT(*) FROM src \
             GROUP BY CASE WHEN MOD(a, 3) = 0 THEN CAST(NULL AS INT) ELSE MOD(a, 3) END;\n"
        ),
    );
    assert_eq!(counted.sources["src"], [300, 290, 0, 10]);
    assert_eq!(counted.sinks["letters"], [10, 10, 0, 0]);

    let second = |n: u32| format!("{{\"a\":{n},\"t\":\"2024-01-01 00:{:02}:{:02}\"}}", n / 60, n % 60);
    let mut rows: Vec<String> = (0..300).map(second).collect();
    rows.push(second(1));
    rows.push(second(2));
    rows.push(second(299));
    place.write("times/rows", &rows.join("\n"));
    let counted = run(
        &place,
        &format!(
            "SET 'pipeline.auto-watermark-interval' = '0';\n\
             CREATE TABLE src (a INT, t TIMESTAMP(3), WATERMARK FOR t AS t - INTERVAL '5' SECOND) WITH ('connector' = 'filesystem', \
             'path' = '{}', 'format' = 'json');\n\
             CREATE TABLE dst (t TIMESTAMP(3), n BIGINT) WITH ('connector' = 'blackhole');\n\
             INSERT INTO dst SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(t), INTERVAL '10' SECOND)) \
             GROUP BY window_start, window_end;\n",
            place.path("times").display()
        ),
    );
    assert_eq!(counted.sources["src"], [303, 303, 0, 0]);
    assert_eq!((counted.late, counted.sinks["dst"]), (2, [30, 30, 0, 0]));
}

#[test]
fn what_nodes_give_the_next_ones_take_through_joins_and_unions_and_two_workers() {
    let place = Place::new();
    for workers in [1, 3] {
        let counted = run(
            &place,
            &format!(
                "SET 'parallelism.default' = '{workers}';\n\
                 CREATE TABLE a (id INT, v INT) WITH ('connector' = 'datagen', 'number-of-rows' = '400', 'fields.id.kind' = 'sequence', \
                 'fields.id.start' = '1', 'fields.id.end' = '400', 'fields.v.min' = '0', 'fields.v.max' = '9');\n\
                 CREATE TABLE dst (id INT, n BIGINT) WITH ('connector' = 'print');\n\
                 CREATE TABLE all_of (id INT) WITH ('connector' = 'blackhole');\n\
                 EXECUTE STATEMENT SET BEGIN\n\
                 INSERT INTO dst SELECT MOD(x.id, 5), COUNT(*) FROM a x JOIN a y ON x.id = y.id + 1 GROUP BY MOD(x.id, 5);\n\
                 INSERT INTO all_of SELECT id FROM a UNION ALL SELECT v FROM (VALUES (1), (2)) AS t (v);\nEND;\n"
            ),
        );
        assert_eq!(counted.sinks["all_of"][0], 402);
        // The first of each of five groups is an insert, the others are two changes.
        assert_eq!(counted.sinks["dst"][0], 399 * 2 - 5);
    }
}
