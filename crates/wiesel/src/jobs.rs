//! Runs the jobs of a file: each INSERT outside a STATEMENT SET is its own loop in its own thread, all of them side by side; a bare SELECT
//! runs to its end before the next statement shows its rows. One failing job does not stop the others; the worst end is the exit code.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use wiesel_core::ErrorKind;
use wiesel_core::table::ConnectorRegistry;
use wiesel_engine::checkpoint;
use wiesel_engine::step::control::{Control, FailPoints};
use wiesel_engine::step::job::{Job, JobEnd, JobSpec};
use wiesel_engine::step::metrics::Metrics;
use wiesel_expr::Session;
use wiesel_expr::text::{RowTexts, TextRow};
use wiesel_plan::{JobConfig, NodeKind, StreamPlan};
use wiesel_sql::session::PlannedJob;

use crate::cli::{Exit, folder_name};
use crate::folders::{self, Folders, Loop};
use crate::log::Log;
use crate::report::counter_lines;
use crate::restart::Restarts;
use crate::schedule::Schedule;
use crate::status::Status;
use crate::tableau::{NULL, Tableau};

/// Ends that may wait to be told; a job whose end does not fit waits with ending.
const ENDS_MAX: usize = 64;

/// A job gives a stop up after 10 s by itself. One that has not even done that hangs in a call to the outside, most likely in writing to
/// a stdout that nobody reads, and is left behind: the process ends without it.
const STOP_MAX: Duration = Duration::from_secs(11);

/// The same after a second signal, which asks for the end at once.
const ABORT_MAX: Duration = Duration::from_secs(1);

/// What all jobs of a run have in common.
pub(crate) struct RunOptions {
    /// Connectors.
    pub(crate) registry: Arc<dyn ConnectorRegistry>,
    /// `.wiesel/<pipeline.name, else file stem>`, or the same below `--state`.
    pub(crate) state_dir: PathBuf,
    /// Start anew although there is a checkpoint.
    pub(crate) fresh: bool,
    /// Go on even where rows may then be written twice.
    pub(crate) allow_duplicates: bool,
    /// `--memory`, shared by all jobs.
    pub(crate) memory_bytes: u64,
    /// Where to die, for tests of recovery.
    pub(crate) fail_points: FailPoints,
    /// Drop state that has no place in the plan.
    pub(crate) allow_non_restored_state: bool,
    /// The savepoint to begin with, before what the file says.
    pub(crate) savepoint: Option<PathBuf>,
    /// Show a query's rows as totals per key, redrawn in place (the demo), instead of every change.
    pub(crate) totals: Option<DemoTotals>,
}

/// The rows of an updating query by their first column, redrawn in place.
#[derive(Debug, Clone, Default)]
pub(crate) struct DemoTotals {
    names: Vec<String>,
    rows: std::collections::BTreeMap<String, Vec<String>>,
    drawn_lines: usize,
    drawn_at: Option<Instant>,
}

impl DemoTotals {
    /// How often the table is redrawn at most.
    const REDRAW: Duration = Duration::from_millis(250);

    fn take(&mut self, rows: Vec<TextRow>) -> std::io::Result<()> {
        for (kind, row) in rows {
            let row: Vec<String> = row.into_iter().map(|v| v.unwrap_or_else(|| NULL.to_owned())).collect();
            let Some(key) = row.first().cloned() else { continue };
            if kind.is_add() {
                self.rows.insert(key, row);
            } else if kind == wiesel_core::RowKind::Delete {
                self.rows.remove(&key);
            }
        }
        let now = wiesel_core::env::monotonic();
        if self.drawn_at.is_some_and(|then| now.duration_since(then) < Self::REDRAW) {
            return Ok(());
        }
        self.drawn_at = Some(now);
        self.draw()
    }

    fn draw(&mut self) -> std::io::Result<()> {
        use std::io::{IsTerminal, Write};
        let mut out = std::io::stdout().lock();
        if out.is_terminal() && self.drawn_lines > 0 {
            write!(out, "\x1b[{}A", self.drawn_lines)?;
        }
        let rows: Vec<Vec<Option<String>>> =
            self.rows.values().map(|row| row.iter().cloned().map(Some).collect()).collect();
        let text = crate::tableau::text_table(&self.names, &rows);
        self.drawn_lines = text.lines().count();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

impl Drop for DemoTotals {
    /// The last rows may have come too soon after a redraw to be shown.
    fn drop(&mut self) {
        if !self.rows.is_empty() {
            // A reader that is gone needs no totals.
            _ = self.draw();
        }
    }
}

/// A job in its thread.
pub(crate) struct Running {
    /// Its name.
    pub(crate) name: String,
    /// Its counters.
    pub(crate) metrics: Arc<Metrics>,
    /// Which of its parts were waiting for a system when last looked at.
    waits: Vec<Wait>,
    has_ended: bool,
}

/// The jobs of a run.
pub(crate) struct Jobs<'a> {
    options: &'a RunOptions,
    log: &'a Arc<Log>,
    control: Stops,
    running: Vec<Running>,
    ends: (SyncSender<End>, Receiver<End>),
    started: usize,
    worst: Exit,
    /// How often a stop was asked for (at most 2 is told apart), and when that was first seen.
    stopping: Option<(u32, Instant)>,
    /// The state folders given out.
    folders: BTreeSet<PathBuf>,
    /// Where jobs go on whose state lies under another name.
    places: Folders,
    schedule: Option<Schedule>,
}

/// What a part of a job was told to wait for at the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    No,
    /// For a system that does not answer.
    Unreachable,
    /// For anything else.
    Other,
}

impl Wait {
    fn of(text: Option<&str>) -> Self {
        match text {
            None => Wait::No,
            Some(text) if text.contains(" is unreachable") => Wait::Unreachable,
            Some(_) => Wait::Other,
        }
    }
}

struct End {
    index: usize,
    is_query: bool,
    exit: Exit,
    text: String,
}

/// A job by the name of its state folder.
struct Stoppable {
    name: String,
    control: Control,
    metrics: Arc<Metrics>,
}

/// The jobs, and how often a stop was asked for.
type JobsAndStops = (Vec<Stoppable>, u32);

/// Every job's handle, for signals.
#[derive(Clone, Default)]
pub(crate) struct Stops(Arc<std::sync::Mutex<JobsAndStops>>);

impl Stops {
    /// A job under the name of its state folder. One that starts again takes the place of what it was.
    fn add(&self, name: String, control: Control, metrics: &Arc<Metrics>) {
        let mut all = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for _ in 0..all.1 {
            control.stop();
        }
        match all.0.iter_mut().find(|job| job.name == name) {
            Some(job) => job.control = control,
            None => all.0.push(Stoppable { name, control, metrics: metrics.clone() }),
        }
    }

    /// Whether every job has completed a checkpoint since it was started, or is over.
    pub(crate) fn have_checkpoints(&self) -> bool {
        let all = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_ready =
            |job: &Stoppable| job.metrics.checkpoint().is_some() || job.control.wait_until_over(Duration::ZERO);
        !all.0.is_empty() && all.0.iter().all(is_ready)
    }

    /// Stops, with a checkpoint, when stdin ends.
    pub(crate) fn when_stdin_ends(&self) {
        let stops = self.clone();
        #[allow(clippy::disallowed_methods, reason = "this thread waits for stdin and ends with the process")]
        let spawned = std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            stops.stop();
        });
        // Without the thread a signal still stops the process.
        drop(spawned);
    }

    /// The jobs that run, by the names of their state folders.
    pub(crate) fn jobs(&self) -> Vec<(String, Control)> {
        let all = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let jobs: Vec<_> = all.0.iter().map(|job| (job.name.clone(), job.control.clone())).collect();
        drop(all);
        jobs.into_iter().filter(|(_, control)| !control.wait_until_over(Duration::ZERO)).collect()
    }

    /// Stops every job, also those that start later. The first time with a checkpoint, the second time at once.
    pub(crate) fn stop(&self) -> u32 {
        let mut all = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        all.1 += 1;
        for job in &all.0 {
            job.control.stop();
        }
        all.1
    }

    /// Whether a stop was asked for.
    pub(crate) fn is_stopping(&self) -> bool {
        self.asked() > 0
    }

    /// How often a stop was asked for.
    pub(crate) fn asked(&self) -> u32 {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).1
    }

    /// Listens for SIGINT and SIGTERM for the rest of the process.
    pub(crate) fn listen(&self, log: &Arc<Log>) -> std::io::Result<()> {
        let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
        let (stops, log) = (self.clone(), log.clone());
        #[allow(clippy::disallowed_methods, reason = "this thread waits for signals and ends with the process")]
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for _ in signals.forever() {
                match stops.stop() {
                    1 => log.info("stopping with a checkpoint; once more stops at once"),
                    _ => log.info("stopping at once"),
                }
            }
        })?;
        Ok(())
    }
}

impl<'a> Jobs<'a> {
    /// No job yet.
    pub(crate) fn new(options: &'a RunOptions, log: &'a Arc<Log>, control: Stops) -> Self {
        Jobs {
            options,
            log,
            control,
            running: Vec::new(),
            ends: sync_channel(ENDS_MAX),
            started: 0,
            worst: Exit::Done,
            stopping: None,
            folders: BTreeSet::new(),
            places: Folders::new(),
            schedule: None,
        }
    }

    /// Starts a job in its thread.
    pub(crate) fn start(&mut self, job: PlannedJob, jobs_in_file: usize) {
        let name = job.plan.job_name.clone();
        let control = Control::new();
        let metrics = Arc::new(Metrics::new(&job.plan));
        self.schedule_savepoints(&job);
        let restarts = Restarts::new(job.config.restart);
        let (again, spec) = self.spec(job, jobs_in_file);
        let stops = self.control.clone();
        stops.add(again.folder_name(), control.clone(), &metrics);
        self.running.push(Running {
            name: name.clone(),
            metrics: metrics.clone(),
            waits: Vec::new(),
            has_ended: false,
        });
        let (index, ends, log) = (self.running.len() - 1, self.ends.0.clone(), self.log.clone());
        self.started += 1;
        #[allow(clippy::disallowed_methods, reason = "one thread per job; joined through its end message")]
        let spawned = std::thread::Builder::new().name("job".to_owned()).spawn(move || {
            let told = Told { metrics: &metrics, log: &log, name: &name };
            let end = run_to_end(index, spec, again, restarts, control, &stops, &told);
            // The receiver lives as long as the process waits for ends.
            _ = ends.send(end);
        });
        if let Err(e) = spawned {
            self.log.error(&format!("cannot start a thread: {e}"));
            self.started -= 1;
            self.worst = Exit::Failed;
        }
    }

    /// Waits until every started job has ended, showing the status line meanwhile.
    pub(crate) fn wait(&mut self, status: &mut Status) {
        while self.started > 0 {
            match self.ends.1.recv_timeout(status.interval()) {
                Ok(end) => {
                    self.started -= 1;
                    self.worst = self.worst.max(end.exit);
                    if let Some(running) = self.running.get_mut(end.index) {
                        running.has_ended = true;
                    }
                    self.notes(status);
                    status.clear();
                    let name = self.running.get(end.index).map_or("", |r| r.name.as_str());
                    for line in self.running.get(end.index).map(|r| counter_lines(&r.metrics)).unwrap_or_default() {
                        self.log.debug(&format!("job `{name}`: {line}"));
                    }
                    match end.exit {
                        // A query has shown its rows; there is nothing to add.
                        Exit::Done if end.is_query => {}
                        Exit::Done => self.log.info(&format!("job `{name}`: {}", end.text)),
                        _ => self.log.error(&format!("job `{name}`: {}", end.text)),
                    }
                }
                Err(_) => {
                    if let Some(schedule) = &mut self.schedule
                        && let Some(said) = schedule.look(&self.control.jobs())
                    {
                        status.clear();
                        self.log.info(&said);
                    }
                    self.notes(status);
                    status.show(&self.running);
                    if self.is_stuck() {
                        status.clear();
                        self.leave_behind();
                    }
                }
            }
        }
    }

    /// Whether a stop was asked for so long ago that jobs which still run will not end.
    fn is_stuck(&mut self) -> bool {
        let asked = self.control.asked();
        if asked == 0 {
            return false;
        }
        let now = wiesel_core::env::monotonic();
        let limit = if asked == 1 { STOP_MAX } else { ABORT_MAX };
        if self.stopping.is_none_or(|(count, _)| count != asked.min(2)) {
            self.stopping = Some((asked.min(2), now));
        }
        self.stopping.is_some_and(|(_, since)| now.duration_since(since) >= limit)
    }

    fn leave_behind(&mut self) {
        for running in self.running.iter().filter(|r| !r.has_ended) {
            let standing = running
                .metrics
                .checkpoint()
                .map_or_else(|| "the one it began with, if any".to_owned(), |checkpoint| checkpoint.id.to_string());
            self.log.error(&format!(
                "job `{}`: did not stop, because it hangs in a call to the outside (does anybody read its output?); \
                 checkpoint that stands: {standing}",
                running.name
            ));
        }
        self.started = 0;
        self.worst = Exit::Failed;
    }

    /// The worst end so far.
    pub(crate) fn exit(&self) -> Exit {
        self.worst
    }

    /// Says what the jobs noted, and when one of their parts begins and ends to wait: once each, however long it takes; and once more when
    /// a system that could not be reached answers and refuses.
    fn notes(&mut self, status: &mut Status) {
        for running in &mut self.running {
            let parts = running.metrics.waiting_by_part();
            running.waits.resize(parts.len(), Wait::No);
            let mut lines: Vec<(bool, String)> =
                running.metrics.take_notes().into_iter().map(|note| (false, note)).collect();
            for (text, wait) in parts.into_iter().zip(&mut running.waits) {
                let now = Wait::of(text.as_deref());
                match (text, std::mem::replace(wait, now)) {
                    (Some(text), before) if before == Wait::No || (before, now) == (Wait::Unreachable, Wait::Other) => {
                        lines.push((true, format!("waiting, and trying again: {text}")));
                    }
                    (None, Wait::Unreachable | Wait::Other) => {
                        lines.push((false, "goes on: what it waited for is there".to_owned()));
                    }
                    _ => {}
                }
            }
            for (is_warning, line) in lines {
                status.clear();
                let line = format!("job `{}`: {line}", running.name);
                if is_warning { self.log.warn(&line) } else { self.log.info(&line) }
            }
        }
    }

    /// Finds out where the jobs of the file go on, before any of them starts. `false`: they must not start, which was said.
    pub(crate) fn find_folders<'j>(&mut self, jobs: impl Iterator<Item = &'j PlannedJob>) -> bool {
        if self.options.fresh || self.options.savepoint.is_some() {
            return true;
        }
        let mut is_allowed = self.options.allow_non_restored_state;
        let mut taken = BTreeSet::new();
        let mut loops = Vec::new();
        for job in jobs.filter(|job| job.query_schema.is_none()) {
            is_allowed |= job.config.ignore_unclaimed_state;
            if job.config.savepoint_path.is_some() {
                continue;
            }
            let own = own_folder(&mut taken, &self.root(&job.config).join(folder_name(&job.loop_name)));
            loops.push(Loop { own, sinks: sinks_of(&job.plan) });
        }
        let found = match folders::find(&loops) {
            Ok(found) => found,
            // A place that cannot be looked at is said by the job that opens it.
            Err(_) => return true,
        };
        let name =
            |folder: &Path| folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        for (own, at) in &found.places {
            self.log.info(&format!(
                "the job `{}` goes on in `{}`, where the state of its sinks lies",
                name(own),
                name(at)
            ));
        }
        self.places = found.places;
        if found.left.is_empty() {
            return true;
        }
        let text = format!("state of this pipeline would be left behind:\n{}", found.left.join("\n"));
        if is_allowed {
            self.log.warn(&text);
        } else {
            self.log.error(&format!(
                "{text}\nhint: `--allow-non-restored-state` starts without it and leaves the folders as they are; `--fresh` starts \
                 everything anew; a folder that is no longer needed can be removed"
            ));
            self.worst = Exit::Usage;
        }
        is_allowed
    }

    /// Beside which folders the folder of a job lies.
    fn root(&self, config: &JobConfig) -> PathBuf {
        match &config.checkpoint_dir {
            Some(dir) => {
                let name = self.options.state_dir.file_name().map(Path::new).unwrap_or_else(|| Path::new("job"));
                PathBuf::from(dir.strip_prefix("file://").unwrap_or(dir)).join(name)
            }
            None => self.options.state_dir.clone(),
        }
    }

    /// The specification of a job, and what it takes to make it again.
    fn spec(&mut self, job: PlannedJob, jobs_in_file: usize) -> (Again, JobSpec) {
        let workers = job.config.parallelism.unwrap_or_else(cores);
        let memory = self.options.memory_bytes / u64::try_from(jobs_in_file.max(1)).unwrap_or(1);
        let root = self.root(&job.config);
        let session = Session { time_zone: job.config.time_zone.clone(), legacy_cast: job.config.legacy_cast };
        let mut config = job.config;
        let mut spec_collector = None;
        if let Some(schema) = job.query_schema {
            // A query that is shown has nothing to resume: its rows are on the terminal already.
            config.checkpoint_interval_ms = Some(0);
            spec_collector = Some(match &self.options.totals {
                Some(totals) => totals_collector(&schema, session, totals.clone()),
                None => collector(&schema, session, job.column_width_max),
            });
        }
        let own = own_folder(&mut self.folders, &root.join(folder_name(&job.loop_name)));
        let state_dir = self.places.get(&own).cloned().unwrap_or(own);
        let savepoint = self.options.savepoint.clone().or_else(|| {
            let path = config.savepoint_path.as_deref()?;
            Some(PathBuf::from(path.strip_prefix("file://").unwrap_or(path)))
        });
        let is_query = spec_collector.is_some();
        let again = Again {
            allow_non_restored_state: self.options.allow_non_restored_state || config.ignore_unclaimed_state,
            plan: job.plan,
            config,
            registry: self.options.registry.clone(),
            newest_before: newest_checkpoint(&state_dir),
            state_dir,
            memory,
            workers,
            fresh: self.options.fresh || is_query,
            fail_points: self.options.fail_points.clone(),
            allow_duplicates: self.options.allow_duplicates,
            savepoint: savepoint.filter(|_| !is_query),
            is_query,
        };
        let mut spec = again.spec();
        spec.collector = spec_collector;
        (again, spec)
    }

    /// `wiesel.savepoint.interval`: taken together for all jobs of the process, the shortest one counts.
    fn schedule_savepoints(&mut self, job: &PlannedJob) {
        let (Some(interval), Some(dir)) = (job.config.savepoint_interval_ms, &job.config.savepoint_dir) else { return };
        let interval = Duration::from_millis(interval);
        if self.schedule.as_ref().is_none_or(|s| interval < s.interval) {
            self.schedule = Some(Schedule::new(interval, dir, &self.options.state_dir));
        }
    }
}

fn collector(schema: &wiesel_core::Schema, session: Session, width_max: usize) -> wiesel_engine::step::Collector {
    let mut tableau = Tableau::new(std::io::stdout(), schema, session, width_max);
    Box::new(move |_schema, batch| {
        let tableau = tableau.as_mut().map_err(|e| e.clone())?;
        tableau.print(&batch)
    })
}

fn totals_collector(
    schema: &wiesel_core::Schema,
    session: Session,
    mut totals: DemoTotals,
) -> wiesel_engine::step::Collector {
    totals.names = schema.fields().iter().map(|f| f.name.clone()).collect();
    let mut texts = RowTexts::new(schema, session);
    Box::new(move |_schema, batch| {
        let rows = texts.rows(&batch)?;
        totals.take(rows).map_err(|e| wiesel_core::Error::config(format!("stdout does not take rows any more: {e}")))
    })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What it takes to make a job's specification again, when it starts again after a failure.
struct Again {
    plan: StreamPlan,
    config: JobConfig,
    registry: Arc<dyn ConnectorRegistry>,
    state_dir: PathBuf,
    memory: u64,
    workers: usize,
    fresh: bool,
    fail_points: FailPoints,
    allow_non_restored_state: bool,
    allow_duplicates: bool,
    savepoint: Option<PathBuf>,
    /// The newest checkpoint before the first start: a fresh start passes over it, but not over those taken since.
    newest_before: Option<u64>,
    is_query: bool,
}

impl Again {
    fn folder_name(&self) -> String {
        self.state_dir.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    fn spec(&self) -> JobSpec {
        let mut spec = JobSpec::new(
            self.plan.clone(),
            self.config.clone(),
            self.registry.clone(),
            self.state_dir.clone(),
            self.memory,
            self.workers,
        );
        let has_own = newest_checkpoint(&self.state_dir) > self.newest_before;
        spec.fresh = self.fresh && !has_own;
        spec.savepoint = self.savepoint.clone().filter(|_| !has_own);
        spec.fail_points = self.fail_points.clone();
        spec.allow_non_restored_state = self.allow_non_restored_state;
        spec.allow_duplicates = self.allow_duplicates;
        spec
    }
}

/// The newest checkpoint of a folder; none when it cannot be looked at, which opening the job will say.
fn newest_checkpoint(state_dir: &Path) -> Option<u64> {
    checkpoint::newest(state_dir).ok().flatten()
}

/// The folder of a loop: INSERTs into one table have equal names, and are told apart by an ordinal, in the order of the file.
fn own_folder(taken: &mut BTreeSet<PathBuf>, wanted: &Path) -> PathBuf {
    let numbered = |ordinal: usize| {
        let mut name = wanted.file_name().map(ToOwned::to_owned).unwrap_or_default();
        name.push(format!("-{ordinal}"));
        wanted.with_file_name(name)
    };
    let candidates = std::iter::once(wanted.to_owned()).chain((2..).map(numbered));
    // There are fewer taken names than candidates, which never end.
    let folder = candidates.into_iter().find(|folder| !taken.contains(folder)).unwrap_or_default();
    taken.insert(folder.clone());
    folder
}

/// The tables that a plan writes, that of dead letters left out: every job of a file may write it.
fn sinks_of(plan: &StreamPlan) -> BTreeSet<String> {
    let own = plan.sinks.iter().filter(|id| !plan.is_of_dead_letters(**id));
    let table = |id: &usize| match plan.nodes.get(*id).map(|node| &node.kind) {
        Some(NodeKind::Sink(sink)) => Some(sink.table.name.clone()),
        _ => None,
    };
    own.filter_map(table).collect()
}

/// Where a job's words go.
struct Told<'a> {
    metrics: &'a Arc<Metrics>,
    log: &'a Log,
    name: &'a str,
}

/// How long a pause before a restart goes on after a stop was asked for, at most.
const STOP_LOOK: Duration = Duration::from_millis(100);

/// Runs a job, and starts it again after failures as its restart strategy says.
fn run_to_end(
    index: usize,
    mut spec: JobSpec,
    again: Again,
    mut restarts: Restarts,
    mut control: Control,
    stops: &Stops,
    told: &Told<'_>,
) -> End {
    loop {
        let began = wiesel_core::env::monotonic();
        let (end, kind) = run_one(index, spec, &control, told);
        let now = wiesel_core::env::monotonic();
        // What the user has to change is not changed by starting again.
        let may_restart = kind.is_some_and(|kind| kind != ErrorKind::Config) && !again.is_query && !stops.is_stopping();
        let pause = if may_restart { restarts.after_failure(began, now, fastrand::f64()) } else { None };
        let Some(pause) = pause else { return end };
        told.log.warn(&format!("job `{}`: {}", told.name, end.text));
        told.log.info(&format!(
            "job `{}`: starts again in {} ms, as 'restart-strategy' says",
            told.name,
            pause.as_millis()
        ));
        let waker = wiesel_core::env::Waker::default();
        while !stops.is_stopping() && wiesel_core::env::monotonic().duration_since(now) < pause {
            let left = pause.saturating_sub(wiesel_core::env::monotonic().duration_since(now));
            waker.wait(left.min(STOP_LOOK));
        }
        if stops.is_stopping() {
            return end;
        }
        control = Control::new();
        stops.add(again.folder_name(), control.clone(), told.metrics);
        spec = again.spec();
    }
}

/// Runs a job once. How it failed, if it did, comes with its end.
fn run_one(index: usize, spec: JobSpec, control: &Control, told: &Told<'_>) -> (End, Option<ErrorKind>) {
    let Told { metrics, log, name } = told;
    let is_query = spec.collector.is_some();
    let result = Job::open(spec, control, metrics).and_then(|job| {
        if !is_query {
            // What a changed plan takes over is read before it happens.
            for note in metrics.take_notes() {
                log.info(&format!("job `{name}`: {note}"));
            }
            log.info(&format!("job `{name}`: {}; writes {}", job.resume(), deliveries(metrics)));
        }
        job.run()
    });
    let failure = result.as_ref().err().map(wiesel_core::Error::kind);
    let (exit, text) = match result {
        Ok(JobEnd::Finished) => (Exit::Done, format!("finished; {}", totals(metrics))),
        Ok(JobEnd::Stopped { checkpoint: Some(id) }) => {
            (Exit::Done, format!("stopped with checkpoint {id}; the same command resumes"))
        }
        Ok(JobEnd::Stopped { checkpoint: None }) => (Exit::Done, "stopped".to_owned()),
        Ok(JobEnd::Aborted { standing }) => {
            let standing = standing.map_or_else(|| "none".to_owned(), |id| id.to_string());
            (Exit::Failed, format!("stopped at once; checkpoint that stands: {standing}"))
        }
        Err(error) => {
            let exit = match error.kind() {
                ErrorKind::Config => Exit::Usage,
                ErrorKind::Superseded => Exit::Superseded,
                _ => Exit::Failed,
            };
            let report =
                if error.kind() == ErrorKind::Internal { "\nthis is a bug of wiesel: please report it" } else { "" };
            (exit, format!("failed [{}]: {error}{report}", error.code()))
        }
    };
    (End { index, is_query, exit, text }, failure)
}

fn deliveries(metrics: &Metrics) -> String {
    let sinks: Vec<String> =
        metrics.sinks.iter().filter(|s| !s.table.is_empty()).map(|s| format!("{} ({})", s.table, s.delivery)).collect();
    sinks.join(", ")
}

fn totals(metrics: &Metrics) -> String {
    use std::sync::atomic::Ordering::Relaxed;
    let read: u64 = metrics.sources.iter().map(|s| s.rows.load(Relaxed)).sum();
    let skipped: u64 = metrics.sources.iter().map(|s| s.skipped.load(Relaxed)).sum();
    let written: u64 = metrics.sinks.iter().map(|s| s.received.load(Relaxed)).sum();
    let late = metrics.late_rows.load(Relaxed);
    let mut text = format!("{read} rows in, {written} changes out");
    if skipped > 0 {
        text.push_str(&format!(", {skipped} records skipped"));
    }
    if late > 0 {
        text.push_str(&format!(", {late} late rows dropped"));
    }
    let checkpoints = metrics.checkpoints_taken.load(Relaxed);
    if checkpoints > 0 {
        let longest_ms = metrics.longest_pause_us.load(Relaxed) as f64 / 1000.0;
        text.push_str(&format!(", {checkpoints} checkpoints, longest pause {longest_ms:.1} ms"));
    }
    text
}
