//! Checkpoints, sinks, sources and savepoints in an object store that refuses requests, loses answers, and outlives every process.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

use crate::e2e::context::Context;
use crate::services::objects::BUCKET;
use crate::services::python;

/// The steps at which the process dies, one after another.
const STEPS: [&str; 9] = [
    "ckpt.begin:2",
    "state.fsync:1",
    "sink.prepare:3",
    "manifest.write:2",
    "dir.fsync:1",
    "sink.commit:1",
    "commit.recorded:1",
    "ckpt.gc:1",
    "restore.recommit:1",
];
/// Every so many-th request is refused, and the answer to every so many-th write lost.
const FAULTS: (usize, usize) = (7, 5);

pub(crate) fn kafka_to_parquet_survives_kills_and_faults(context: &Context) -> Result<()> {
    const ROWS_PER_RUN: usize = 300;
    let kafka = context.kafka()?;
    let topic = context.unique("lake_rows");
    kafka.create_topic(&topic, 2)?;
    let place = context.unique("files");
    let (settings, state, out) = {
        let objects = context.services().objects()?;
        objects.set_faults(FAULTS.0, FAULTS.1)?;
        (objects.settings(), format!("s3://{BUCKET}/{place}/state"), format!("s3://{BUCKET}/{place}/out"))
    };
    let job = |bounded: &str| {
        format!(
            "{settings}SET 'state.checkpoints.dir' = '{state}';\nSET 'execution.checkpointing.interval' = '300 ms';\n\
             SET 'pipeline.name' = 'lake';\n\
             CREATE TABLE numbers (id BIGINT, part INT) WITH ('connector' = 'kafka', 'topic' = '{topic}', \
             'properties.bootstrap.servers' = '{}', 'scan.startup.mode' = 'earliest-offset', {bounded} 'format' = 'json');\n\
             CREATE TABLE files (id BIGINT, part INT, total BIGINT) PARTITIONED BY (part) WITH ('connector' = 'filesystem', \
             'path' = '{out}', 'format' = 'parquet', 'sink.partition-commit.policy.kind' = 'success-file');\n\
             INSERT INTO files SELECT id, part, COUNT(*) OVER (PARTITION BY part ORDER BY p) FROM \
             (SELECT *, PROCTIME() AS p FROM numbers);\n",
            context.services().kafka().map(|kafka| kafka.plaintext()).unwrap_or_default()
        )
    };
    let endless = context.write("job.sql", &job(""))?;
    let bounded = context.write("last.sql", &job("'scan.bounded.mode' = 'latest-offset',"))?;
    let mut produced = 0;
    let mut produce = || -> Result<()> {
        let rows = (produced..produced + ROWS_PER_RUN).map(|id| format!(r#"{{"id":{id},"part":{}}}"#, id % 3));
        produced += ROWS_PER_RUN;
        kafka.produce(&topic, rows).map(drop)
    };
    for step in STEPS {
        produce()?;
        let program = context.spawn_with(["run", &endless], &[("WIESEL_FAIL_POINT", step.to_owned())])?;
        // A step of the restore is only reached when there is work to commit again.
        let limit_s = if step.starts_with("restore") { 10 } else { 60 };
        match program.wait_until(limit_s, "the death", |program| program.try_wait().is_ok_and(|end| end.is_some())) {
            Ok(()) => context.note(format!("died at {step}")),
            Err(_) if step.starts_with("restore") => program.kill()?,
            Err(error) => return Err(error.context(step)),
        }
        check(context, &place, "out", None)?;
    }
    produce()?;
    let ended = context.run(["run", &bounded], 120)?.expect_code(0)?;
    ensure!(!ended.stderr.contains("canary-object-secret"), "the secret was said");
    let objects = context.services().objects()?;
    let (refused, lost) = objects.set_faults(0, 0)?;
    context.note(format!("{refused} requests refused, {lost} answers lost"));
    ensure!(refused > 10 && lost > 10, "only {refused} requests were refused and {lost} answers lost");
    drop(objects);
    check(context, &place, "all", Some(produced))
}

/// Every id at most once; with a count all of them, each partition with its mark, and nothing left over.
fn check(context: &Context, place: &str, name: &str, count: Option<usize>) -> Result<()> {
    let objects = context.services().objects()?;
    let folder = context.folder().join(format!("{name}-{}", fastrand::u32(..)));
    objects.download(&format!("{place}/out"), &folder)?;
    let mut ids: BTreeMap<i64, usize> = BTreeMap::new();
    if folder.exists() {
        for row in python::parquet_rows(&folder, "pyarrow")? {
            *ids.entry(row["id"].as_i64().context("an id")?).or_default() += 1;
        }
    }
    ensure!(ids.values().all(|times| *times == 1), "some rows are there twice");
    let Some(count) = count else { return Ok(()) };
    let all = (0..i64::try_from(count)?).all(|id| ids.contains_key(&id));
    ensure!(all && ids.len() == count, "{} of {count} rows are there", ids.len());
    let keys = objects.keys(&format!("{place}/"))?;
    for part in 0..3 {
        let mark = format!("{place}/out/part={part}/_SUCCESS");
        ensure!(keys.contains(&mark), "`{mark}` is missing");
    }
    let tails: Vec<&String> = keys.iter().filter(|key| key.ends_with(".tail")).collect();
    ensure!(tails.is_empty(), "tails are left: {tails:?}");
    let manifests = keys.iter().filter(|key| key.contains("/manifest-") && !key.contains("-copy")).count();
    ensure!(manifests <= 9, "more than three checkpoints are kept: {keys:?}");
    let uploads = objects.uploads(&format!("{place}/"))?;
    ensure!(uploads.is_empty(), "{} uploads are left", uploads.len());
    Ok(())
}

pub(crate) fn sources_and_savepoints_lie_there_too(context: &Context) -> Result<()> {
    let place = context.unique("source");
    let (settings, root) = {
        let objects = context.services().objects()?;
        // Another case that failed may have left some.
        objects.set_faults(0, 0)?;
        for (name, ids) in [("a.json", 0..50), ("deep/b.json", 50..80), ("_hidden.json", 900..901)] {
            let text: String = ids.map(|id| format!("{{\"id\":{id}}}\n")).collect();
            objects.put(&format!("{place}/in/{name}"), text.as_bytes())?;
        }
        (objects.settings(), format!("s3://{BUCKET}/{place}"))
    };
    let table = |monitor: &str| {
        format!(
            "{settings}CREATE TABLE numbers (id BIGINT) WITH ('connector' = 'filesystem', 'path' = '{root}/in', {monitor} \
             'format' = 'json');\n"
        )
    };
    let count =
        context.write("count.sql", &format!("{}SELECT COUNT(*) AS n, SUM(id) AS s FROM numbers;\n", table("")))?;
    context.run(["run", &count], 60)?.expect_code(0)?.expect_stdout("3160")?;
    let job = format!(
        "{}SET 'state.checkpoints.dir' = '{root}/state';\nSET 'state.savepoints.dir' = '{root}/savepoints';\n\
         SET 'execution.checkpointing.interval' = '300 ms';\n\
         CREATE TABLE totals (k BIGINT, n BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'print');\n\
         INSERT INTO totals SELECT MOD(id, 2), COUNT(*) FROM numbers GROUP BY MOD(id, 2);\n",
        table("'source.monitor-interval' = '200 ms',")
    );
    let job = context.write("totals.sql", &job)?;
    let first = context.spawn(["run", &job])?;
    first.wait_until(60, "both totals", |program| program.stdout().matches("40]").count() >= 2)?;
    let savepoint = context.run(["savepoint", &first.pid().to_string()], 60)?.expect_code(0)?;
    let savepoint = savepoint.stdout.trim().to_owned();
    ensure!(savepoint.starts_with(&format!("{root}/savepoints/savepoint-")), "the savepoint is `{savepoint}`");
    first.kill()?;
    context.services().objects()?.put(&format!("{place}/in/c.json"), b"{\"id\":80}\n{\"id\":82}\n")?;
    let second = context.spawn(["run", &job, "--from-savepoint", &savepoint])?;
    second.wait_until(60, "the new rows alone", |program| program.stdout().contains("+U[0, 42]"))?;
    ensure!(!second.stdout().contains("+I["), "the groups began anew: {}", second.stdout());
    second.kill()?;
    Ok(())
}
