//! One planned job of a file, in its thread.
//!
//! It can be stopped with a checkpoint and started again from there, as `restore` asks; a bare SELECT too, which a run would not keep.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use wiesel_core::{Error, Result};
use wiesel_engine::{Clock, Collector, Control, Job, JobEnd, JobSpec, Metrics};
use wiesel_expr::Session;
use wiesel_expr::text::RowTexts;
use wiesel_sql::session::PlannedJob;

use crate::connector::ScriptedRegistry;
use crate::stage::{Captured, Stage};

/// How long a job may take to do what it has to do before the file fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The memory budget of a job, where state stays in memory.
pub(crate) const MEMORY_BYTES: u64 = 256 << 20;

/// A clock that stands still until the file moves it.
pub(crate) struct ScriptedClock(pub(crate) AtomicI64);

impl Clock for ScriptedClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// What all jobs of a file share.
pub(crate) struct World {
    pub(crate) stage: Arc<Stage>,
    pub(crate) registry: Arc<ScriptedRegistry>,
    pub(crate) clock: Arc<ScriptedClock>,
    /// Checkpoints lie below.
    pub(crate) folder: PathBuf,
    /// The memory budget of a job.
    pub(crate) memory_bytes: u64,
}

/// A job of the file.
pub(crate) struct FileJob {
    /// The name that the record gave.
    pub(crate) name: String,
    pub(crate) planned: PlannedJob,
    workers: usize,
    state: State,
    /// A record has looked at the failure.
    pub(crate) is_failure_known: bool,
}

/// Workers of a job that is started again with another number of them each time.
const WORKERS_MAX: usize = 3;

enum State {
    Runs { control: Control, thread: JoinHandle<Result<JobEnd>> },
    Ended(Result<JobEnd>),
}

impl FileJob {
    /// Starts a job under the given name.
    pub(crate) fn start(name: &str, planned: PlannedJob, workers: usize, world: &World) -> FileJob {
        if let Some(schema) = &planned.query_schema {
            world.stage.lock().outputs.entry(query_output(name)).or_insert_with(|| Captured {
                columns: schema.fields().iter().map(|f| f.name.clone()).collect(),
                ..Captured::default()
            });
        }
        let state = run(name, &planned, workers, world);
        FileJob { name: name.to_owned(), planned, workers, state, is_failure_known: false }
    }

    /// Waits until the job has nothing left to do, or is over.
    pub(crate) fn wait_until_quiet(&mut self) -> bool {
        let State::Runs { control, .. } = &self.state else { return true };
        let is_quiet = control.wait_until_quiet(PATIENCE);
        self.notice_end(Duration::ZERO);
        is_quiet
    }

    /// Waits until the job is over.
    pub(crate) fn wait_until_over(&mut self) -> bool {
        self.notice_end(PATIENCE)
    }

    /// Stops the job with a checkpoint and starts it again from there. A job that is over stays so.
    pub(crate) fn restore(&mut self, rescales: bool, world: &World) -> bool {
        let State::Runs { control, .. } = &self.state else { return true };
        control.stop();
        if !self.notice_end(PATIENCE) {
            return false;
        }
        if matches!(self.state, State::Ended(Ok(JobEnd::Stopped { checkpoint: Some(_) }))) {
            if rescales {
                self.workers = self.workers % WORKERS_MAX + 1;
            }
            self.state = run(&self.name, &self.planned, self.workers, world);
        }
        true
    }

    /// How the job failed, if it did.
    pub(crate) fn failure(&self) -> Option<&Error> {
        match &self.state {
            State::Ended(Err(error)) => Some(error),
            _ => None,
        }
    }

    /// Ends the job at once.
    pub(crate) fn abort(&mut self) {
        if let State::Runs { control, .. } = &self.state {
            control.abort();
        }
        self.notice_end(PATIENCE);
    }

    /// Takes the result of a job that is over; says whether it is.
    fn notice_end(&mut self, patience: Duration) -> bool {
        let is_over = match &self.state {
            State::Runs { control, .. } => control.wait_until_over(patience),
            State::Ended(_) => return true,
        };
        if is_over {
            let never = State::Ended(Err(Error::internal("a job without a result")));
            if let State::Runs { thread, .. } = std::mem::replace(&mut self.state, never) {
                let result = thread.join().unwrap_or_else(|_| Err(Error::internal("the job panicked")));
                self.state = State::Ended(result);
            }
        }
        is_over
    }
}

/// The name under which a query's rows are captured.
pub(crate) fn query_output(job: &str) -> String {
    format!("job {job}")
}

fn run(name: &str, planned: &PlannedJob, workers: usize, world: &World) -> State {
    let control = Control::new();
    let metrics = Arc::new(Metrics::new(&planned.plan));
    let spec = spec(name, planned, workers, world);
    let job = match Job::open(spec, &control, &metrics) {
        Ok(job) => job,
        Err(error) => return State::Ended(Err(error)),
    };
    #[allow(clippy::disallowed_methods, reason = "one thread per job, joined when the job is over")]
    let spawned = std::thread::Builder::new().name(format!("job-{name}")).spawn(move || job.run());
    match spawned {
        Ok(thread) => State::Runs { control, thread },
        Err(e) => State::Ended(Err(Error::unavailable(format!("the system refused a thread: {e}")))),
    }
}

fn spec(name: &str, planned: &PlannedJob, workers: usize, world: &World) -> JobSpec {
    let mut config = planned.config.clone();
    // Checkpoints are taken by `restore` alone.
    config.checkpoint_interval_ms = Some(0);
    let session = Session { time_zone: config.time_zone.clone(), legacy_cast: config.legacy_cast };
    let folder = world.folder.join(folder_name(name)).join(folder_name(&planned.loop_name));
    let registry = Arc::clone(&world.registry) as _;
    let mut spec = JobSpec::new(planned.plan.clone(), config, registry, folder, world.memory_bytes, workers);
    spec.clock = Arc::clone(&world.clock) as _;
    if let Some(schema) = &planned.query_schema {
        spec.collector = Some(collector(name, RowTexts::new(schema, session), &world.stage));
        spec.keeps_query = true;
    }
    spec
}

fn collector(name: &str, mut texts: RowTexts, stage: &Arc<Stage>) -> Collector {
    let (output, stage) = (query_output(name), Arc::clone(stage));
    Box::new(move |_schema, batch| {
        let mut rows = texts.rows(&batch)?;
        if let Some(captured) = stage.lock().outputs.get_mut(&output) {
            captured.rows.append(&mut rows);
        }
        Ok(())
    })
}

fn folder_name(name: &str) -> PathBuf {
    let safe: String =
        name.chars().map(|c| if c.is_alphanumeric() || c == '_' || c == '-' { c } else { '_' }).collect();
    Path::new(&safe).to_owned()
}
