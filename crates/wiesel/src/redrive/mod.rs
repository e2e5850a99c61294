//! Dead letters sent again, once.
//!
//! ```text
//! the table --bounded read--> files --which are new, and decode now?--> batch, durable --a bounded job per target--> noted as sent
//! ```
//! **Where a letter goes.** A record of a source is produced again into the topic that it came from, and the job reads it there as any
//! other record. The other way, the job's query over the letters alone, would be wrong wherever a query keeps state: a count over three
//! letters is not what these letters add to the count, and a second writer of the job's tables would be fenced or fence the job. A row that
//! a sink's system refused is past the query already, so it goes to its table as it is. What is neither in a topic nor for a table stays, and
//! its number is said with the reason.
//!
//! **Time.** A record sent again stands at the end of its topic with the time of the sending as the record's own; the time in its columns is
//! what it was. So behind the watermark it is late, is dropped and counted by windows as every late row is, and taken by everything else. A
//! row sent again to a table with a key takes the place of a newer one.
//!
//! **Once.** The letters of a batch lie in files before the first is sent. Each target is a bounded job with checkpoints of its own, over
//! these files; a killed one goes on from its checkpoint, one that has reached its end is not run again, and then the letters are noted (see
//! `notes`). Topics, and tables of PostgreSQL without a key, are written exactly once whatever the file says of them; other tables as they
//! always are: with a key a repeated row changes nothing. What is refused again becomes a new letter of the same table.
//!
//! The jobs are SQL, made of the file's own tables and settings, so nothing below this file knows of letters that are sent again.

pub(crate) mod notes;
mod sort;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wiesel_connectors::registry::Registry;
use wiesel_core::diagnostic::{Diagnostic, SourceFile};
use wiesel_core::secret;
use wiesel_core::source::RowReader;
use wiesel_core::table::{ColumnKind, ConnectorRegistry, SourceRequest, TableDescriptor};
use wiesel_engine::checkpoint;
use wiesel_engine::step::control::FailPoints;
use wiesel_objects::ObjectUrl;
use wiesel_plan::{NodeKind, StreamPlan};
use wiesel_sql::parser::parse_script;
use wiesel_sql::session::{Outcome, PlannedJob, Session};

use self::notes::{Batch, Sent, Target, cannot, remove_folder};
use self::sort::{Letter, Route, Sorted};
use crate::cli::{Exit, Overrides, folder_name, state_root};
use crate::jobs::{Jobs, RunOptions, Stops};
use crate::log::Log;
use crate::script::{self, Script};
use crate::status::Status;

/// What is asked for.
pub(crate) struct Request<'a> {
    /// The table of dead letters.
    pub(crate) table: &'a str,
    /// The job's file.
    pub(crate) file: &'a Path,
    /// `--state`.
    pub(crate) state: Option<&'a PathBuf>,
    /// `--memory`.
    pub(crate) memory_bytes: u64,
    /// What changes the file from outside.
    pub(crate) overrides: &'a Overrides,
}

/// Why a redrive ends early: with an exit code when all was said, or with what there is to say.
enum Failure {
    Said(Exit),
    Usage(String),
    Failed(String),
}

impl From<Exit> for Failure {
    fn from(exit: Exit) -> Self {
        Failure::Said(exit)
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Failure::Failed(text)
    }
}

/// Sends the letters.
pub(crate) fn run(request: &Request<'_>, log: Log) -> Exit {
    let log = Arc::new(log);
    let outcome = Redrive::open(request, &log).and_then(Redrive::run);
    match outcome {
        Ok(exit) | Err(Failure::Said(exit)) => exit,
        Err(Failure::Usage(text)) => {
            log.error(&text);
            Exit::Usage
        }
        Err(Failure::Failed(text)) => {
            log.error(&text);
            Exit::Failed
        }
    }
}

/// Settings of the file that are not for the jobs of a redrive.
const LEFT_AWAY: &[&str] = &[
    "execution.checkpointing.dir",
    "execution.checkpointing.savepoint-dir",
    "execution.runtime-mode",
    "execution.savepoint.path",
    "execution.state-recovery.path",
    "state.checkpoints.dir",
    "state.savepoints.dir",
    "wiesel.savepoint.interval",
];
const TIME_ZONE: &str = "table.local-time-zone";

struct Redrive<'a> {
    request: &'a Request<'a>,
    log: &'a Arc<Log>,
    registry: Arc<Registry>,
    session: Session,
    /// The plans of the file's own jobs.
    plans: Vec<StreamPlan>,
    letters: TableDescriptor,
    name: String,
    folder: PathBuf,
    stops: Stops,
    /// Held until the end.
    _lock: File,
}

impl<'a> Redrive<'a> {
    fn open(request: &'a Request<'a>, log: &'a Arc<Log>) -> Result<Redrive<'a>, Failure> {
        let registry = request.overrides.registry();
        let Script { outcomes, session } = script::load(request.file, registry.clone(), request.overrides, log)?;
        let tables = session.tables();
        let Some(letters) = tables.iter().find(|table| table.descriptor.name == request.table) else {
            let names: Vec<&str> = tables.iter().map(|table| table.descriptor.name.as_str()).collect();
            return Err(Failure::Usage(format!(
                "no table `{}` in `{}`; its tables are {}",
                request.table,
                request.file.display(),
                names.join(", ")
            )));
        };
        let letters = letters.descriptor.clone();
        if request.state.is_some_and(|state| ObjectUrl::is_path(state)) {
            return Err(Failure::Usage(
                "the letters on their way lie in files of their own: give a folder on a disk as `--state`".to_owned(),
            ));
        }
        let stem = request.file.file_stem().map_or_else(|| "job".into(), |stem| stem.to_string_lossy().into_owned());
        let name = format!("{}-redrive-{}", session.pipeline_name().unwrap_or(&stem), request.table);
        let beside = request.file.parent().unwrap_or_else(|| Path::new("."));
        // The jobs' tables name files in it, from wherever they are started.
        let folder = std::path::absolute(state_root(beside, request.state).join(folder_name(&name)))
            .map_err(|e| format!("cannot find the folder of the state: {e}"))?;
        fs::create_dir_all(&folder).map_err(|e| cannot("make", &folder, &e))?;
        let path = folder.join("lock");
        let lock = File::create(&path).map_err(|e| cannot("make", &path, &e))?;
        if lock.try_lock().is_err() {
            return Err(Failure::Usage(format!(
                "another redrive of `{}` runs: it holds `{}`",
                request.table,
                path.display()
            )));
        }
        let stops = Stops::default();
        stops.listen(log).map_err(|e| format!("cannot listen for signals: {e}"))?;
        let plans = outcomes.into_iter().flat_map(jobs_of).map(|job| job.plan).collect();
        Ok(Redrive { request, log, registry, session, plans, letters, name, folder, stops, _lock: lock })
    }

    fn run(mut self) -> Result<Exit, Failure> {
        let mut sent = Sent::read(&self.folder)?;
        for key in LEFT_AWAY {
            self.execute(&format!("RESET {}", text(key)))?;
        }
        self.set("pipeline.name", &self.name.clone())?;
        self.set("parallelism.default", "1")?;
        let begun = Batch::read(&self.folder)?.filter(|batch| batch.number > sent.batches);
        let batch = match begun {
            Some(batch) => {
                self.log.info("goes on with letters that an earlier call began to send");
                batch
            }
            None => {
                Batch::forget(&self.folder)?;
                match self.gather(&mut sent)? {
                    Some(batch) => batch,
                    None => return Ok(Exit::Done),
                }
            }
        };
        self.set("wiesel.on-refused", "dead-letter")?;
        self.set("wiesel.dead-letter.table", self.request.table)?;
        if self.letters.options.contains_key("sink.transactional-id-prefix") {
            // With the file's own the running job would be taken over from.
            let statement = format!(
                "ALTER TABLE {} SET ('sink.transactional-id-prefix' = {})",
                quoted(self.request.table),
                text(&self.name)
            );
            self.execute(&statement)?;
        }
        for (place, target) in batch.targets.iter().enumerate() {
            if let Some(exit) = self.send(place, target)? {
                return Ok(exit);
            }
        }
        let targets = batch.targets.clone();
        batch.done(&self.folder, &mut sent)?;
        for Target { table, topic, count, .. } in targets {
            let place =
                topic.map_or_else(|| format!("table `{table}`"), |topic| format!("topic `{topic}` of `{table}`"));
            self.log.info(&format!("sent {count} letters to {place}"));
        }
        Ok(Exit::Done)
    }

    /// Reads the table and makes a batch of what is new.
    fn gather(&mut self, sent: &mut Sent) -> Result<Option<Batch>, Failure> {
        let reading = self.folder.join("reading");
        remove_folder(&reading)?;
        let time_zone = self.session.settings().find(|(key, _)| *key == TIME_ZONE).map(|(_, value)| value.to_owned());
        self.set(TIME_ZONE, "UTC")?;
        self.set("wiesel.on-refused", "fail")?;
        let statements = read_statements(&self.letters, &reading.join("letters"));
        let jobs = self.execute(&statements)?;
        if let Some(exit) = self.run_jobs(jobs, &reading, FailPoints::default())? {
            return Err(Failure::Said(exit));
        }
        match time_zone {
            Some(time_zone) => self.set(TIME_ZONE, &time_zone)?,
            None => drop(self.execute(&format!("RESET {}", text(TIME_ZONE)))?),
        }
        let folder = Batch::folder(&self.folder);
        fs::create_dir_all(&folder).map_err(|e| cannot("make", &folder, &e))?;
        let sorted = sort::sort(&reading.join("letters"), &folder, sent, &mut |letter| self.route(letter))?;
        remove_folder(&reading)?;
        self.say(&sorted);
        // A letter that is no longer in the table needs no note.
        sent.ids.retain(|id| sorted.seen.contains(id));
        if sorted.ids.is_empty() {
            Batch::forget(&self.folder)?;
            return Ok(None);
        }
        let batch = Batch::new(sent.batches + 1, sorted.targets, sorted.ids.into_iter());
        batch.write(&self.folder)?;
        Ok(Some(batch))
    }

    fn say(&self, sorted: &Sorted) {
        let total = sorted.seen.len();
        let mut line = format!(
            "`{}` holds {total} letters: {} to be sent, {} sent before",
            self.request.table,
            sorted.ids.len(),
            sorted.sent_before
        );
        if sorted.undecodable > 0 {
            line.push_str(&format!(", {} that do not decode", sorted.undecodable));
        }
        let unroutable: u64 = sorted.unroutable.values().sum();
        if unroutable > 0 {
            line.push_str(&format!(", {unroutable} that cannot be sent"));
        }
        self.log.info(&line);
        if let Some(first) = &sorted.first_undecodable {
            self.log.warn(&format!("letters that do not decode stay in `{}`; the first: {first}", self.request.table));
        }
        for (why, count) in &sorted.unroutable {
            self.log.warn(&format!("{count} letters stay in `{}`: {why}", self.request.table));
        }
    }

    /// Where the letters of a letter's table go.
    fn route(&mut self, letter: &Letter) -> Result<Route, String> {
        let name = letter.table_name.as_deref().unwrap_or_default();
        let tables = self.session.tables();
        let Some(table) = tables.iter().find(|table| table.descriptor.name == name) else {
            return Err(format!("`{name}` is no table of the file; what a function refuses is not kept as a row"));
        };
        let table = &table.descriptor;
        let connector = table.options.get("connector").map_or("", String::as_str);
        if connector == "upsert-kafka" || table.options.contains_key("key.format") {
            return Err(format!("records of `{name}` have keys, and a letter keeps the value alone"));
        }
        if letter.is_of_source() {
            let Some(topic) = letter.topic.clone().filter(|_| connector == "kafka") else {
                return Err(format!(
                    "`{name}` is read by connector '{connector}', which has no topic: repair the record where it lies, or put it into a \
                     new file of the table"
                ));
            };
            let columns = self.columns_read(table).ok_or_else(|| format!("no job of the file reads `{name}`"))?;
            return Ok(Route { topic: Some(topic), reader: self.reader(table, &value_format(table), Some(&columns))? });
        }
        if !self.plans.iter().any(|plan| plan.sinks.iter().any(|sink| is_of(plan, *sink, table))) {
            return Err(format!("no job of the file writes `{name}`"));
        }
        if connector == "kafka" {
            let topic = table.options.get("topic").cloned();
            return Ok(Route { topic, reader: self.reader(table, &value_format(table), None)? });
        }
        if self.session.settings().any(|(key, value)| key == format!("wiesel.sink.{name}.versioned") && value == "true")
        {
            return Err(format!("the versions of `{name}` are the job's, and a row from elsewhere has none"));
        }
        Ok(Route { topic: None, reader: self.reader(table, "'format' = 'json'", None)? })
    }

    /// The columns that the file's jobs read of a table, by name.
    fn columns_read(&self, table: &TableDescriptor) -> Option<BTreeSet<String>> {
        let mut columns = BTreeSet::new();
        let mut is_read = false;
        for node in self.plans.iter().flat_map(|plan| &plan.nodes) {
            if let NodeKind::Source(source) = &node.kind
                && source.table.path == table.path
            {
                is_read = true;
                let names = source.columns.iter().filter_map(|column| table.columns.get(*column));
                columns.extend(names.map(|column| column.name.clone()));
            }
        }
        is_read.then_some(columns)
    }

    /// Decodes rows of a table, or some of its columns: through a table of files, which needs no connection for that.
    fn reader(
        &mut self,
        table: &TableDescriptor,
        format: &str,
        wanted: Option<&BTreeSet<String>>,
    ) -> Result<Box<dyn RowReader>, String> {
        let cannot = || format!("the rows of `{}` are of a format that is not decoded here", table.name);
        let name = format!("rows of {}", table.name);
        self.execute(&rows_table(&name, table, Path::new("/"), format)).map_err(|_| cannot())?;
        let tables = self.session.tables();
        let rows = tables.iter().find(|table| table.descriptor.name == name).ok_or_else(cannot)?;
        self.execute(&format!("DROP TABLE {}", quoted(&name))).map_err(|_| cannot())?;
        let is_wanted = |name: &String| wanted.is_none_or(|wanted| wanted.contains(name));
        let columns = rows.descriptor.columns.iter().enumerate().filter(|(_, column)| is_wanted(&column.name));
        let time_zone = self.session.settings().find(|(key, _)| *key == TIME_ZONE).map_or("UTC", |(_, value)| value);
        let request = SourceRequest {
            columns: columns.map(|(index, _)| index).collect(),
            time_zone: time_zone.to_owned(),
            workers: 1,
            job_name: self.name.clone(),
        };
        let reader = self.registry.source(&rows.descriptor, &request).and_then(|source| source.reader());
        reader.map_err(|e| e.to_string())?.ok_or_else(cannot)
    }

    /// Runs the job of one target, unless it has reached its end. `Some`: it did not come to its end.
    fn send(&mut self, place: usize, target: &Target) -> Result<Option<Exit>, Failure> {
        let tables = self.session.tables();
        let Some(table) = tables.iter().find(|table| table.descriptor.name == target.table) else {
            return Err(Failure::Usage(format!(
                "`{}` is no longer in the file, and letters for it are on their way",
                target.table
            )));
        };
        let from = format!("letters {place}");
        let statements = match &target.topic {
            Some(topic) => {
                let to = format!("{}-{topic}", target.table);
                format!(
                    "CREATE TABLE {from} (`raw` BYTES) WITH ({file});\nCREATE TABLE {to} (`raw` BYTES) WITH ({options});\n\
                     INSERT INTO {to} SELECT `raw` FROM {from};\n",
                    from = quoted(&from),
                    file = file_options(&target.file, "'format' = 'json'"),
                    to = quoted(&to),
                    options = topic_options(&table.descriptor, topic, &self.name),
                )
            }
            None => {
                let columns: Vec<String> = physical(&table.descriptor).map(|column| quoted(&column.name)).collect();
                let columns = columns.join(", ");
                format!(
                    "{}{}INSERT INTO {} ({columns}) SELECT {columns} FROM {};\n",
                    self.exactly_once(&table.descriptor),
                    rows_table(&from, &table.descriptor, &target.file, "'format' = 'json'"),
                    quoted(&target.table),
                    quoted(&from)
                )
            }
        };
        let jobs = self.execute(&statements)?;
        let fail_points = FailPoints::parse(&std::env::var("WIESEL_FAIL_POINT").unwrap_or_default());
        self.run_jobs(jobs, &Batch::folder(&self.folder).join(place.to_string()), fail_points)
    }

    /// A table of PostgreSQL without a key would take a repeated row as another one.
    fn exactly_once(&self, table: &TableDescriptor) -> String {
        let key = format!("wiesel.sink.{}.delivery", table.name);
        let is_jdbc = table.options.get("connector").is_some_and(|connector| connector == "jdbc");
        let is_set = self.session.settings().any(|(known, _)| known == key);
        match is_jdbc && table.primary_key.is_empty() && !is_set {
            true => format!("SET {} = 'exactly-once';\n", text(&key)),
            false => String::new(),
        }
    }

    fn run_jobs(&self, jobs: Vec<PlannedJob>, folder: &Path, fail_points: FailPoints) -> Result<Option<Exit>, Failure> {
        // The records that sinks keep of a run go by the last two names of its folder: the job's and the loop's.
        let state_dir = folder.join(folder_name(&self.name));
        if let Some(job) = jobs.iter().find(|job| job.plan.is_endless()) {
            return Err(Failure::Usage(format!(
                "`{}` has no end to be read to: {}",
                self.request.table, job.loop_name
            )));
        }
        let folders: Vec<PathBuf> = jobs.iter().map(|job| state_dir.join(folder_name(&job.loop_name))).collect();
        if has_ended(&folders)? {
            return Ok(None);
        }
        // A sink's record is that of the batch before, all of which was sent; of this one nothing was before its first checkpoint.
        let is_new = newest(&folders)?.is_none();
        let options = RunOptions {
            registry: self.registry.clone(),
            state_dir,
            fresh: false,
            allow_duplicates: is_new,
            memory_bytes: self.request.memory_bytes,
            fail_points,
            allow_non_restored_state: false,
            savepoint: None,
            totals: None,
        };
        let mut running = Jobs::new(&options, self.log, self.stops.clone());
        let count = jobs.len();
        jobs.into_iter().for_each(|job| running.start(job, count));
        running.wait(&mut Status::new(true));
        match running.exit() {
            Exit::Done if has_ended(&folders)? => Ok(None),
            exit => Ok(Some(exit)),
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), Failure> {
        self.execute(&format!("SET {} = {}", text(key), text(value))).map(drop)
    }

    /// Carries out statements of our own making; gives the jobs that they plan.
    fn execute(&mut self, statements: &str) -> Result<Vec<PlannedJob>, Failure> {
        secret::keep_from_text(statements);
        let source = SourceFile::new("redrive", statements.to_owned());
        let failed = |errors: &[Diagnostic]| {
            self.log.diagnostics(&source, errors);
            Failure::Said(Exit::Usage)
        };
        let parsed = parse_script(source.text()).map_err(|errors| failed(&errors))?;
        let mut jobs = Vec::new();
        for statement in &parsed {
            let outcome = self.session.execute(statement, source.text()).map_err(|errors| failed(&errors))?;
            jobs.extend(jobs_of(outcome));
        }
        drop((self.session.take_notes(), self.session.take_warnings()));
        Ok(jobs)
    }
}

fn jobs_of(outcome: Outcome) -> Vec<PlannedJob> {
    if let Outcome::Jobs(jobs) = outcome { jobs } else { Vec::new() }
}

/// The newest checkpoint in these folders.
fn newest(folders: &[PathBuf]) -> Result<Option<u64>, Failure> {
    let mut newest = None;
    for folder in folders {
        newest = newest.max(checkpoint::newest(folder).map_err(|e| e.to_string())?);
    }
    Ok(newest)
}

/// Whether the jobs in these folders have reached their end, and everything they wrote is confirmed.
fn has_ended(folders: &[PathBuf]) -> Result<bool, Failure> {
    for folder in folders {
        let checkpoints = checkpoint::list(folder).map_err(|e| e.to_string())?;
        let is_end =
            checkpoints.last().is_some_and(|last| last.kind == Some(checkpoint::Kind::Final) && last.is_committed);
        if !is_end {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_of(plan: &StreamPlan, sink: usize, table: &TableDescriptor) -> bool {
    matches!(plan.nodes.get(sink).map(|node| &node.kind), Some(NodeKind::Sink(sink)) if sink.table.path == table.path)
}

fn physical(table: &TableDescriptor) -> impl Iterator<Item = &wiesel_core::table::TableColumn> {
    table.columns.iter().filter(|column| column.kind == ColumnKind::Physical)
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A literal; its variables, if it looks as if it had some, are none.
fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''").replace("${", "$${"))
}

fn file_options(path: &Path, format: &str) -> String {
    format!("'connector' = 'filesystem', 'path' = {}, {format}", text(&path.display().to_string()))
}

/// The format of a topic's values, with its options, as a table of files names them.
fn value_format(table: &TableDescriptor) -> String {
    let option = |key: &str| table.options.get(key).map(String::as_str);
    let format = option("format").or_else(|| option("value.format")).unwrap_or_default();
    let mut options = format!("'format' = {}", text(format));
    for (key, value) in &table.options {
        let own = key.strip_prefix("value.").unwrap_or(key);
        if own.strip_prefix(format).is_some_and(|rest| rest.starts_with('.')) {
            options.push_str(&format!(", {} = {}", text(own), text(value)));
        }
    }
    options
}

/// The letters of the table, all of them, into files.
fn read_statements(letters: &TableDescriptor, into: &Path) -> String {
    let hint = match letters.options.get("connector").map(String::as_str) {
        Some("kafka") => {
            " /*+ OPTIONS('scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset') */"
        }
        _ => "",
    };
    format!(
        "CREATE TABLE `letters read` (`at` STRING, table_name STRING, topic STRING, `partition` BIGINT, `offset` BIGINT, `raw` BYTES, \
         reason STRING) WITH ({file});\n\
         INSERT INTO `letters read` SELECT CAST(`at` AS STRING), table_name, topic, CAST(`partition` AS BIGINT), `offset`, \
         CAST(`raw` AS BYTES), reason FROM {table}{hint};\n",
        file = file_options(into, "'format' = 'json'"),
        table = quoted(&letters.name),
    )
}

/// A table of files with the columns of `table`.
fn rows_table(name: &str, table: &TableDescriptor, path: &Path, format: &str) -> String {
    let columns: Vec<String> =
        physical(table).map(|column| format!("{} {}", quoted(&column.name), column.data_type)).collect();
    format!("CREATE TABLE {} ({}) WITH ({});\n", quoted(name), columns.join(", "), file_options(path, format))
}

/// The options of a table of raw records for a topic: the connection of the table that reads or writes it, and a transaction of its own.
fn topic_options(table: &TableDescriptor, topic: &str, name: &str) -> String {
    let connection =
        table.options.iter().filter(|(key, _)| key.starts_with("properties.") && *key != "properties.group.id");
    let own = [
        ("connector", "kafka"),
        ("format", "raw"),
        ("topic", topic),
        ("sink.delivery-guarantee", "exactly-once"),
        ("sink.transactional-id-prefix", name),
    ];
    let options = connection.map(|(key, value)| (key.as_str(), value.as_str())).chain(own);
    options.map(|(key, value)| format!("{} = {}", text(key), text(value))).collect::<Vec<_>>().join(", ")
}
