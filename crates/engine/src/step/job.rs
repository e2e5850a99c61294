//! A job: what it is given, how it is opened (lock, recovery, connectors), and how it ends. The loop itself is in `running`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wiesel_core::sink::{SinkFactory, SinkParallelism};
use wiesel_core::source::SourceFactory;
use wiesel_core::table::{ConnectorRegistry, SinkRequest, SourceRequest};
use wiesel_core::{Error, ErrorKind, Result};
use wiesel_plan::{JobConfig, NodeKind, StreamPlan};

use super::assemble::prepare_sinks;
use super::claim;
use super::control::{Clock, Control, FailPoints, SystemClock};
use super::graph::Graph;
use super::metrics::Metrics;
use super::room::restore_bytes_max;
use super::running::Running;
use super::worker::{Collector, panic_text};
use crate::checkpoint::Resume;
use crate::checkpoint::folder::Folder;
use crate::checkpoint::identity;
use crate::checkpoint::recovery::{self, Expectation, Recovered};
use crate::checkpoint::storage;

/// Everything a job needs to run.
pub struct JobSpec {
    /// What to compute.
    pub plan: StreamPlan,
    /// The settings of the file.
    pub config: JobConfig,
    /// Makes sources and sinks.
    pub registry: Arc<dyn ConnectorRegistry>,
    /// Where manifests and state lie; this job's own folder.
    pub state_dir: PathBuf,
    /// Start anew although there is a checkpoint.
    pub fresh: bool,
    /// Go on even where rows of an exactly-once sink may then be written twice.
    pub allow_duplicates: bool,
    /// The memory budget of this job.
    pub memory_bytes: u64,
    /// Worker threads; at least 1.
    pub workers: usize,
    /// Receives the rows of a bare SELECT.
    pub collector: Option<Collector>,
    /// Keep checkpoints of a bare SELECT too, although what it showed cannot be taken back.
    pub keeps_query: bool,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Where to die, for tests.
    pub fail_points: FailPoints,
    /// Drop state that has no place in the plan, instead of refusing the plan.
    pub allow_non_restored_state: bool,
    /// The savepoint to begin with.
    pub savepoint: Option<PathBuf>,
}

impl JobSpec {
    /// A specification with the machine's clock, a fresh or resumed start as the folder says, and no collector.
    pub fn new(
        plan: StreamPlan,
        config: JobConfig,
        registry: Arc<dyn ConnectorRegistry>,
        state_dir: PathBuf,
        memory_bytes: u64,
        workers: usize,
    ) -> Self {
        JobSpec {
            plan,
            config,
            registry,
            state_dir,
            fresh: false,
            allow_duplicates: false,
            memory_bytes,
            workers,
            collector: None,
            keeps_query: false,
            clock: Arc::new(SystemClock),
            fail_points: FailPoints::default(),
            allow_non_restored_state: false,
            savepoint: None,
        }
    }
}

/// How a job ended without an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEnd {
    /// The input ended, everything was emitted, flushed and committed.
    Finished,
    /// Stopped on request with a checkpoint; `None` when there was nothing to checkpoint yet.
    Stopped {
        /// The checkpoint that a restart resumes from.
        checkpoint: Option<u64>,
    },
    /// Ended at once: asked twice, or the stop took too long. Nothing is lost; a restart resumes from the checkpoint that stands.
    Aborted {
        /// The last durable checkpoint.
        standing: Option<u64>,
    },
}

/// Opens and runs a job in one call.
pub fn run(spec: JobSpec, control: &Control, metrics: &Arc<Metrics>) -> Result<JobEnd> {
    Job::open(spec, control, metrics)?.run()
}

/// A job that is ready to run.
pub struct Job {
    pub(super) spec: JobSpec,
    pub(super) control: Control,
    pub(super) metrics: Arc<Metrics>,
    pub(super) sinks: Vec<Option<Arc<dyn SinkFactory>>>,
    pub(super) sources: Vec<Option<Arc<dyn SourceFactory>>>,
    pub(super) graph: Graph,
    pub(super) ids: Vec<String>,
    /// `None` for a query that is shown: nothing is kept for it.
    pub(super) folder: Option<Folder>,
    pub(super) recovered: Recovered,
}

impl Job {
    /// Makes the connectors (their options are checked, nothing is connected yet), compiles the plan, takes the lock of the state folder
    /// and decides what the run begins with.
    pub fn open(mut spec: JobSpec, control: &Control, metrics: &Arc<Metrics>) -> Result<Job> {
        spec.workers = spec.workers.max(1);
        let sinks = sink_factories(&spec)?;
        let parallelism: Vec<SinkParallelism> =
            sinks.iter().map(|s| s.as_ref().map_or(SinkParallelism::One, |s| s.parallelism())).collect();
        let graph = Graph::compile(&spec.plan, spec.workers, &parallelism);
        let sources = source_factories(&spec, &graph)?;
        let ids = identity::operator_ids(&spec.plan);
        let is_shown = !spec.keeps_query && spec.plan.nodes.iter().any(|n| matches!(n.kind, NodeKind::Collect));
        let (folder, recovered) = if is_shown {
            (None, Recovered::nothing(Resume::NotKept))
        } else {
            let folder = Folder::open(&spec.state_dir, spec.fail_points.clone())?;
            let recovered = recover(&spec, &folder, &ids, &sinks)?;
            (Some(folder), recovered)
        };
        recovered.notes.iter().for_each(|note| metrics.note(note.clone()));
        let (control, metrics) = (control.clone(), Arc::clone(metrics));
        Ok(Job { spec, control, metrics, sinks, sources, graph, ids, folder, recovered })
    }

    /// What the run begins with.
    pub fn resume(&self) -> &Resume {
        &self.recovered.resume
    }

    /// Runs until the end.
    pub fn run(self) -> Result<JobEnd> {
        let control = self.control.clone();
        let standing = self.recovered.manifest.as_ref().map(|m| m.id);
        if let Resume::Completes { .. } = self.recovered.resume {
            let Job { spec, metrics, sinks, ids, folder, recovered, .. } = &self;
            return match prepare_sinks(spec, &control, metrics, sinks, ids, folder.as_ref(), recovered) {
                Err(error) if error.kind() == ErrorKind::Unavailable && control.is_stopping() => {
                    Ok(JobEnd::Stopped { checkpoint: standing })
                }
                end => end.map(|()| JobEnd::Finished),
            };
        }
        let _over = Over(control.clone());
        let mut running = match Running::start(self) {
            Ok(running) => running,
            // Told to stop while a system was away: nothing has begun.
            Err(error) if error.kind() == ErrorKind::Unavailable && control.is_stopping() => {
                return Ok(JobEnd::Stopped { checkpoint: standing });
            }
            Err(error) => return Err(error),
        };
        // A panic between two steps leaves all workers at their meeting point, so the job can still end as with any other error.
        let end = catch_unwind(AssertUnwindSafe(|| running.run_to_end()));
        running.shut_down();
        end.unwrap_or_else(|panic| Err(Error::internal(format!("the loop panicked: {}", panic_text(panic.as_ref())))))
    }
}

/// Tells whoever waits for the job that it is over, however it ends.
struct Over(Control);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.is_over();
    }
}

fn recover(
    spec: &JobSpec,
    folder: &Folder,
    ids: &[String],
    sinks: &[Option<Arc<dyn SinkFactory>>],
) -> Result<Recovered> {
    let expected = Expectation {
        operators: &identity::operators(&spec.plan, ids),
        exactly_once: &claim::without_record(&spec.plan, sinks),
        fresh: spec.fresh,
        allow_non_restored_state: spec.allow_non_restored_state,
        allow_duplicates: spec.allow_duplicates,
        savepoint: spec.savepoint.as_deref(),
        now_ms: spec.clock.now_ms(),
        state_bytes_max: restore_bytes_max(spec.memory_bytes),
    };
    recovery::recover(folder, &expected)
}

fn sink_factories(spec: &JobSpec) -> Result<Vec<Option<Arc<dyn SinkFactory>>>> {
    // The same text from whichever directory the program is started.
    let loop_folder = storage::absolute(&spec.state_dir).display().to_string();
    let run_key = claim::run_key(Path::new(&loop_folder));
    let factory = |(&id, ordinal): (&usize, usize)| {
        let node = &spec.plan.nodes[id];
        let NodeKind::Sink(sink) = &node.kind else { return Ok(None) };
        let request = SinkRequest {
            columns: sink.columns.clone(),
            changelog_mode: spec.plan.nodes[node.inputs[0]].changelog_mode,
            time_zone: spec.config.time_zone.to_string(),
            workers: spec.workers,
            job_name: spec.plan.job_name.clone(),
            loop_folder: loop_folder.clone(),
            checkpoint_interval_is_set: spec.config.checkpoint_interval_ms.is_some(),
            run_key: run_key.clone(),
            hands_over_refused: spec.plan.dead_letters.is_some() && !spec.plan.is_of_dead_letters(id),
            ordinal,
            overwrite: sink.overwrite,
        };
        let factory: Arc<dyn SinkFactory> = Arc::from(spec.registry.sink(&sink.table, &request)?);
        if factory.keeps_record() && storage::is_remote(&spec.state_dir) {
            return Err(Error::config(format!(
                "the exactly-once sink `{}` keeps its rows until their commit in the state folder, and `{loop_folder}` is an object store",
                sink.table.name
            ))
            .hint("give the job a state folder on a disk, or leave the sink its default delivery"));
        }
        Ok(Some(factory))
    };
    spec.plan.sinks.iter().zip(claim::ordinals(&spec.plan)).map(factory).collect()
}

fn source_factories(spec: &JobSpec, graph: &Graph) -> Result<Vec<Option<Arc<dyn SourceFactory>>>> {
    let factory = |&place: &usize| {
        let NodeKind::Source(source) = &spec.plan.nodes[graph.nodes[place].plan_node].kind else { return Ok(None) };
        let request = SourceRequest {
            columns: source.columns.clone(),
            time_zone: spec.config.time_zone.to_string(),
            workers: spec.workers,
            job_name: spec.plan.job_name.clone(),
        };
        Ok(Some(Arc::from(spec.registry.source(&source.table, &request)?)))
    };
    graph.sources.iter().map(factory).collect()
}
