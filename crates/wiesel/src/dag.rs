//! A workflow: steps that are pipelines, and which of them wait for which.
//!
//! Every step is a process of its own, `wiesel pipeline ...`, so that one that is killed takes nothing with it. A step whose sources end
//! is done when it ends; an endless one when its first checkpoint is complete, and its dependants then run beside it. `max_workers`
//! bounds the steps that are on their way to that point. What is done is kept in `steps.json` of the workflow's state folder until all of
//! it is, so that running a workflow again does only what is left.
//!
//! A step holds the reading end of a pipe as its stdin: when this process is gone, whatever ended it, the step stops with a checkpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wiesel_core::diagnostic::nearest;
use wiesel_core::env::{Waker, monotonic};

use crate::cli::{Exit, folder_name};
use crate::door::{self, Request};
use crate::jobs::Stops;
use crate::log::Log;
use crate::pipeline::Pipeline;
use crate::variables::read;

/// Steps of one workflow.
const STEPS_MAX: usize = 1000;
/// How often the steps are looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long a step may take to say whether it is ready.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// A workflow file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Workflow {
    /// How many steps are on their way at once; all that can, when it is not said.
    max_workers: Option<usize>,
    steps: Vec<Step>,
}

/// A step of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    name: String,
    pipeline: String,
    #[serde(default)]
    params: BTreeMap<String, String>,
    #[serde(default)]
    depends_on: Vec<String>,
}

impl Step {
    fn values(&self) -> Vec<(String, String)> {
        self.params.clone().into_iter().collect()
    }

    /// What it did, for telling whether that is what is asked for now.
    fn work(&self) -> String {
        let params: Vec<String> = self.params.iter().map(|(k, v)| format!("{k}={v}")).collect();
        format!("{} {}", self.pipeline, params.join(" "))
    }
}

impl Workflow {
    /// Reads a file and finds everything that is wrong with it.
    pub(crate) fn read(path: &Path, env_files: &[PathBuf]) -> Result<Workflow, String> {
        let text = read(path).map_err(|e| format!("cannot read `{}`: {e}", path.display()))?;
        let workflow: Workflow = serde_saphyr::from_str(&text).map_err(|e| format!("`{}`: {e}", path.display()))?;
        let problems = workflow.problems(env_files);
        if problems.is_empty() {
            return Ok(workflow);
        }
        let told: Vec<String> = problems.iter().map(|p| format!("`{}`, {p}", path.display())).collect();
        Err(told.join("\n"))
    }

    fn problems(&self, env_files: &[PathBuf]) -> Vec<String> {
        let mut problems = Vec::new();
        if self.steps.is_empty() || self.steps.len() > STEPS_MAX {
            problems.push(format!("steps: expected 1 to {STEPS_MAX}, found {}", self.steps.len()));
        }
        if self.max_workers == Some(0) {
            problems.push("max_workers: expected at least 1, found 0".to_owned());
        }
        let names: BTreeSet<&str> = self.steps.iter().map(|s| s.name.as_str()).collect();
        for (index, step) in self.steps.iter().enumerate() {
            let name = &step.name;
            if name.is_empty() {
                problems.push(format!("step {} has no name", index + 1));
            }
            if self.steps[..index].iter().any(|earlier| earlier.name == *name) {
                problems.push(format!("step `{name}` is there twice"));
            }
            for wanted in step.depends_on.iter().filter(|wanted| !names.contains(wanted.as_str())) {
                let near = nearest(wanted, names.iter().copied());
                let near = near.map_or_else(String::new, |near| format!("\nhint: did you mean `{near}`?"));
                problems.push(format!("step `{name}` depends on `{wanted}`, which is no step{near}"));
            }
            let resolved = Pipeline::find(&step.pipeline)
                .map_err(|problem| vec![problem])
                .and_then(|pipeline| pipeline.resolve(&step.values(), env_files, None));
            for problem in resolved.err().into_iter().flatten() {
                problems.push(format!("step `{name}`: {problem}"));
            }
        }
        problems.extend(self.cycle().map(|cycle| format!("steps wait for each other: {}", cycle.join(" -> "))));
        problems
    }

    /// A circle of steps that wait for each other, if there is one.
    fn cycle(&self) -> Option<Vec<&str>> {
        let mut left: BTreeMap<&str, &Step> = self.steps.iter().map(|s| (s.name.as_str(), s)).collect();
        loop {
            let free: Vec<&str> = left
                .iter()
                .filter(|(_, step)| !step.depends_on.iter().any(|wanted| left.contains_key(wanted.as_str())))
                .map(|(name, _)| *name)
                .collect();
            if free.is_empty() {
                break;
            }
            for name in free {
                left.remove(name);
            }
        }
        // Everything left waits for something left: following that comes back to where it was.
        let mut path: Vec<&str> = vec![left.keys().next()?];
        loop {
            let step = left.get(path.last()?)?;
            let next = step.depends_on.iter().find(|wanted| left.contains_key(wanted.as_str()))?;
            if let Some(at) = path.iter().position(|seen| seen == next) {
                path.push(next);
                return Some(path.split_off(at));
            }
            path.push(next);
        }
    }
}

/// How the steps of a workflow are started.
pub(crate) struct Settings<'a> {
    /// The state folder of the workflow.
    pub(crate) state: PathBuf,
    /// Begin anew, whatever is done already.
    pub(crate) fresh: bool,
    /// Handed on to every step.
    pub(crate) arguments: Vec<String>,
    /// Where what happens is said.
    pub(crate) log: &'a Arc<Log>,
}

enum Stage {
    Waiting,
    /// Its process runs; for an endless step, until the first checkpoint.
    Starting(Running),
    /// Endless, and its first checkpoint is complete.
    Ready(Running),
    Done,
    Failed,
    /// A step it waits for failed, or everything was stopped before its turn.
    NotStarted,
}

struct Running {
    child: Child,
    began: Instant,
    /// A stop was asked for.
    is_stopping: bool,
}

/// What is done of a workflow, as it is kept.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    /// Steps that ended well, and what they did.
    done: BTreeMap<String, String>,
}

/// Runs a workflow to its end.
pub(crate) fn run(workflow: &Workflow, settings: &Settings<'_>) -> Exit {
    match Runner::open(workflow, settings) {
        Ok(runner) => runner.run(),
        Err(e) => {
            settings.log.error(&e);
            Exit::Failed
        }
    }
}

struct Runner<'a> {
    workflow: &'a Workflow,
    settings: &'a Settings<'a>,
    stages: Vec<Stage>,
    record: Record,
    stops: Stops,
    is_stopping: bool,
    has_failed: bool,
    /// Held as long as the workflow runs.
    _lock: File,
}

impl<'a> Runner<'a> {
    fn open(workflow: &'a Workflow, settings: &'a Settings<'a>) -> Result<Runner<'a>, String> {
        let state = &settings.state;
        let fail = |e: std::io::Error| format!("cannot use `{}`: {e}", state.display());
        if wiesel_objects::ObjectUrl::is_path(state) {
            return Err(format!(
                "`{}`: a workflow keeps what it has done on a disk; its jobs may have their checkpoints in an object store \
                 (SET 'execution.checkpointing.dir')",
                state.display()
            ));
        }
        std::fs::create_dir_all(state).map_err(fail)?;
        let lock = lock(&state.join("lock"))?;
        let kept = state.join("steps.json");
        let record = if kept.is_file() && !settings.fresh {
            let bytes = std::fs::read(&kept).map_err(fail)?;
            serde_json::from_slice(&bytes)
                .map_err(|e| format!("`{}`: {e}\nhint: --fresh begins anew", kept.display()))?
        } else {
            Record::default()
        };
        let stops = Stops::default();
        stops.listen(settings.log).map_err(fail)?;
        let stages = workflow.steps.iter().map(|_| Stage::Waiting).collect();
        Ok(Runner { workflow, settings, stages, record, stops, is_stopping: false, has_failed: false, _lock: lock })
    }

    fn run(mut self) -> Exit {
        for index in 0..self.stages.len() {
            let step = &self.workflow.steps[index];
            if self.record.done.get(&step.name) == Some(&step.work()) {
                self.stages[index] = Stage::Done;
                self.say(index, "done before");
            }
        }
        let waker = Waker::default();
        loop {
            self.look();
            if self.stops.is_stopping() {
                self.stop_all();
            } else {
                self.start_what_can();
            }
            if !self.stages.iter().any(|s| matches!(s, Stage::Starting(_) | Stage::Ready(_))) {
                break;
            }
            waker.wait(LOOK);
        }
        self.end()
    }

    fn say(&self, index: usize, what: &str) {
        self.settings.log.info(&format!("step `{}`: {what}", self.workflow.steps[index].name));
    }

    /// Takes note of what ended and what became ready.
    fn look(&mut self) {
        for index in 0..self.stages.len() {
            let stage = std::mem::replace(&mut self.stages[index], Stage::Waiting);
            self.stages[index] = match stage {
                Stage::Starting(running) => self.look_at(index, running, false),
                Stage::Ready(running) => self.look_at(index, running, true),
                other => other,
            };
        }
    }

    fn look_at(&mut self, index: usize, mut running: Running, was_ready: bool) -> Stage {
        let seconds = monotonic().duration_since(running.began).as_secs_f64();
        match running.child.try_wait() {
            Ok(Some(status)) if status.success() => {
                if running.is_stopping || self.is_stopping {
                    self.say(index, &format!("stopped with a checkpoint after {seconds:.1} s"));
                    return Stage::NotStarted;
                }
                self.say(index, &format!("done after {seconds:.1} s"));
                let step = &self.workflow.steps[index];
                self.record.done.insert(step.name.clone(), step.work());
                self.keep();
                Stage::Done
            }
            Ok(Some(status)) => {
                self.fail(index, &format!("failed after {seconds:.1} s ({status})"));
                Stage::Failed
            }
            Ok(None) if !was_ready && is_ready(running.child.id()) => {
                self.say(index, &format!("runs, first checkpoint complete after {seconds:.1} s"));
                Stage::Ready(running)
            }
            Ok(None) if was_ready => Stage::Ready(running),
            Ok(None) => Stage::Starting(running),
            Err(e) => {
                self.fail(index, &format!("was lost: {e}"));
                Stage::Failed
            }
        }
    }

    fn fail(&mut self, index: usize, what: &str) {
        self.has_failed = true;
        let name = &self.workflow.steps[index].name;
        self.settings.log.error(&format!("step `{name}`: {what}; see `{}`", self.log_file(name).display()));
    }

    fn log_file(&self, step: &str) -> PathBuf {
        self.settings.state.join(format!("{}.log", folder_name(step)))
    }

    /// Starts steps whose turn it is; those behind a failed one will not be started, or are stopped.
    fn start_what_can(&mut self) {
        let most = self.workflow.max_workers.unwrap_or(STEPS_MAX);
        // What a failure reaches may lie any number of steps behind it, in any order of the file.
        let mut changed = true;
        while changed {
            changed = false;
            for index in 0..self.stages.len() {
                if let Some(name) = self.failed_before(index) {
                    changed |= self.give_up(index, &name);
                } else if matches!(self.stages[index], Stage::Waiting) && self.is_free(index) {
                    let on_their_way = self.stages.iter().filter(|s| matches!(s, Stage::Starting(_))).count();
                    if on_their_way < most {
                        self.stages[index] = self.start(index);
                        changed = true;
                    }
                }
            }
        }
    }

    fn stage_of(&self, name: &str) -> Option<&Stage> {
        let index = self.workflow.steps.iter().position(|s| s.name == name)?;
        self.stages.get(index)
    }

    fn failed_before(&self, index: usize) -> Option<String> {
        let is_lost = |name: &&String| matches!(self.stage_of(name), Some(Stage::Failed | Stage::NotStarted));
        self.workflow.steps[index].depends_on.iter().find(is_lost).cloned()
    }

    fn is_free(&self, index: usize) -> bool {
        let is_done = |name: &String| matches!(self.stage_of(name), Some(Stage::Done | Stage::Ready(_)));
        self.workflow.steps[index].depends_on.iter().all(is_done)
    }

    /// Whether this changed anything.
    fn give_up(&mut self, index: usize, because: &str) -> bool {
        match &mut self.stages[index] {
            Stage::Waiting => {
                self.stages[index] = Stage::NotStarted;
                self.say(index, &format!("not started, because of `{because}`"));
                true
            }
            Stage::Starting(running) | Stage::Ready(running) if !running.is_stopping => {
                stop(running);
                self.say(index, &format!("stops, because of `{because}`"));
                true
            }
            _ => false,
        }
    }

    fn stop_all(&mut self) {
        self.is_stopping = true;
        let at_once = self.stops.asked() > 1;
        for stage in &mut self.stages {
            match stage {
                Stage::Waiting => *stage = Stage::NotStarted,
                Stage::Starting(running) | Stage::Ready(running) => {
                    stop(running);
                    if at_once {
                        // One that has ended meanwhile cannot be killed, and needs not.
                        _ = running.child.kill();
                    }
                }
                _ => {}
            }
        }
    }

    fn start(&mut self, index: usize) -> Stage {
        match self.spawn(index) {
            Ok(child) => {
                self.say(index, &format!("started as process {}", child.id()));
                Stage::Starting(Running { child, began: monotonic(), is_stopping: false })
            }
            Err(e) => {
                self.fail(index, &format!("did not start: {e}"));
                Stage::Failed
            }
        }
    }

    fn spawn(&self, index: usize) -> std::io::Result<Child> {
        let step = &self.workflow.steps[index];
        let log_file = self.log_file(&step.name);
        let out = File::options().create(true).append(true).open(&log_file)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("pipeline").arg(&step.pipeline);
        command.args(step.values().iter().map(|(k, v)| format!("{k}={v}")));
        command.args(["--is-step", "--as", &step.name, "--state"]).arg(&self.settings.state);
        command.arg("--log-file").arg(&log_file).args(&self.settings.arguments);
        // A group of its own: Ctrl-C is meant for this process, which then stops its steps in turn.
        command.stdin(Stdio::piped()).stdout(out.try_clone()?).stderr(out).process_group(0).spawn()
    }

    /// Keeps what is done; nothing is kept of a workflow that is done as a whole.
    fn keep(&self) {
        let file = self.settings.state.join("steps.json");
        let is_whole = self.stages.iter().all(|s| matches!(s, Stage::Done));
        let result = if is_whole {
            match std::fs::remove_file(&file) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
                _ => Ok(()),
            }
        } else {
            write_whole(&file, &serde_json::to_vec(&self.record).unwrap_or_default())
        };
        if let Err(e) = result {
            self.settings.log.warn(&format!("cannot keep what is done in `{}`: {e}", file.display()));
        }
    }

    fn end(self) -> Exit {
        self.keep();
        let count = |wanted: fn(&Stage) -> bool| self.stages.iter().filter(|s| wanted(s)).count();
        let done = count(|s| matches!(s, Stage::Done));
        let failed = count(|s| matches!(s, Stage::Failed));
        let rest = self.stages.len() - done - failed;
        self.settings.log.info(&format!(
            "{} steps: {done} done, {failed} failed, {rest} stopped or not started{}",
            self.stages.len(),
            if failed + rest > 0 { "; the same command does what is left" } else { "" }
        ));
        if self.has_failed { Exit::Failed } else { Exit::Done }
    }
}

/// Asks a step to stop with a checkpoint: its stdin ends.
fn stop(running: &mut Running) {
    running.is_stopping = true;
    drop(running.child.stdin.take());
}

/// Whether an endless step has its first checkpoint. A step with an end is ready when it has ended.
fn is_ready(pid: u32) -> bool {
    let Ok(Some(process)) = door::process(pid) else { return false };
    process.is_endless && door::ask(&process, &Request::Ready, ANSWER_WAIT).is_ok_and(|(answer, _)| answer.is_ready)
}

/// The lock of a workflow, which names the process that holds it.
fn lock(path: &Path) -> Result<File, String> {
    let fail = |e: std::io::Error| format!("cannot use `{}`: {e}", path.display());
    let mut file = File::options().create(true).truncate(false).read(true).write(true).open(path).map_err(fail)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            _ = file.read_to_string(&mut pid);
            return Err(format!("process {} runs this workflow already (`{}`)", pid.trim(), path.display()));
        }
        Err(TryLockError::Error(e)) => return Err(fail(e)),
    }
    file.set_len(0).map_err(fail)?;
    writeln!(file, "{}", std::process::id()).map_err(fail)?;
    Ok(file)
}

/// Writes a file so that it is there as a whole or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A step and what it depends on.
    type Named<'a> = (&'a str, &'a [&'a str]);

    fn workflow(steps: &[Named<'_>]) -> Workflow {
        let step = |(name, depends_on): &Named<'_>| Step {
            name: (*name).to_owned(),
            pipeline: "data_transformer".to_owned(),
            params: BTreeMap::new(),
            depends_on: depends_on.iter().map(|s| (*s).to_owned()).collect(),
        };
        Workflow { max_workers: None, steps: steps.iter().map(step).collect() }
    }

    #[test]
    fn circles_and_unknown_steps_are_named() {
        let cases: [(&[Named<'_>], &[&str]); 4] = [
            (&[("a", &[]), ("b", &["a"]), ("c", &["a", "b"])], &[]),
            (
                &[("a", &["c"]), ("b", &["a"]), ("c", &["b"]), ("d", &[])],
                &["steps wait for each other: a -> c -> b -> a"],
            ),
            (&[("a", &["a"])], &["steps wait for each other: a -> a"]),
            (
                &[("load", &["extrakt"]), ("extract", &[]), ("load", &[])],
                &[
                    "step `load` depends on `extrakt`, which is no step\nhint: did you mean `extract`?",
                    "step `load` is there twice",
                ],
            ),
        ];
        for (steps, expected) in cases {
            assert_eq!(workflow(steps).problems(&[]), expected);
        }
    }

    #[test]
    fn a_workflow_is_read_as_the_original_writes_it() {
        let text = "max_workers: 2\nsteps:\n  - name: extract_data\n    pipeline: kafka_extractor\n    params:\n      topic: raw_events\n      checkpoint_interval: 5\n  - name: load_data\n    pipeline: parquet_loader\n    depends_on: [extract_data]\n";
        let workflow: Workflow = serde_saphyr::from_str(text).unwrap();
        assert_eq!((workflow.max_workers, workflow.steps.len()), (Some(2), 2));
        assert_eq!(workflow.steps[0].params["checkpoint_interval"], "5");
        assert_eq!(workflow.steps[1].depends_on, ["extract_data"]);
    }
}
