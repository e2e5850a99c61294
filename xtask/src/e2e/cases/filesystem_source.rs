//! The filesystem source: what one job writes another reads, through every format, also when it is killed in between.

use anyhow::{Result, ensure};

use crate::e2e::context::Context;

const ROWS: usize = 20_000;

/// Columns that all formats carry.
const COLUMNS: &str = "id BIGINT, name STRING, price DECIMAL(10, 2), ts TIMESTAMP(3), part STRING";

pub(crate) fn what_one_job_writes_another_reads(context: &Context) -> Result<()> {
    for format in ["json", "csv", "parquet"] {
        let path = context.folder().join(format!("files-{format}"));
        let files = format!("WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = '{format}')", path.display());
        let job = format!(
            "CREATE TABLE numbers (id BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '{ROWS}', \
             'rows-per-second' = '1000000', 'fields.id.kind' = 'sequence', 'fields.id.start' = '1', \
             'fields.id.end' = '{ROWS}');\n\
             CREATE TABLE files ({COLUMNS}) PARTITIONED BY (part) {files};\n\
             INSERT INTO files SELECT id, CONCAT('say \"', CAST(id AS STRING), '\", or not'), \
             CAST(id AS DECIMAL(10, 2)) / 4, TIMESTAMP '2024-01-01 00:00:00', CAST(MOD(id, 3) AS STRING) FROM numbers;\n"
        );
        let write = context.write(&format!("write-{format}.sql"), &job)?;
        context.run(["run", &write, "--fresh"], 120)?.expect_code(0)?;
        let job = format!(
            "SET 'table.exec.mini-batch.enabled' = 'true';\nSET 'table.exec.mini-batch.allow-latency' = '1 h';\n\
             SET 'table.exec.mini-batch.size' = '1000000';\n\
             CREATE TABLE files ({COLUMNS}) PARTITIONED BY (part) {files};\n\
             CREATE TABLE shown (part STRING, c BIGINT, s BIGINT, p DECIMAL(38, 2), l INT) WITH ('connector' = 'print');\n\
             INSERT INTO shown SELECT part, COUNT(*), SUM(id), SUM(price), SUM(CHAR_LENGTH(name)) FROM files GROUP BY part;\n"
        );
        let read = context.write(&format!("read-{format}.sql"), &job)?;
        let run = context.run(["run", &read, "--fresh"], 120)?.expect_code(0)?;
        let mut found: Vec<&str> = run.stdout.lines().collect();
        found.sort_unstable();
        let expected: Vec<String> = (0..3).map(sums).collect();
        ensure!(found == expected, "{format}: expected {expected:?}, found {found:?}");
    }
    Ok(())
}

/// The sums of the rows whose id leaves this rest when it is divided by 3.
fn sums(rest: usize) -> String {
    let ids = || (1..=ROWS).filter(|id| id % 3 == rest);
    let cents: usize = ids().map(|id| id * 25).sum();
    let length: usize = ids().map(|id| format!("say \"{id}\", or not").len()).sum();
    let (count, sum) = (ids().count(), ids().sum::<usize>());
    format!("+I[{rest}, {count}, {sum}, {}.{:02}, {length}]", cents / 100, cents % 100)
}

pub(crate) fn a_bad_line_ends_the_job_with_its_place(context: &Context) -> Result<()> {
    let path = context.write("in.json", "{\"v\":1}\n{\"v\":2}\n{\"v\":\"x\"}\n")?;
    let job = format!(
        "CREATE TABLE files (v INT) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'json');\n\
         SELECT v FROM files;\n"
    );
    let job = context.write("job.sql", &job)?;
    let run = context.run(["run", &job, "--fresh"], 60)?;
    ensure!(run.code != Some(0), "a bad line must end the job");
    ensure!(run.stderr.contains("in.json`, line 3"), "found: {}", run.stderr);
    Ok(())
}
