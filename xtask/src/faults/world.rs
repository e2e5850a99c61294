//! One job under faults, and what must hold of it whatever happens.
//!
//! Every row of the topic carries a key, and all rows of a key lie in one partition, so the running sum of a key is the same in whatever
//! order partitions are read: `(partition, offset, key, value, running sum)` is the one right row for each message. A row that comes
//! twice shows as a duplicate, a row that is lost is missing, and state that was lost, doubled or mixed up shows in the sum.
//!
//! The oracle shares no code with wiesel: the topic is dumped into PostgreSQL, and a window function there says what must be in the
//! sinks. *Safety* (nothing wrong is ever visible) is asked at any time: what a sink shows is a part of what must be there in the end.
//! *Wholeness* is asked when the job has ended.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::totals::{self, count_death, count_sink};
use crate::e2e::context::Context;
use crate::e2e::program::Program;
use crate::e2e::program::newest_manifest;
use crate::services::elasticsearch::Line;
use crate::services::objects::BUCKET;
use crate::services::{postgres, python};

/// Different keys of the rows.
const KEYS: u64 = 40;
/// Partitions of the topic.
const PARTITIONS: i32 = 4;
/// Most rows of one world: Elasticsearch gives back so many in one answer.
const ROWS_MAX: usize = 9_000;
/// Rows that are produced between two looks at a program that is to die.
const ROWS_PER_LOOK: usize = 40;
/// A checkpoint must come back within so many seconds of a start. The promise is 3 s at the 99th percentile on a quiet machine
/// (measured by the bench); tests share their machine.
const BACK_LIMIT_S: u64 = 60;
/// Rows that are there before a fault, and that come after it.
const ROWS_BEFORE: usize = 200;
/// A stop in good order is done within 10 s, and the process ends a little later.
const STOP_LIMIT_S: u64 = 20;
/// Longest wait for the last, bounded run.
const FINISH_LIMIT_S: u64 = 120;
/// Longest wait until committed readers see a topic to its end: below the time after which a broker gives up an open transaction.
const VISIBLE_LIMIT_S: u64 = 40;
/// Rows of one INSERT into the oracle.
const ROWS_PER_INSERT: usize = 1_000;

/// Where a job writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sink {
    /// Parquet files.
    Files,
    /// A topic, written in transactions.
    Kafka,
    /// A table without a key, written once per epoch.
    Postgres,
    /// A table with a key, at its default delivery.
    PostgresByKey,
    /// An index, versioned.
    Elasticsearch,
    /// An index at its default delivery.
    ElasticsearchByKey,
    /// Parquet files in an object store; the job's state lies there too.
    Objects,
}

impl Sink {
    /// What the page of results calls it.
    fn word(self) -> &'static str {
        match self {
            Sink::Files => "files",
            Sink::Kafka => "Kafka, exactly-once",
            Sink::Postgres => "PostgreSQL, exactly-once",
            Sink::PostgresByKey => "PostgreSQL, by key",
            Sink::Elasticsearch => "Elasticsearch, versioned",
            Sink::ElasticsearchByKey => "Elasticsearch, by key",
            Sink::Objects => "files in an object store",
        }
    }
}

/// Tells the worlds of a run apart: a case may have several, on the same servers and in the same folder.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// A sink and its place.
struct Target {
    sink: Sink,
    /// Topic, table, index or folder, free of other cases.
    place: String,
}

/// A row as every sink must show it.
type Row = (i64, i64, String, i64, i64);

/// What a comparison asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// What is there is right, and there once.
    NothingWrong,
    /// The same, and everything is there.
    All,
    /// What `All` asks for, while rows may still come.
    AllSoon,
}

/// Where the job finds its systems; a case may put a proxy in between.
pub(crate) struct Addresses {
    pub(crate) kafka: String,
    pub(crate) postgres: String,
    pub(crate) elasticsearch: String,
}

/// One job, its topic, its sinks.
pub(crate) struct World<'a> {
    context: &'a Context,
    /// Free of other worlds: the topic, the job's name and its folder of state are called so.
    topic: String,
    targets: Vec<Target>,
    file: String,
    addresses: Addresses,
    produced: usize,
    random: fastrand::Rng,
    is_one_loop: bool,
    running: Option<Arc<Program>>,
    environment: Vec<(&'static str, String)>,
    /// Offsets below which rows are no longer asked for, by partition.
    forgotten: Vec<(i32, i64)>,
}

impl<'a> World<'a> {
    /// A topic and a job that writes to all of `sinks`: as one loop (a statement set) or one loop each.
    pub(crate) fn new(context: &'a Context, sinks: &[Sink], is_one_loop: bool, seed: u64) -> Result<World<'a>> {
        World::with_source(context, sinks, is_one_loop, seed, "")
    }

    /// The same with options of the source, each with a comma before it.
    pub(crate) fn with_source(
        context: &'a Context,
        sinks: &[Sink],
        is_one_loop: bool,
        seed: u64,
        options: &str,
    ) -> Result<World<'a>> {
        let has = |wanted: [Sink; 2]| sinks.iter().any(|sink| wanted.contains(sink));
        let services = context.services();
        let addresses = Addresses {
            kafka: services.kafka()?.plaintext(),
            postgres: services.postgres()?.address(),
            elasticsearch: if has([Sink::Elasticsearch, Sink::ElasticsearchByKey]) {
                services.elasticsearch(Line::Seven)?.url().trim_start_matches("http://").to_owned()
            } else {
                String::new()
            },
        };
        let number = NUMBER.fetch_add(1, Relaxed);
        let topic = context.unique(&format!("fault{number}"));
        context.kafka()?.create_topic(&topic, PARTITIONS)?;
        let mut targets = Vec::new();
        for (index, sink) in sinks.iter().enumerate() {
            let place = context.unique(&format!("fault{number}_out{index}"));
            match sink {
                Sink::Kafka => context.kafka()?.create_topic(&place, PARTITIONS)?,
                Sink::Postgres | Sink::PostgresByKey => {
                    let key = if *sink == Sink::PostgresByKey { ", PRIMARY KEY (part, off)" } else { "" };
                    context.postgres()?.execute(&format!(
                        "CREATE TABLE {place} (part INT, off BIGINT, k TEXT, v BIGINT, total BIGINT{key})"
                    ))?;
                }
                Sink::Files | Sink::Elasticsearch | Sink::ElasticsearchByKey | Sink::Objects => {}
            }
            targets.push(Target { sink: *sink, place });
        }
        let mut world = World {
            context,
            topic,
            targets,
            file: String::new(),
            addresses,
            produced: 0,
            random: fastrand::Rng::with_seed(seed),
            is_one_loop,
            running: None,
            environment: Vec::new(),
            forgotten: Vec::new(),
        };
        let text = world.sql(options)?;
        world.file = context.write(&format!("{}.sql", world.topic), &text)?;
        context.note(format!("seed {seed}"));
        Ok(world)
    }

    /// Numbers drawn from the seed.
    pub(crate) fn random(&mut self) -> &mut fastrand::Rng {
        &mut self.random
    }

    /// How many rows the topic holds.
    pub(crate) fn produced(&self) -> usize {
        self.produced
    }

    /// Where the job finds its systems, from its next start on.
    pub(crate) fn addresses(&mut self) -> &mut Addresses {
        &mut self.addresses
    }

    /// Room for more rows: one answer of Elasticsearch must hold them all.
    pub(crate) fn has_room_for(&self, count: usize) -> bool {
        self.produced + count <= ROWS_MAX
    }

    /// The topic that the job reads.
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// Topic, table, index or folder name of the first sink.
    pub(crate) fn place(&self) -> &str {
        &self.targets[0].place
    }

    fn sql(&self, options: &str) -> Result<String> {
        let settings = match self.is_in_store() {
            true => self.context.services().objects()?.settings(),
            false => String::new(),
        };
        let mut text = format!(
            "{settings}SET 'pipeline.name' = '{}';\n\
             SET 'execution.checkpointing.interval' = '100 ms';\n\
             SET 'parallelism.default' = '2';\n\
             CREATE TABLE src (k STRING, v BIGINT, part INT METADATA FROM 'partition' VIRTUAL, off BIGINT METADATA FROM 'offset' VIRTUAL,\n  \
             pt AS PROCTIME()) WITH ('connector' = 'kafka', 'topic' = '{}', 'properties.bootstrap.servers' = 'kafka:9092',\n  \
             'properties.group.id' = '{}', 'scan.startup.mode' = 'earliest-offset', 'format' = 'json'{options});\n",
            self.topic, self.topic, self.topic
        );
        for (index, target) in self.targets.iter().enumerate() {
            let Target { sink, place } = target;
            let key = match sink {
                Sink::PostgresByKey | Sink::Elasticsearch | Sink::ElasticsearchByKey => {
                    ", PRIMARY KEY (part, off) NOT ENFORCED"
                }
                Sink::Files | Sink::Objects | Sink::Kafka | Sink::Postgres => "",
            };
            match sink {
                Sink::Postgres => writeln!(text, "SET 'wiesel.sink.out{index}.delivery' = 'exactly-once';")?,
                Sink::Elasticsearch => writeln!(text, "SET 'wiesel.sink.out{index}.versioned' = 'true';")?,
                _ => {}
            }
            let options = match sink {
                Sink::Files => {
                    format!(
                        "'connector' = 'filesystem', 'path' = '{}', 'format' = 'parquet'",
                        self.files(place).display()
                    )
                }
                Sink::Objects => {
                    format!("'connector' = 'filesystem', 'path' = 's3://{BUCKET}/{place}/out', 'format' = 'parquet'")
                }
                Sink::Kafka => format!(
                    "'connector' = 'kafka', 'topic' = '{place}', 'properties.bootstrap.servers' = 'kafka:9092', 'format' = 'json', \
                     'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = '{place}'"
                ),
                Sink::Postgres | Sink::PostgresByKey => format!(
                    "'connector' = 'jdbc', 'url' = 'jdbc:postgresql://postgres:5432/{}', 'table-name' = '{place}', 'username' = '{}', \
                     'password' = '{}'",
                    postgres::DATABASE,
                    postgres::USER,
                    postgres::PASSWORD
                ),
                Sink::Elasticsearch | Sink::ElasticsearchByKey => {
                    format!(
                        "'connector' = 'elasticsearch-7', 'hosts' = 'http://elasticsearch:9200', 'index' = '{place}'"
                    )
                }
            };
            writeln!(
                text,
                "CREATE TABLE out{index} (part INT, off BIGINT, k STRING, v BIGINT, total BIGINT{key}) WITH ({options});"
            )?;
        }
        if self.is_one_loop {
            text += "EXECUTE STATEMENT SET BEGIN\n";
        }
        for index in 0..self.targets.len() {
            writeln!(
                text,
                "INSERT INTO out{index} SELECT part, off, k, v, SUM(v) OVER (PARTITION BY k ORDER BY pt ROWS BETWEEN UNBOUNDED PRECEDING \
                 AND CURRENT ROW) FROM src;"
            )?;
        }
        if self.is_one_loop {
            text += "END;\n";
        }
        Ok(text)
    }

    fn files(&self, place: &str) -> PathBuf {
        self.context.folder().join(place)
    }

    /// Folder of the first sink, where it writes files.
    pub(crate) fn folder(&self) -> PathBuf {
        self.files(self.place())
    }

    fn is_in_store(&self) -> bool {
        self.targets.iter().any(|target| target.sink == Sink::Objects)
    }

    /// Where the job keeps its checkpoints.
    pub(crate) fn state(&self) -> PathBuf {
        if self.is_in_store() {
            return PathBuf::from(format!("s3://{BUCKET}/{}/state", self.place()));
        }
        self.context.folder().join(format!("{}-state", self.topic))
    }

    /// The command line of the job.
    fn arguments_with(&self, state: &Path) -> Vec<String> {
        let mut arguments = vec!["run".to_owned(), self.file.clone()];
        let mut add = |flag: &str, value: String| arguments.extend([flag.to_owned(), value]);
        add("--state", state.display().to_string());
        add("--map", format!("kafka:9092={}", self.addresses.kafka));
        add("--map", format!("postgres:5432={}", self.addresses.postgres));
        if !self.addresses.elasticsearch.is_empty() {
            add("--map", format!("elasticsearch:9200={}", self.addresses.elasticsearch));
        }
        arguments
    }

    /// Appends rows to the topic.
    pub(crate) fn produce(&mut self, count: usize) -> Result<()> {
        let count = count.min(ROWS_MAX - self.produced.min(ROWS_MAX));
        let rows: Vec<(String, Option<String>)> = (0..count)
            .map(|_| {
                let (key, value) = (self.random.u64(..KEYS), self.random.i64(1..1_000));
                (format!("key-{key}"), Some(format!("{{\"k\":\"key-{key}\",\"v\":{value}}}")))
            })
            .collect();
        self.context.kafka()?.produce_keyed(&self.topic, rows)?;
        self.produced += count;
        totals::count(|totals| totals.rows += count as u64);
        Ok(())
    }

    /// Variables of every start.
    pub(crate) fn set_environment(&mut self, variables: &[(&'static str, String)]) {
        self.environment = variables.to_vec();
    }

    /// Starts the job without an end.
    pub(crate) fn start(&self, environment: &[(&str, String)]) -> Result<Arc<Program>> {
        let all: Vec<(&str, String)> = self.environment.iter().chain(environment).cloned().collect();
        self.context.spawn_with(self.arguments_with(&self.state()), &all)
    }

    /// Starts the job without an end, with another folder for its state.
    pub(crate) fn start_with_state(&self, state: &Path) -> Result<Arc<Program>> {
        self.context.spawn(self.arguments_with(state))
    }

    /// The newest checkpoint that is whole, of any loop.
    pub(crate) fn newest_checkpoint(&self) -> Result<u64> {
        if self.is_in_store() {
            let keys = self.context.services().objects()?.keys(&format!("{}/state/", self.place()))?;
            let id = |key: &String| key.rsplit_once("/manifest-")?.1.parse().ok();
            return Ok(keys.iter().filter_map(id).max().unwrap_or(0));
        }
        newest_manifest(&self.state())
    }

    /// Waits until a started job has completed a checkpoint of its own; how long that took.
    pub(crate) fn wait_back(&self, program: &Program, before: u64) -> Result<Duration> {
        let start = Instant::now();
        program
            .wait_until(BACK_LIMIT_S, "a new checkpoint", |_| self.newest_checkpoint().is_ok_and(|id| id > before))?;
        Ok(start.elapsed())
    }

    /// The same for a job with another folder for its state.
    pub(crate) fn wait_back_in(&self, program: &Program, state: &Path) -> Result<()> {
        let before = newest_manifest(state)?;
        program.wait_until(BACK_LIMIT_S, "a new checkpoint", |_| newest_manifest(state).is_ok_and(|id| id > before))
    }

    /// Runs the job with a fail point while rows flow, until it dies there; false when it did not die within the limit.
    pub(crate) fn die_at(&mut self, step: &'static str, reached: usize, limit_s: u64) -> Result<bool> {
        let point = format!("{step}:{reached}");
        let program = self.start(&[("WIESEL_FAIL_POINT", point.clone())])?;
        let rows_at_start = self.produced;
        let start = Instant::now();
        let status = loop {
            if let Some(status) = program.try_wait()? {
                break status;
            }
            if start.elapsed() > Duration::from_secs(limit_s) || self.produced >= ROWS_MAX {
                program.kill()?;
                return Ok(false);
            }
            self.produce(ROWS_PER_LOOK)?;
        };
        // SIGABRT of the fail point; anything else is an error of the job's own.
        if status.code().is_some() {
            bail!("the job ended by itself ({status}) before `{point}`:\n{}", program.stderr());
        }
        count_death(Some(step), self.produced > rows_at_start);
        self.context.note(format!("died at {point}, newest checkpoint {}", self.newest_checkpoint()?));
        Ok(true)
    }

    /// The program that runs while `run_through` disturbs it.
    pub(crate) fn program(&self) -> Result<Arc<Program>> {
        self.running.clone().context("no program runs")
    }

    /// Starts the job, disturbs it, and asks for the promise: it is back by itself, stops in good order, and everything is there once.
    pub(crate) fn run_through(&mut self, disturb: impl FnOnce(&mut Self, &Program) -> Result<()>) -> Result<()> {
        self.produce(ROWS_BEFORE)?;
        let program = self.start(&[])?;
        self.wait_back(&program, 0)?;
        self.running = Some(Arc::clone(&program));
        disturb(self, &program)?;
        self.check_safety()?;
        self.produce(ROWS_BEFORE)?;
        let back = self.wait_back(&program, self.newest_checkpoint()? + 1)?;
        self.context.note(format!("back {back:?} after the fault had gone"));
        program.terminate()?;
        program.wait(STOP_LIMIT_S)?.expect_code(0)?;
        self.check_safety()?;
        self.finish(FINISH_LIMIT_S)?;
        self.check_whole()?;
        self.check_no_leftovers()
    }

    /// Reads the topic to its present end with a bounded run, which must succeed.
    pub(crate) fn finish(&self, limit_s: u64) -> Result<()> {
        self.finish_in(&self.state(), limit_s)
    }

    /// The same with another folder for the state.
    pub(crate) fn finish_with_state(&self, state: &Path) -> Result<()> {
        self.finish_in(state, FINISH_LIMIT_S)
    }

    fn finish_in(&self, state: &Path, limit_s: u64) -> Result<()> {
        let mut arguments = self.arguments_with(state);
        arguments.extend(["--table-option".to_owned(), "src.scan.bounded.mode=latest-offset".to_owned()]);
        let finished = self.context.run(&arguments, limit_s)?.expect_code(0)?;
        self.check_counters(&finished.stderr)
    }

    /// What the program says at its end adds up: no operator here drops or adds a row, so each sink of a loop takes what its source gave.
    fn check_counters(&self, said: &str) -> Result<()> {
        let sinks_per_loop = if self.is_one_loop { self.targets.len() } else { 1 };
        let mut loops = 0;
        for line in said.lines().filter(|line| line.contains("finished; ")) {
            let before = |text: &str| -> Result<usize> {
                let number = line.split(text).next().and_then(|left| left.rsplit(' ').next());
                number
                    .and_then(|number| number.parse().ok())
                    .with_context(|| format!("a number before `{text}` in: {line}"))
            };
            let (rows, changes) = (before(" rows in")?, before(" changes out")?);
            ensure!(rows * sinks_per_loop == changes, "counters do not add up ({sinks_per_loop} sinks): {line}");
            ensure!(!line.contains("skipped") && !line.contains("late"), "no row was to be left out: {line}");
            loops += 1;
        }
        let wanted = self.targets.len() / sinks_per_loop;
        ensure!(loops == wanted, "{loops} of {wanted} loops said what they did: {said}");
        Ok(())
    }

    /// Somebody else has removed what the sinks held: the rows of the topic so far are no longer asked for.
    pub(crate) fn forget(&mut self) -> Result<()> {
        let mut ends = BTreeMap::new();
        for message in self.context.kafka()?.consume_all(&self.topic)? {
            ends.insert(message.partition, message.offset + 1);
        }
        self.forgotten = ends.into_iter().collect();
        Ok(())
    }

    /// What every sink shows is a part of what must be there in the end, nothing twice.
    pub(crate) fn check_safety(&self) -> Result<()> {
        self.compare(Wanted::NothingWrong)
    }

    /// Every sink shows exactly what must be there.
    pub(crate) fn check_whole(&self) -> Result<()> {
        self.compare(Wanted::All)
    }

    /// For a wait: the same, but rows that have yet to come are an error without being a finding.
    pub(crate) fn is_whole_by_now(&self) -> Result<bool> {
        self.compare(Wanted::AllSoon).map(|()| true)
    }

    fn compare(&self, wanted: Wanted) -> Result<()> {
        let mut database = self.context.postgres()?;
        let name = self.context.unique("oracle");
        database.execute(&format!(
            "DROP TABLE IF EXISTS {name}_topic, {name}_expected, {name}_asked, {name}_found;
             CREATE TABLE {name}_topic (part INT, off BIGINT, k TEXT, v BIGINT);
             CREATE TABLE {name}_found (part INT, off BIGINT, k TEXT, v BIGINT, total BIGINT)"
        ))?;
        // What the sinks show is read before the topic is, so a running job cannot be ahead of the oracle.
        let found: Vec<Vec<Row>> =
            self.targets.iter().map(|target| self.rows(target, wanted == Wanted::All)).collect::<Result<_>>()?;
        let messages = self.context.kafka()?.consume_all(&self.topic)?;
        for part in messages.chunks(ROWS_PER_INSERT) {
            let values: Vec<String> = part
                .iter()
                .map(|message| {
                    let value: Value = serde_json::from_str(message.value.as_deref().unwrap_or("null"))?;
                    let (key, number) =
                        (value["k"].as_str().context("a key")?, value["v"].as_i64().context("a value")?);
                    Ok(format!("({}, {}, '{key}', {number})", message.partition, message.offset))
                })
                .collect::<Result<_>>()?;
            database.execute(&format!("INSERT INTO {name}_topic VALUES {}", values.join(", ")))?;
        }
        database.execute(&format!(
            "CREATE TABLE {name}_expected AS SELECT part, off, k, v, (SUM(v) OVER (PARTITION BY k ORDER BY part, off
             ROWS UNBOUNDED PRECEDING))::BIGINT AS total FROM {name}_topic"
        ))?;
        let forgotten: Vec<String> =
            self.forgotten.iter().map(|(part, end)| format!(" AND NOT (part = {part} AND off < {end})")).collect();
        database.execute(&format!(
            "CREATE TABLE {name}_asked AS SELECT * FROM {name}_expected WHERE TRUE{}",
            forgotten.concat()
        ))?;
        for (target, rows) in self.targets.iter().zip(found) {
            count_sink(target.sink.word(), |sink| sink.checks += 1);
            database.execute(&format!("TRUNCATE {name}_found"))?;
            for part in rows.chunks(ROWS_PER_INSERT) {
                let values: Vec<String> = part
                    .iter()
                    .map(|(part, off, key, value, total)| format!("({part}, {off}, '{key}', {value}, {total})"))
                    .collect();
                database.execute(&format!("INSERT INTO {name}_found VALUES {}", values.join(", ")))?;
            }
            let mut differ = |what: &str, left: &str, right: &str, change: fn(&mut totals::OfSink)| -> Result<()> {
                let query = format!(
                    "SELECT * FROM (SELECT * FROM {name}_{left} EXCEPT ALL SELECT * FROM {name}_{right}) AS d ORDER BY 1, 2 LIMIT 5"
                );
                let rows = database.query(&query)?;
                if !rows.is_empty() {
                    count_sink(target.sink.word(), change);
                }
                ensure!(
                    rows.is_empty(),
                    "{:?} `{}` ({} messages): {what}, the first five: {rows:?}",
                    target.sink,
                    target.place,
                    messages.len()
                );
                Ok(())
            };
            differ("rows that must not be there, or are there twice", "found", "expected", |s| s.doubled += 1)?;
            match wanted {
                Wanted::NothingWrong => {}
                Wanted::AllSoon => differ("rows that have yet to come", "asked", "found", |_| {})?,
                Wanted::All => differ("rows that are missing", "asked", "found", |s| s.lost += 1)?,
            }
        }
        database.execute(&format!("DROP TABLE {name}_topic, {name}_expected, {name}_asked, {name}_found"))
    }

    fn rows(&self, target: &Target, is_whole: bool) -> Result<Vec<Row>> {
        match target.sink {
            Sink::Files => {
                let folder = self.files(&target.place);
                if !folder.exists() {
                    return Ok(Vec::new());
                }
                python::parquet_rows(&folder, "duckdb")?.iter().map(json_row).collect()
            }
            Sink::Objects => {
                let folder = tempfile::tempdir()?;
                self.context.services().objects()?.download(&format!("{}/out/", target.place), folder.path())?;
                python::parquet_rows(folder.path(), "duckdb")?.iter().map(json_row).collect()
            }
            Sink::Kafka => {
                if is_whole {
                    self.wait_visible(&target.place)?;
                }
                let values = self.context.kafka()?.values(&target.place)?;
                values.iter().map(|value| json_row(&serde_json::from_str(value)?)).collect()
            }
            Sink::Postgres | Sink::PostgresByKey => {
                let query = format!("SELECT part, off, k, v, total FROM {}", target.place);
                let parse = |row: Vec<String>| -> Result<Row> {
                    let [part, off, key, value, total] = row.as_slice() else { bail!("five columns, not {row:?}") };
                    Ok((part.parse()?, off.parse()?, key.clone(), value.parse()?, total.parse()?))
                };
                self.context.postgres()?.query(&query)?.into_iter().map(parse).collect()
            }
            Sink::Elasticsearch | Sink::ElasticsearchByKey => {
                let client = self.context.elasticsearch(Line::Seven)?;
                if client.call("HEAD", &format!("/{}", target.place), None)?.0 == 404 {
                    return Ok(Vec::new());
                }
                client.documents(&target.place)?.iter().map(|(_, document)| json_row(document)).collect()
            }
        }
    }

    /// A commit is done when the coordinator has it; its markers reach the partitions a little later, and readers see it then. A
    /// transaction that was left open holds readers back for longer than that.
    fn wait_visible(&self, topic: &str) -> Result<()> {
        let kafka = self.context.kafka()?;
        let start = Instant::now();
        let seen =
            self.context.wait_until(VISIBLE_LIMIT_S, &format!("the end of `{topic}` for committed readers"), || {
                kafka.is_all_committed(topic)
            });
        if seen.is_err() {
            self.context.note(format!("partitions of `{topic}`, committed and written: {:?}", kafka.ends(topic)));
        }
        seen?;
        self.context.note(format!("`{topic}` was visible to its end after {:?}", start.elapsed()));
        Ok(())
    }

    /// Removes what the world made on the servers, so that a long run does not fill them.
    pub(crate) fn remove(&self) -> Result<()> {
        self.context.kafka()?.delete_topic(&self.topic)?;
        for Target { sink, place } in &self.targets {
            match sink {
                Sink::Files | Sink::Objects => {}
                Sink::Kafka => self.context.kafka()?.delete_topic(place)?,
                Sink::Postgres | Sink::PostgresByKey => {
                    self.context.postgres()?.execute(&format!("DROP TABLE {place}"))?;
                }
                Sink::Elasticsearch | Sink::ElasticsearchByKey => {
                    self.context.elasticsearch(Line::Seven)?.call("DELETE", &format!("/{place}"), None)?;
                }
            }
        }
        Ok(())
    }

    /// After a clean end: no temporary file of a checkpoint or of a sink, no transaction that is still open.
    pub(crate) fn check_no_leftovers(&self) -> Result<()> {
        let is_leftover = |path: &Path| {
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            name.contains(".tmp") || name.contains("inprogress") || name.ends_with(".pending")
        };
        if self.is_in_store() {
            let prefix = format!("{}/", self.place());
            let objects = self.context.services().objects()?;
            let is_begun = |key: &String| key.ends_with(".tail") || is_leftover(Path::new(key));
            let mut left: Vec<String> = objects.keys(&prefix)?.into_iter().filter(is_begun).collect();
            left.extend(objects.uploads(&prefix)?.into_iter().map(|upload| format!("upload {upload}")));
            if !left.is_empty() {
                count_sink(Sink::Objects.word(), |s| s.leftovers += 1);
            }
            ensure!(left.is_empty(), "left over in the object store: {left:?}");
            return Ok(());
        }
        let mut roots = vec![(None, self.state())];
        roots.extend(
            self.targets.iter().filter(|t| t.sink == Sink::Files).map(|t| (Some(t.sink), self.files(&t.place))),
        );
        for (sink, root) in roots {
            if let Some(path) = files_below(&root)?.iter().find(|path| is_leftover(path)) {
                // Files of a checkpoint belong to every sink of the loop.
                for target in self.targets.iter().filter(|target| sink.is_none_or(|sink| sink == target.sink)) {
                    count_sink(target.sink.word(), |s| s.leftovers += 1);
                }
                bail!("`{}` is left over", path.display());
            }
        }
        if let Some(target) = self.targets.iter().find(|t| matches!(t.sink, Sink::Postgres | Sink::PostgresByKey)) {
            let rows = self.context.postgres()?.query(
                "SELECT pid, state FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'",
            )?;
            if !rows.is_empty() {
                count_sink(target.sink.word(), |s| s.leftovers += 1);
            }
            ensure!(rows.is_empty(), "a transaction of PostgreSQL hangs: {rows:?}");
        }
        Ok(())
    }
}

fn json_row(value: &Value) -> Result<Row> {
    let number = |field: &str| value[field].as_i64().with_context(|| format!("no number `{field}` in {value}"));
    let key = value["k"].as_str().with_context(|| format!("no key in {value}"))?.to_owned();
    Ok((number("part")?, number("off")?, key, number("v")?, number("total")?))
}

/// Every file below a folder, hidden ones too; none when the folder is not there.
pub(crate) fn files_below(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}
