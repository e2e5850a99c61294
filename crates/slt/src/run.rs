//! The records of a file, carried out one after the other.
//!
//! After every record the jobs are brought to rest: each source has handed its rows over, each job has nothing left to do. So a record
//! sees everything that the records before it caused, and nothing depends on threads or time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use wiesel_connectors::registry::Registry;
use wiesel_core::diagnostic::{Diagnostic, SourceFile};
use wiesel_core::{ChangelogMode, Error, RowKind};
use wiesel_python::Python;
use wiesel_sql::parser::parse_script;
use wiesel_sql::session::{Outcome, PlannedJob, Session};

use crate::compare::{diff, net_effect, shown};
use crate::connector::ScriptedRegistry;
use crate::files::{Failure, Output, Outputs, Report, RunOptions};
use crate::fold::{fold, row_text};
use crate::job::{FileJob, MEMORY_BYTES, PATIENCE, ScriptedClock, World, query_output};
use crate::record::{Directive, InputRow, ParseError, Record, TestFile, parse};
use crate::stage::{Captured, Row, Stage, State};

/// 2024-01-01 00:00:00 UTC: where the clock of every file stands at first.
const CLOCK_START_MS: i64 = 1_704_067_200_000;

/// Settings that hold in every file until it sets its own: time zones and the pace of watermarks must not depend on the machine.
const PREAMBLE: &str = "SET 'table.local-time-zone' = 'UTC'; SET 'pipeline.auto-watermark-interval' = '0';";

/// A file that was read, and a folder for its checkpoints.
pub(crate) struct Opened {
    pub(crate) text: String,
    pub(crate) file: TestFile,
    place: PathBuf,
    folder: tempfile::TempDir,
}

impl Opened {
    pub(crate) fn new(path: &Path) -> Result<Opened, Failure> {
        let at = |line, message| Failure { line, message };
        let text = std::fs::read_to_string(path).map_err(|e| at(0, format!("cannot read the file: {e}")))?;
        let file = parse(&text).map_err(|ParseError { line, message }| at(line, message))?;
        // Where there is a file system in memory, no time goes into waiting for the disk.
        let folder = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .map_err(|e| at(0, format!("cannot make a folder for checkpoints: {e}")))?;
        Ok(Opened { text, file, place: path.parent().map(Path::to_owned).unwrap_or_default(), folder })
    }
}

/// A failure that ends the file.
pub(crate) type Step<T = ()> = Result<T, String>;

pub(crate) struct Run<'a> {
    file: &'a TestFile,
    place: PathBuf,
    session: Session,
    world: World,
    jobs: Vec<FileJob>,
    /// Jobs of a `file` record that no `job` record has started yet.
    pending: Vec<PlannedJob>,
    workers: usize,
    options: RunOptions,
    is_ended: bool,
    pub(crate) report: Report,
    /// What each record with an expected part gave, by its place in the file.
    pub(crate) found: Vec<(usize, Vec<String>)>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(opened: &'a Opened, options: &RunOptions) -> Self {
        wiesel_expr::function::look_for_places_beside(&opened.place);
        let stage = Arc::new(Stage::default());
        let registry = Arc::new(ScriptedRegistry { stage: Arc::clone(&stage), real: Registry::default() });
        let clock = Arc::new(ScriptedClock(AtomicI64::new(CLOCK_START_MS)));
        Run {
            file: &opened.file,
            place: opened.place.clone(),
            session: Session::new(Arc::clone(&registry) as _, Vec::new())
                .with_python(Arc::new(Python::within(&opened.place))),
            world: World {
                stage,
                registry,
                clock,
                folder: opened.folder.path().to_owned(),
                memory_bytes: if options.spills { 1 } else { MEMORY_BYTES },
            },
            jobs: Vec::new(),
            pending: Vec::new(),
            workers: options.workers.max(1),
            options: options.clone(),
            is_ended: false,
            report: Report::default(),
            found: Vec::new(),
        }
    }

    pub(crate) fn all(&mut self) {
        self.all_records();
        for job in &mut self.jobs {
            job.abort();
        }
    }

    pub(crate) fn all_records(&mut self) {
        if let Err(message) = self.execute(PREAMBLE) {
            self.fail(0, message);
        }
        for (index, record) in self.file.records.iter().enumerate() {
            self.report.records += 1;
            let done = self.carry_out(index, record).and_then(|()| self.rest()).and_then(|()| self.check_jobs(index));
            if let Err(message) = done {
                self.fail(record.line, message);
                break;
            }
        }
    }

    /// Ends the inputs and waits for the jobs.
    pub(crate) fn end(&mut self) -> Step {
        self.is_ended = true;
        self.world.stage.end();
        for job in &mut self.jobs {
            if !job.wait_until_over() {
                return Err(not_done(job, "did not end although its input has"));
            }
        }
        Ok(())
    }

    /// What the jobs gave; they end at once if they have not.
    pub(crate) fn outputs(mut self) -> Outputs {
        for job in &mut self.jobs {
            job.abort();
        }
        let lines = self
            .found
            .iter()
            .filter_map(|(index, rows)| self.file.records.get(*index).map(|record| (record.line, rows.clone())));
        let state = self.world.stage.lock();
        let output = |(path, captured): (&String, &Captured)| {
            let name = path.strip_prefix("job ").or_else(|| path.rsplit('.').next()).unwrap_or(path);
            Output {
                name: name.to_owned(),
                is_query: path.starts_with("job "),
                columns: captured.columns.clone(),
                keys: if captured.is_upsert { captured.keys.clone() } else { Vec::new() },
                rows: captured.rows.clone(),
            }
        };
        Outputs {
            outputs: state.outputs.iter().map(output).collect(),
            found: lines.collect(),
            failed_jobs: self.jobs.iter().filter(|j| j.failure().is_some()).map(|j| j.name.clone()).collect(),
            failures: self.report.failures.clone(),
        }
    }

    pub(crate) fn fail(&mut self, line: usize, message: String) {
        self.report.failures.push(Failure { line, message });
    }

    fn carry_out(&mut self, index: usize, record: &Record) -> Step {
        match &record.directive {
            Directive::StatementOk(sql) => {
                for outcome in self.execute(sql)? {
                    if matches!(outcome, Outcome::Jobs(_)) {
                        return Err("a query or an INSERT is started by a record `job NAME`".to_owned());
                    }
                }
                Ok(())
            }
            Directive::StatementError(sql) => match self.execute(sql) {
                Ok(_) => Err("the statement was carried out, expected it to be refused".to_owned()),
                Err(text) => {
                    self.compare_error(index, record, &text);
                    Ok(())
                }
            },
            Directive::StatementQuery(sql) => {
                let rows = self.shown(sql)?;
                self.compare(index, record, rows);
                Ok(())
            }
            Directive::File(path) => self.take_file(path),
            Directive::Job { name, sql } => self.start_job(name, sql.as_deref()),
            Directive::Input { table, rows } => self.input(table, rows),
            Directive::Advance(duration) => {
                let ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
                self.world.clock.0.fetch_add(ms, Ordering::SeqCst);
                Ok(())
            }
            Directive::Clock(text) => self.set_clock(text),
            Directive::Changelog { name } => {
                let rows = self.changelog(name)?;
                self.compare(index, record, rows);
                Ok(())
            }
            Directive::Table { name, keys } => {
                let rows = self.table(name, keys)?;
                self.compare(index, record, rows);
                Ok(())
            }
            Directive::Restore => self.restore(),
            Directive::End => self.end(),
            Directive::Error { name } => {
                let job = self.jobs.iter_mut().find(|j| j.name == *name);
                let job = job.ok_or_else(|| format!("no job `{name}` was started"))?;
                job.is_failure_known = true;
                let error = job.failure().ok_or_else(|| format!("job `{name}` did not fail"))?;
                let text = error_text(error);
                self.compare_error(index, record, &text);
                Ok(())
            }
            Directive::Workers(count) => {
                self.workers = *count;
                Ok(())
            }
            Directive::OnlyWiesel(_) | Directive::NextOnlyWiesel(_) | Directive::OnlyPlain(_) => Ok(()),
        }
    }

    /// Stops every job with a checkpoint and starts it again.
    fn restore(&mut self) -> Step {
        for job in &mut self.jobs {
            if !job.restore(self.options.rescales, &self.world) {
                return Err(not_done(job, "did not stop with a checkpoint"));
            }
        }
        Ok(())
    }

    /// Waits until all jobs have nothing left to do.
    fn rest(&mut self) -> Step {
        if !self.world.stage.wait_until_handed_over(PATIENCE) {
            return Err("a source did not hand its rows over".to_owned());
        }
        for job in &mut self.jobs {
            if !job.wait_until_quiet() {
                return Err(not_done(job, "did not come to rest"));
            }
        }
        Ok(())
    }

    /// A job that failed fails the file, unless a later record expects it.
    fn check_jobs(&self, index: usize) -> Step {
        let is_expected = |name: &str| {
            let later = self.file.records.iter().skip(index + 1);
            later.into_iter().any(|r| matches!(&r.directive, Directive::Error { name: n } if n == name))
        };
        for job in &self.jobs {
            if let Some(error) = job.failure()
                && !job.is_failure_known
                && !is_expected(&job.name)
            {
                return Err(format!("job `{}` failed: {}", job.name, error_text(error)));
            }
        }
        Ok(())
    }

    /// Parses, plans and carries out statements; the text of the errors otherwise.
    fn execute(&mut self, sql: &str) -> Step<Vec<Outcome>> {
        let source = SourceFile::new("sql", sql);
        let render = |errors: &[Diagnostic]| source.render_all(errors);
        let statements = parse_script(source.text()).map_err(|errors| render(&errors))?;
        let mut outcomes = Vec::new();
        for statement in &statements {
            outcomes.push(self.session.execute(statement, source.text()).map_err(|errors| render(&errors))?);
        }
        Ok(outcomes)
    }

    fn shown(&mut self, sql: &str) -> Step<Vec<String>> {
        let mut lines = Vec::new();
        for outcome in self.execute(sql)? {
            match outcome {
                Outcome::Rows { rows, .. } => lines.extend(rows.iter().map(|r| row_text(r))),
                // An empty line would end the record.
                Outcome::Text(text) => lines.extend(text.lines().filter(|l| !l.trim().is_empty()).map(str::to_owned)),
                Outcome::Done => {}
                Outcome::Jobs(_) => return Err("a query is started by a record `job NAME`".to_owned()),
            }
        }
        Ok(lines)
    }

    fn take_file(&mut self, path: &str) -> Step {
        let full = self.place.join(path);
        let text = std::fs::read_to_string(&full).map_err(|e| format!("cannot read `{}`: {e}", full.display()))?;
        for outcome in self.execute(&text)? {
            if let Outcome::Jobs(jobs) = outcome {
                self.pending.extend(jobs);
            }
        }
        Ok(())
    }

    fn start_job(&mut self, name: &str, sql: Option<&str>) -> Step {
        if self.jobs.iter().any(|j| j.name == name) {
            return Err(format!("a job `{name}` was started before"));
        }
        let mut planned = Vec::new();
        match sql {
            None => planned.append(&mut self.pending),
            Some(sql) => {
                for outcome in self.execute(sql)? {
                    if let Outcome::Jobs(jobs) = outcome {
                        planned.extend(jobs);
                    }
                }
            }
        }
        if planned.is_empty() {
            return Err("there is no query and no INSERT to start".to_owned());
        }
        for job in planned {
            self.jobs.push(FileJob::start(name, job, self.workers, &self.world));
        }
        Ok(())
    }

    fn input(&mut self, table: &str, rows: &[InputRow]) -> Step {
        if self.is_ended {
            return Err("the inputs have ended".to_owned());
        }
        let state = self.world.stage.lock();
        let path = State::resolve(state.tables.keys(), table).ok_or_else(|| format!("no table `{table}`"))?;
        let mode = state.tables.get(&path).map_or(ChangelogMode::Insert, |t| t.mode);
        drop(state);
        let mut converted = Vec::new();
        for row in rows {
            let kind = match row.kind.as_str() {
                "-U" => RowKind::UpdateBefore,
                "+U" => RowKind::UpdateAfter,
                "-D" => RowKind::Delete,
                _ => RowKind::Insert,
            };
            if kind != RowKind::Insert && mode == ChangelogMode::Insert {
                return Err(format!(
                    "line {}: `{table}` takes inserts only; a table with 'format' = 'debezium-json' takes all kinds",
                    row.line
                ));
            }
            converted.push(Row { kind, json: row.json.clone() });
        }
        if self.options.splits {
            for row in converted {
                self.world.stage.input(&path, vec![row]);
                self.rest()?;
            }
        } else {
            self.world.stage.input(&path, converted);
            self.rest()?;
        }
        if self.options.restores { self.restore() } else { Ok(()) }
    }

    fn set_clock(&mut self, text: &str) -> Step {
        if !self.jobs.is_empty() {
            return Err("the clock is set before the first job; `advance` moves it then".to_owned());
        }
        let time: jiff::Timestamp =
            text.parse().map_err(|_| format!("expected a time such as `2024-01-01T12:00:00Z`, found `{text}`"))?;
        self.world.clock.0.store(time.as_millisecond(), Ordering::SeqCst);
        Ok(())
    }

    /// Where the rows of what a record calls `name` are captured.
    fn output(&self, state: &State, name: &str) -> Step<String> {
        let query = query_output(name);
        if state.outputs.contains_key(&query) {
            return Ok(query);
        }
        State::resolve(state.outputs.keys(), name)
            .ok_or_else(|| format!("no query `{name}` was started, and no job writes to a table of that name"))
    }

    fn changelog(&self, name: &str) -> Step<Vec<String>> {
        let mut state = self.world.stage.lock();
        let output = self.output(&state, name)?;
        let Some(captured) = state.outputs.get_mut(&output) else { return Ok(Vec::new()) };
        let new = captured.rows.iter().skip(captured.seen);
        let lines = new.map(|(kind, row)| format!("{} {}", kind.symbol(), row_text(row))).collect();
        captured.seen = captured.rows.len();
        Ok(lines)
    }

    fn table(&self, name: &str, keys: &[String]) -> Step<Vec<String>> {
        let state = self.world.stage.lock();
        let output = self.output(&state, name)?;
        let Some(captured) = state.outputs.get(&output) else { return Ok(Vec::new()) };
        let names = if keys.is_empty() && captured.is_upsert { &captured.keys } else { keys };
        Ok(fold(&captured.rows, &key_columns(captured, names)?))
    }

    fn compare(&mut self, index: usize, record: &Record, found: Vec<String>) {
        let found = shown(found);
        if self.options.completes {
            self.found.push((index, found));
            return;
        }
        let Some(expected) = &record.expected else {
            self.fail(record.line, "the record has no `----` with the expected rows below it".to_owned());
            return;
        };
        let is_changelog = matches!(record.directive, Directive::Changelog { .. });
        let (mut left, mut right) = (expected.rows.clone(), found);
        if is_changelog && (self.workers > 1 || self.options.spills) {
            (left, right) = (net_effect(&left), net_effect(&right));
        }
        if let Some(diff) = diff(&left, &right) {
            self.fail(expected.line, diff);
        }
    }

    /// An expected text of one line is the first line of the message; a longer one is the whole of it.
    fn compare_error(&mut self, index: usize, record: &Record, text: &str) {
        let lines: Vec<String> =
            text.lines().filter(|l| !l.trim().is_empty()).map(|l| l.trim_end().to_owned()).collect();
        let is_whole = record.expected.as_ref().is_some_and(|e| e.rows.len() > 1);
        self.compare(index, record, if is_whole { lines } else { lines.into_iter().take(1).collect() });
    }
}

fn key_columns(captured: &Captured, names: &[String]) -> Step<Vec<usize>> {
    let column = |name: &String| {
        let position = captured.columns.iter().position(|c| c == name);
        position.ok_or_else(|| format!("no column `{name}`, there are {}", captured.columns.join(", ")))
    };
    names.iter().map(column).collect()
}

fn not_done(job: &FileJob, what: &str) -> String {
    format!("job `{}` {what} within {} s", job.name, Duration::as_secs(&PATIENCE))
}

fn error_text(error: &Error) -> String {
    format!("error[{}]: {error}", error.code())
}
