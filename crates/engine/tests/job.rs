//! Whole jobs against a scripted outside: order, ends, checkpoints, recovery, failures.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod support;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use support::*;
use wiesel_core::error::ErrorKind;
use wiesel_engine::{CheckpointKind, Control, Job, JobEnd, JobSpec, Metrics, Resume, list};
use wiesel_plan::{NodeKind, StreamPlan};

fn rows(range: std::ops::Range<i64>) -> Vec<Row> {
    range.map(|n| (n, n % 7, n * 10)).collect()
}

fn row_texts(range: std::ops::Range<i64>) -> Vec<String> {
    rows(range).iter().map(|(id, v, ts)| format!("+I {id} {v} {ts}")).collect()
}

/// SELECT * FROM t, into `out`.
fn copy_plan(script: &Script) -> StreamPlan {
    let mut builder = PlanBuilder::new();
    let source = builder.source(script, "t");
    let calc = builder.project(source, &[0, 1, 2]);
    builder.sink(script, "out", calc, &[]);
    builder.plan
}

#[test]
fn a_bounded_job_delivers_every_row_of_a_split_in_order_with_any_number_of_workers() {
    for workers in [1, 2, 3] {
        let polls = (0..40).map(|n| rows(n * 1_000..(n + 1) * 1_000)).collect();
        let script = script(bounded(polls), exactly_once());
        let plan = copy_plan(&script);
        let dir = tempfile::tempdir().unwrap();
        let job = start(spec(&plan, &script, dir.path(), workers));
        let metrics = Arc::clone(&job.metrics);
        assert_eq!(job.end().unwrap(), JobEnd::Finished);
        script.sinks["out"].visible.change(|v| assert_eq!(*v, row_texts(0..40_000), "{workers} workers"));
        assert_eq!(metrics.sources[0].fetched.load(Relaxed), 40_000);
        assert_eq!(metrics.sources[0].rows.load(Relaxed), 40_000);
        assert_eq!(metrics.sinks[0].received.load(Relaxed), 40_000);
    }
}

#[test]
fn a_stopped_job_goes_on_where_it_stopped_wherever_that_was() {
    for workers in [1, 2] {
        for cut in [1_usize, 2, 3] {
            let mut source = bounded((0..4).map(|n| rows(n * 10..(n + 1) * 10)).collect());
            source.events.insert(cut, Event::Gate(1));
            let script = script(source, exactly_once());
            let plan = copy_plan(&script);
            let dir = tempfile::tempdir().unwrap();
            let job = start(spec(&plan, &script, dir.path(), workers));
            script.sinks["out"].written.wait("rows before the gate", |w| w.len() == cut * 10);
            job.control.stop();
            assert_eq!(job.end().unwrap(), JobEnd::Stopped { checkpoint: Some(1) });
            let before = i64::try_from(cut * 10).unwrap();
            script.sinks["out"].visible.change(|v| assert_eq!(*v, row_texts(0..before)));

            script.sources["t"].gate.change(|g| *g = 1);
            let job = start(spec(&plan, &script, dir.path(), 3 - workers));
            assert_eq!(job.end().unwrap(), JobEnd::Finished);
            script.sinks["out"].visible.change(|v| assert_eq!(*v, row_texts(0..40)));
            let kinds: Vec<_> = list(dir.path()).unwrap().iter().map(|c| c.kind.unwrap()).collect();
            assert_eq!(kinds, [CheckpointKind::Stop, CheckpointKind::Final]);
        }
    }
}

#[test]
fn a_killed_job_repeats_what_no_checkpoint_holds_and_shows_nothing_twice() {
    let mut source = bounded((0..4).map(|n| rows(n * 10..(n + 1) * 10)).collect());
    source.events.insert(2, Event::Gate(1));
    source.events.insert(4, Event::Gate(2));
    let script = script(source, exactly_once());
    let plan = copy_plan(&script);
    let dir = tempfile::tempdir().unwrap();
    let job = start(spec(&plan, &script, dir.path(), 1));
    script.sinks["out"].written.wait("rows before the first gate", |w| w.len() == 20);
    job.set_time(1_001_000);
    script.sources["t"].completed.wait("the first checkpoint", |c| *c == [vec![(0, 20)]]);
    script.sinks["out"].visible.change(|v| assert_eq!(*v, row_texts(0..20)));
    script.sources["t"].gate.change(|g| *g = 1);
    script.sinks["out"].written.wait("rows before the second gate", |w| w.len() == 30);
    job.control.abort();
    assert_eq!(job.end().unwrap(), JobEnd::Aborted { standing: Some(1) });

    script.sources["t"].gate.change(|g| *g = 2);
    let job = start(spec(&plan, &script, dir.path(), 1));
    assert_eq!(job.end().unwrap(), JobEnd::Finished);
    script.sinks["out"].visible.change(|v| assert_eq!(*v, row_texts(0..40)));
    script.sinks["out"].written.change(|w| assert_eq!(w.len(), 50, "ten rows were read again"));
}

#[test]
fn a_finished_job_starts_anew_and_a_changed_plan_without_state_goes_on_where_its_source_stood() {
    let mut source = bounded(vec![rows(0..10)]);
    source.events.insert(1, Event::Gate(1));
    let script = script(source, exactly_once());
    let plan = copy_plan(&script);
    let dir = tempfile::tempdir().unwrap();
    let job = start(spec(&plan, &script, dir.path(), 1));
    script.sinks["out"].written.wait("the rows", |w| w.len() == 10);
    job.control.stop();
    job.end().unwrap();

    let mut changed = PlanBuilder::new();
    let source = changed.source(&script, "t");
    let calc = changed.project(source, &[1, 0, 2]);
    changed.sink(&script, "out", calc, &[]);
    let (control, metrics) = (Control::new(), Arc::new(Metrics::new(&changed.plan)));
    let taken_over = Job::open(spec(&changed.plan, &script, dir.path(), 1), &control, &metrics).unwrap();
    assert!(matches!(taken_over.resume(), Resume::Resumed { checkpoint: 1, .. }), "{}", taken_over.resume());
    let notes = metrics.take_notes();
    assert!(notes.iter().any(|n| n.contains("keep     node 0: positions of 1 split")), "{notes:?}");
    drop(taken_over);
    let mut fresh = spec(&changed.plan, &script, dir.path(), 1);
    fresh.fresh = true;
    let job = Job::open(fresh, &control, &metrics).unwrap();
    assert_eq!(*job.resume(), Resume::FreshOnRequest { checkpoint: 1 });
    drop(job);

    script.sources["t"].gate.change(|g| *g = 1);
    start(spec(&plan, &script, dir.path(), 1)).end().unwrap();
    let job = Job::open(spec(&plan, &script, dir.path(), 1), &control, &metrics).unwrap();
    assert_eq!(*job.resume(), Resume::StartedAnew { finished: 2 });
}

#[test]
fn a_second_instance_is_refused_naming_the_process() {
    let script = script(bounded(vec![]), exactly_once());
    let plan = copy_plan(&script);
    let dir = tempfile::tempdir().unwrap();
    let (control, metrics) = (Control::new(), Arc::new(Metrics::new(&plan)));
    let _first = Job::open(spec(&plan, &script, dir.path(), 1), &control, &metrics).unwrap();
    let error = Job::open(spec(&plan, &script, dir.path(), 1), &control, &metrics).err().unwrap();
    assert!(error.message().contains(&format!("pid {}", std::process::id())), "{error}");
}

#[test]
fn damage_is_found_and_an_older_checkpoint_is_used_unless_a_sink_promises_exactly_once() {
    let files = ["manifest-2", "both manifests"];
    for (damaged, delivery) in files.iter().flat_map(|f| [(*f, "at-least-once"), (*f, "exactly-once")]) {
        let mut source = bounded((0..3).map(|n| rows(n * 10..(n + 1) * 10)).collect());
        source.events.insert(1, Event::Gate(1));
        source.events.insert(3, Event::Gate(2));
        let script = script(source, SinkScript { delivery, ..SinkScript::default() });
        let plan = copy_plan(&script);
        let dir = tempfile::tempdir().unwrap();
        for run in 1..=2_usize {
            let job = start(spec(&plan, &script, dir.path(), 1));
            script.sinks["out"].written.wait("the rows", |w| w.len() == run * 10);
            job.control.stop();
            job.end().unwrap();
            script.sources["t"].gate.change(|g| *g = run);
        }
        let mut paths = vec!["manifest-2"];
        if damaged != "manifest-2" {
            paths.push("manifest-2.copy");
        }
        for path in paths {
            let path = dir.path().join(path);
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
        let (control, metrics) = (Control::new(), Arc::new(Metrics::new(&plan)));
        let opened = Job::open(spec(&plan, &script, dir.path(), 1), &control, &metrics);
        match (damaged, delivery) {
            ("manifest-2", _) => {
                assert!(matches!(opened.unwrap().resume(), Resume::Resumed { checkpoint: 2, .. }), "the copy is whole");
            }
            (_, "at-least-once") => {
                assert!(matches!(opened.unwrap().resume(), Resume::Resumed { checkpoint: 1, .. }));
                let notes = metrics.take_notes();
                assert!(notes.iter().any(|n| n.contains("checkpoint 2 is damaged")), "{notes:?}");
            }
            _ => {
                let error = opened.err().unwrap().to_string();
                assert!(error.contains("checkpoint 2") && error.contains("`out`"), "{error}");
            }
        }
    }
}

#[test]
fn a_commit_that_was_cut_off_is_repeated_before_anything_else() {
    let mut source = bounded(vec![rows(0..10)]);
    source.events.insert(1, Event::Gate(1));
    let script = script(source, SinkScript { refusals: AtomicUsize::new(usize::MAX), ..exactly_once() });
    let plan = copy_plan(&script);
    let dir = tempfile::tempdir().unwrap();
    let job = start(spec(&plan, &script, dir.path(), 1));
    script.sinks["out"].written.wait("the rows", |w| w.len() == 10);
    job.set_time(1_001_000);
    // The commit is retried for as long as the sink is away; the job is killed meanwhile.
    script.sinks["out"].wait_for_refusal();
    job.control.abort();
    assert_eq!(job.end().unwrap(), JobEnd::Aborted { standing: Some(1) });
    script.sinks["out"].visible.change(|v| assert_eq!(*v, Vec::<String>::new()));

    script.sinks["out"].refusals.store(0, Relaxed);
    script.sources["t"].gate.change(|g| *g = 1);
    start(spec(&plan, &script, dir.path(), 1)).end().unwrap();
    script.sinks["out"].visible.change(|v| assert_eq!(*v, row_texts(0..10)));
}

#[test]
fn four_checkpoints_wait_for_a_sink_that_is_away_the_fifth_waits_for_them_and_all_are_shown_once_in_order() {
    for is_killed in [false, true] {
        let mut events = Vec::new();
        for (gate, begin) in (0_i64..).step_by(10).take(6).enumerate() {
            events.extend([Event::Gate(gate), Event::Rows(0, rows(begin..begin + 10))]);
        }
        events.extend([Event::Gate(6), Event::Finished(0)]);
        let source = SourceScript { events, ..bounded(Vec::new()) };
        let script = script(source, SinkScript { refusals: AtomicUsize::new(usize::MAX), ..exactly_once() });
        let plan = copy_plan(&script);
        let dir = tempfile::tempdir().unwrap();
        let (input, out) = (&script.sources["t"], &script.sinks["out"]);
        let newest = || list(dir.path()).unwrap().last().map_or(0, |checkpoint| checkpoint.id);
        let job = start(spec(&plan, &script, dir.path(), 1));
        for step in 1..=4_usize {
            input.gate.change(|g| *g = step - 1);
            out.written.wait("the rows", |w| w.len() == 10 * step);
            job.set_time(1_000_000 + 1_000 * i64::try_from(step).unwrap());
            out.written.wait("a checkpoint that does not wait for the sink", |_| newest() == step as u64);
        }
        job.set_time(1_005_000);
        input.gate.change(|g| *g = 5);
        out.written.wait("rows beside the open checkpoints", |w| w.len() == 60);
        assert_eq!(newest(), 4, "the fifth waits");
        out.visible.change(|v| assert!(v.is_empty()));
        if is_killed {
            job.control.abort();
            // The newest manifest may be on the disk and its answer on the way.
            assert!(matches!(job.end().unwrap(), JobEnd::Aborted { standing: Some(3 | 4) }));
            out.refusals.store(0, Relaxed);
            input.gate.change(|g| *g = 6);
            assert_eq!(start(spec(&plan, &script, dir.path(), 1)).end().unwrap(), JobEnd::Finished);
        } else {
            out.refusals.store(0, Relaxed);
            input.completed.wait("the open checkpoints", |c| c.last().is_some_and(|told| told[0].1 >= 40));
            input.gate.change(|g| *g = 6);
            assert_eq!(job.end().unwrap(), JobEnd::Finished);
        }
        out.visible.change(|v| assert_eq!(*v, row_texts(0..60)));
    }
}

#[test]
fn a_failing_source_ends_the_job_and_is_named() {
    let mut source = bounded(vec![rows(0..10)]);
    source.events.insert(1, Event::Fail("record 7 is no row"));
    let script = script(source, exactly_once());
    let dir = tempfile::tempdir().unwrap();
    let error = start(spec(&copy_plan(&script), &script, dir.path(), 2)).end().err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("record 7 is no row\n  at table `t`"), "{error}");
}

#[test]
fn a_source_that_is_away_at_first_or_in_between_is_waited_for() {
    let mut source = bounded(vec![rows(0..5), rows(5..10)]);
    source.events.insert(1, Event::Away);
    source.refusals.store(1, Relaxed);
    let script = script(source, exactly_once());
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(start(spec(&copy_plan(&script), &script, dir.path(), 1)).end().unwrap(), JobEnd::Finished);
    script.sinks["out"].visible.change(|v| assert_eq!(*v, row_texts(0..10)));
}

#[test]
fn a_panic_in_a_worker_is_an_error_of_the_job_alone() {
    for workers in [1, 2] {
        let script = script(bounded(vec![rows(0..10)]), SinkScript { panics: true, ..exactly_once() });
        let dir = tempfile::tempdir().unwrap();
        let error = start(spec(&copy_plan(&script), &script, dir.path(), workers)).end().err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(error.message().contains("panics as scripted"), "{error}");
    }
}

#[test]
fn constant_rows_reach_a_collector_once_and_leave_nothing_behind() {
    let script = Arc::new(Script::default());
    let mut builder = PlanBuilder::new();
    let values = builder.values(&rows(0..3));
    let schema = builder.plan.nodes[values].schema.clone();
    let collect = builder.node(NodeKind::Collect, &[values], schema);
    builder.plan.sinks.push(collect);
    let dir = tempfile::tempdir().unwrap();
    for workers in [1, 2] {
        let seen = Arc::new(Watched::<Vec<String>>::default());
        let (into, mut spec) = (Arc::clone(&seen), spec(&builder.plan, &script, dir.path(), workers));
        spec.collector = Some(Box::new(move |_, batch| {
            into.change(|seen| seen.extend(texts(&batch)));
            Ok(())
        }));
        assert_eq!(start(spec).end().unwrap(), JobEnd::Finished);
        seen.change(|seen| assert_eq!(*seen, row_texts(0..3)));
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_source_read_by_several_sinks_is_read_once() {
    let sources = [("t", Arc::new(bounded(vec![rows(0..10), rows(10..20)])))].into();
    let sinks = [("a", Arc::new(exactly_once())), ("b", Arc::new(exactly_once()))].into();
    let script = Arc::new(Script { sources, sinks });
    let mut builder = PlanBuilder::new();
    let source = builder.source(&script, "t");
    let calc = builder.project(source, &[1, 0, 2]);
    builder.sink(&script, "a", source, &[]);
    builder.sink(&script, "b", calc, &[]);
    let dir = tempfile::tempdir().unwrap();
    let job = start(spec(&builder.plan, &script, dir.path(), 2));
    let metrics = Arc::clone(&job.metrics);
    assert_eq!(job.end().unwrap(), JobEnd::Finished);
    script.sinks["a"].visible.change(|v| assert_eq!(*v, row_texts(0..20)));
    script.sinks["b"].visible.change(|v| assert_eq!((v.len(), v[8].as_str()), (20, "+I 1 8 80")));
    assert_eq!(metrics.sources[0].fetched.load(Relaxed), 20);
}

#[test]
fn a_silent_split_holds_the_watermark_until_its_idle_timeout() {
    let events = vec![Event::CaughtUp(1), Event::Rows(0, rows(0..10))];
    let source = SourceScript { splits: vec!["t-0", "t-1"], events, push_down: true, ..SourceScript::default() };
    let script = script(source, exactly_once());
    let mut builder = PlanBuilder::new();
    let source = builder.source(&script, "t");
    let watermark = builder.watermark(source, true, 0, 5_000);
    builder.sink(&script, "out", watermark, &[]);
    let dir = tempfile::tempdir().unwrap();
    let job = start(spec(&builder.plan, &script, dir.path(), 1));
    script.sinks["out"].written.wait("the rows", |w| w.len() == 10);
    assert_eq!(job.metrics.watermark_ms.load(Relaxed), i64::MIN);
    job.set_time(1_004_999);
    script.sources["t"].completed.wait("a checkpoint, hence a step", |c| !c.is_empty());
    assert_eq!(job.metrics.watermark_ms.load(Relaxed), i64::MIN);
    job.set_time(1_006_000);
    script.sources["t"].completed.wait("another checkpoint", |c| c.len() > 1);
    job.control.stop();
    let metrics = Arc::clone(&job.metrics);
    job.end().unwrap();
    assert_eq!(metrics.watermark_ms.load(Relaxed), 90);
}

#[test]
fn a_null_event_time_is_a_data_error_that_names_column_and_table() {
    for push_down in [true, false] {
        let script = script(bounded(vec![vec![(1, 1, -1)]]), exactly_once());
        let mut builder = PlanBuilder::new();
        let source = builder.source(&script, "t");
        let watermark = builder.watermark(source, push_down, 200, 0);
        builder.sink(&script, "out", watermark, &[]);
        let dir = tempfile::tempdir().unwrap();
        let error = start(spec(&builder.plan, &script, dir.path(), 1)).end().err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.message().contains("`ts` of table `t`"), "{error}");
    }
}

/// Folds +U/-U/+I/-D texts into the rows that stand at the end.
fn folded(changes: &[String]) -> Vec<String> {
    let mut table: Vec<String> = Vec::new();
    for change in changes {
        let (kind, row) = change.split_at(3);
        match kind.trim() {
            "+I" | "+U" => table.push(row.to_owned()),
            _ => {
                let position = table.iter().position(|r| r == row).expect("only rows that stand are taken back");
                table.swap_remove(position);
            }
        }
    }
    table.sort();
    table
}

fn group_plan(script: &Script) -> StreamPlan {
    let mut builder = PlanBuilder::new();
    let source = builder.source(script, "t");
    let group = builder.count_by(source, 1);
    builder.sink(script, "out", group, &[0]);
    builder.plan
}

#[test]
fn a_group_by_gives_the_same_table_with_any_workers_and_any_restart() {
    let expected: Vec<String> = {
        let mut groups = std::collections::BTreeMap::new();
        for (id, v, _) in rows(0..400) {
            let group = groups.entry(v).or_insert((0, 0));
            *group = (group.0 + 1, group.1 + id);
        }
        let mut rows: Vec<String> = groups.iter().map(|(v, (count, sum))| format!("{v} {count} {sum}")).collect();
        rows.sort();
        rows
    };
    // With no memory for state all of it lies in the store between two steps; a killed run leaves files that no manifest names.
    for (per_worker, memory_bytes, kills) in
        [(false, 256 << 20, false), (true, 256 << 20, false), (false, 1, false), (true, 1, false), (false, 1, true)]
    {
        for (first, second, third) in [(1, 1, 1), (1, 2, 1), (2, 3, 2), (3, 1, 2)] {
            let mut source = bounded((0..4).map(|n| rows(n * 100..(n + 1) * 100)).collect());
            source.events.insert(1, Event::Gate(1));
            source.events.insert(4, Event::Gate(2));
            let script = script(source, SinkScript { per_worker, ..exactly_once() });
            let plan = group_plan(&script);
            let dir = tempfile::tempdir().unwrap();
            let with_memory = |workers| JobSpec { memory_bytes, ..spec(&plan, &script, dir.path(), workers) };
            for (run, workers) in [first, second].into_iter().enumerate() {
                let job = start(with_memory(workers));
                let read = match (run, kills) {
                    (0, _) => 100,
                    (_, false) => 200,
                    (_, true) => 300,
                };
                let metrics = Arc::clone(&job.metrics);
                script.sinks["out"]
                    .written
                    .wait("the rows of a run", |_| metrics.nodes[1].rows_in.load(Relaxed) == read);
                if kills {
                    job.control.abort();
                    assert!(matches!(job.end().unwrap(), JobEnd::Aborted { .. }));
                } else {
                    job.control.stop();
                    assert!(matches!(job.end().unwrap(), JobEnd::Stopped { .. }));
                }
                script.sources["t"].gate.change(|g| *g = run + 1);
            }
            let job = start(with_memory(third));
            assert_eq!(job.end().unwrap(), JobEnd::Finished);
            script.sinks["out"].visible.change(|v| {
                assert_eq!(
                    folded(v),
                    expected,
                    "{first}, {second}, {third} workers, per worker: {per_worker}, memory: {memory_bytes}, killed: {kills}"
                );
            });
            assert!(!dir.path().join("store").exists(), "the store is gone with the job");
        }
    }
}

#[test]
fn state_larger_than_memory_survives_a_changed_plan_and_begins_from_a_savepoint() {
    let source = || {
        let mut source = bounded((0..4).map(|n| rows(n * 100..(n + 1) * 100)).collect());
        source.events.insert(1, Event::Gate(1));
        source
    };
    let script_of = |source| {
        let sinks = [("out", Arc::new(exactly_once())), ("copy", Arc::new(exactly_once()))].into();
        Arc::new(Script { sources: [("t", Arc::new(source))].into(), sinks })
    };
    let script = script_of(source());
    let plan = group_plan(&script);
    let (dir, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let with_memory = |plan: &StreamPlan, script: &Arc<Script>, dir: &std::path::Path| JobSpec {
        memory_bytes: 1,
        ..spec(plan, script, dir, 2)
    };
    let job = start(with_memory(&plan, &script, dir.path()));
    let metrics = Arc::clone(&job.metrics);
    script.sinks["out"].written.wait("the first rows", |_| metrics.nodes[1].rows_in.load(Relaxed) == 100);
    let savepoint = job.control.savepoint(kept.path().join("savepoint")).recv().unwrap().unwrap();
    job.control.stop();
    job.end().unwrap();
    script.sources["t"].gate.change(|g| *g = 1);

    let last_of_each = |script: &Script| {
        let mut last = std::collections::BTreeMap::new();
        script.sinks["out"].visible.change(|changes| {
            for row in changes.iter().filter(|c| c.starts_with('+')).map(|c| c[3..].to_owned()) {
                last.insert(row.split(' ').next().unwrap().to_owned(), row);
            }
        });
        last.into_values().collect::<Vec<String>>()
    };
    let mut groups = std::collections::BTreeMap::new();
    for (id, v, _) in rows(0..400) {
        let group = groups.entry(v.to_string()).or_insert((0, 0));
        *group = (group.0 + 1, group.1 + id);
    }
    let expected: Vec<String> = groups.iter().map(|(v, (count, sum))| format!("{v} {count} {sum}")).collect();

    let mut changed = PlanBuilder::new();
    let rows_read = changed.source(&script, "t");
    let group = changed.count_by(rows_read, 1);
    changed.sink(&script, "out", group, &[0]);
    changed.sink(&script, "copy", rows_read, &[]);
    let job = start(with_memory(&changed.plan, &script, dir.path()));
    let metrics = Arc::clone(&job.metrics);
    assert_eq!(job.end().unwrap(), JobEnd::Finished);
    let notes = metrics.take_notes();
    assert!(notes.iter().any(|n| n.contains("keep") && n.contains("state entr")), "{notes:?}");
    assert_eq!(last_of_each(&script), expected);
    script.sinks["copy"].visible.change(|v| assert_eq!(v.len(), 300));

    let script = script_of(source());
    script.sources["t"].gate.change(|g| *g = 1);
    let anew = tempfile::tempdir().unwrap();
    let spec = JobSpec { savepoint: Some(savepoint), ..with_memory(&plan, &script, anew.path()) };
    assert_eq!(start(spec).end().unwrap(), JobEnd::Finished);
    assert_eq!(last_of_each(&script), expected);
}

#[test]
fn a_half_filled_window_survives_a_restart_and_fires_once() {
    let cases =
        [(true, 1, 2, 256 << 20), (true, 2, 1, 1), (false, 1, 1, 1), (false, 2, 2, 256 << 20), (false, 2, 3, 1)];
    for (push_down, first, second, memory_bytes) in cases {
        // Windows of one second; the last poll brings a row of the first window, which is late by then.
        let polls =
            vec![vec![(1, 7, 100), (2, 8, 200)], vec![(3, 7, 900), (4, 7, 1_500)], vec![(5, 8, 300), (6, 8, 1_600)]];
        let mut source = bounded(polls);
        source.push_down = push_down;
        source.events.insert(1, Event::Gate(1));
        source.events.insert(3, Event::Gate(2));
        let script = script(source, exactly_once());
        let mut builder = PlanBuilder::new();
        let source = builder.source(&script, "t");
        let watermark = builder.watermark(source, push_down, 0, 0);
        let window = builder.window_count(watermark, 1, 1_000);
        builder.sink(&script, "out", window, &[]);
        let dir = tempfile::tempdir().unwrap();
        let with_memory = |workers| JobSpec { memory_bytes, ..spec(&builder.plan, &script, dir.path(), workers) };
        let job = start(with_memory(first));
        let metrics = Arc::clone(&job.metrics);
        script.sinks["out"].written.wait("the first rows", |_| metrics.nodes[2].rows_in.load(Relaxed) == 2);
        job.control.stop();
        assert!(matches!(job.end().unwrap(), JobEnd::Stopped { .. }));
        script.sinks["out"].visible.change(|v| assert_eq!(*v, Vec::<String>::new()));

        script.sources["t"].gate.change(|g| *g = 1);
        let job = start(with_memory(second));
        script.sinks["out"].written.wait("the first window", |w| w.len() == 2);
        script.sources["t"].gate.change(|g| *g = 2);
        let metrics = Arc::clone(&job.metrics);
        assert_eq!(job.end().unwrap(), JobEnd::Finished);
        script.sinks["out"].visible.change(|v| {
            v.sort();
            assert_eq!(*v, ["+I 7 1 2000", "+I 7 2 1000", "+I 8 1 1000", "+I 8 1 2000"], "push down: {push_down}");
        });
        assert_eq!(metrics.late_rows.load(Relaxed), 1);
    }
}

#[test]
fn a_window_larger_than_memory_fires_in_parts_and_is_stopped_at_none_of_them() {
    const KEYS: i64 = 40_000;
    let mut source = bounded(vec![(0..KEYS).map(|id| (id, id, 100)).collect(), vec![(0, 0, 1_500)], vec![(0, 0, 200)]]);
    source.events.insert(2, Event::Gate(1));
    let script = script(source, exactly_once());
    let mut builder = PlanBuilder::new();
    let source = builder.source(&script, "t");
    let watermark = builder.watermark(source, true, 0, 0);
    let window = builder.window_count(watermark, 1, 1_000);
    builder.sink(&script, "out", window, &[]);
    let dir = tempfile::tempdir().unwrap();
    let with_memory = |workers| JobSpec { memory_bytes: 1, ..spec(&builder.plan, &script, dir.path(), workers) };
    let job = start(with_memory(2));
    script.sinks["out"].written.wait("a part of the window", |w| !w.is_empty());
    job.control.stop();
    assert!(matches!(job.end().unwrap(), JobEnd::Stopped { .. }));
    script.sinks["out"].visible.change(|v| assert_eq!(v.len(), 40_000));
    script.sources["t"].gate.change(|g| *g = 1);
    let job = start(with_memory(1));
    let metrics = Arc::clone(&job.metrics);
    assert_eq!(job.end().unwrap(), JobEnd::Finished);
    let mut expected: Vec<String> = (0..KEYS).map(|id| format!("+I {id} 1 1000")).collect();
    expected.push("+I 0 1 2000".to_owned());
    expected.sort();
    script.sinks["out"].visible.change(|v| {
        v.sort();
        assert_eq!(*v, expected);
    });
    assert_eq!(metrics.late_rows.load(Relaxed), 1);
}

#[test]
fn a_union_passes_the_rows_of_both_inputs() {
    let sources = [("t", Arc::new(bounded(vec![rows(0..10)]))), ("u", Arc::new(bounded(vec![rows(10..20)])))].into();
    let script = Arc::new(Script { sources, sinks: [("out", Arc::new(exactly_once()))].into() });
    let mut builder = PlanBuilder::new();
    let (t, u) = (builder.source(&script, "t"), builder.source(&script, "u"));
    let union = builder.node(NodeKind::UnionAll, &[t, u], schema());
    builder.sink(&script, "out", union, &[]);
    for workers in [1, 2] {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(start(spec(&builder.plan, &script, dir.path(), workers)).end().unwrap(), JobEnd::Finished);
    }
    script.sinks["out"].written.change(|written| {
        written.sort();
        let mut expected = [row_texts(0..20), row_texts(0..20)].concat();
        expected.sort();
        assert_eq!(*written, expected);
    });
}

#[test]
fn a_checkpoint_that_takes_longer_than_its_timeout_fails_and_the_next_one_brings_its_rows() {
    for workers in [1, 2] {
        let mut source = bounded((0..3).map(|n| rows(n * 10..(n + 1) * 10)).collect());
        source.events.insert(1, Event::Gate(1));
        source.events.insert(3, Event::Gate(2));
        let script = script(source, exactly_once());
        let plan = copy_plan(&script);
        let dir = tempfile::tempdir().unwrap();
        let mut spec = spec(&plan, &script, dir.path(), workers);
        spec.config.checkpoint_timeout_ms = 5_000;
        let (input, out) = (&script.sources["t"], &script.sinks["out"]);
        out.withholds.change(|withholds| *withholds = true);
        let job = start(spec);
        out.written.wait("the first rows", |w| w.len() == 10);
        job.set_time(1_001_000);
        out.asked.wait("a checkpoint that waits for the sink", |asked| *asked > 0);
        job.set_time(1_005_999);
        input.gate.change(|g| *g = 1);
        out.written.wait("rows beside the waiting checkpoint", |w| w.len() == 20);
        assert_eq!(job.metrics.checkpoints_failed.load(Relaxed), 0, "its time is not over");
        job.set_time(1_006_000);
        let metrics = Arc::clone(&job.metrics);
        out.asked.wait("the end of its time", |_| metrics.checkpoints_failed.load(Relaxed) == 1);
        let notes = job.metrics.take_notes();
        assert!(notes.iter().any(|n| n.contains("checkpoint 1 is given up after 5000 ms")), "{notes:?}");
        out.visible.change(|v| assert!(v.is_empty(), "nothing of a failed checkpoint is shown"));

        out.withholds.change(|withholds| *withholds = false);
        job.control.wake();
        input.completed.wait("the next checkpoint", |c| *c == [vec![(0, 20)]]);
        out.visible.change(|v| assert_eq!(*v, row_texts(0..20)));
        assert!(list(dir.path()).unwrap().iter().all(|c| c.id == 2), "the failed one left no manifest");
        input.gate.change(|g| *g = 2);
        assert_eq!(job.end().unwrap(), JobEnd::Finished);
        out.visible.change(|v| assert_eq!(*v, row_texts(0..30)));
        assert_eq!(metrics.checkpoints_failed.load(Relaxed), 1);
    }
}

#[test]
fn the_end_of_a_bounded_read_is_kept_over_restarts() {
    let mut source = bounded(vec![rows(0..10), rows(10..20)]);
    source.events.insert(1, Event::Gate(1));
    source.end = Some(20);
    let script = script(source, exactly_once());
    let plan = copy_plan(&script);
    let dir = tempfile::tempdir().unwrap();
    let job = start(spec(&plan, &script, dir.path(), 1));
    script.sinks["out"].written.wait("rows before the gate", |w| w.len() == 10);
    job.control.stop();
    job.end().unwrap();
    script.sources["t"].gate.change(|g| *g = 1);
    assert_eq!(start(spec(&plan, &script, dir.path(), 1)).end().unwrap(), JobEnd::Finished);
    // A finished job starts anew, and finds out anew.
    start(spec(&plan, &script, dir.path(), 1)).end().unwrap();
    let expected = [vec![], vec![("t-0".to_owned(), 20)], vec![]];
    script.sources["t"].restored_ends.change(|ends| assert_eq!(*ends, expected));
}

#[test]
fn a_job_with_nothing_left_to_do_says_so_and_one_that_is_over_keeps_nobody_waiting() {
    let patience = std::time::Duration::from_secs(30);
    let mut source = bounded(vec![rows(0..10)]);
    source.events.insert(1, Event::Gate(1));
    let script = script(source, exactly_once());
    let plan = copy_plan(&script);
    let dir = tempfile::tempdir().unwrap();
    let job = start(spec(&plan, &script, dir.path(), 2));
    script.sinks["out"].written.wait("rows before the gate", |w| w.len() == 10);
    let control = job.control.clone();
    assert!(control.wait_until_quiet(patience));
    assert!(!control.wait_until_over(std::time::Duration::ZERO), "it waits for its source");
    script.sources["t"].gate.change(|g| *g = 1);
    assert!(control.wait_until_over(patience));
    assert!(control.wait_until_quiet(std::time::Duration::ZERO));
    assert_eq!(job.end().unwrap(), JobEnd::Finished);
}

#[test]
fn a_key_that_was_idle_for_its_time_to_live_starts_anew() {
    let mut source = bounded(vec![vec![(1, 7, 0)], vec![(1, 7, 0)], vec![(1, 7, 0)]]);
    source.events.insert(1, Event::Gate(1));
    source.events.insert(3, Event::Gate(2));
    let script = script(source, exactly_once());
    let mut builder = PlanBuilder::new();
    let input = builder.source(&script, "t");
    let counts = builder.count_by(input, 0);
    builder.sink(&script, "out", counts, &[]);
    if let NodeKind::GroupAggregate(node) = &mut builder.plan.nodes[counts].kind {
        node.state_ttl_ms = 10_000;
    }
    let dir = tempfile::tempdir().unwrap();
    let job = start(spec(&builder.plan, &script, dir.path(), 1));
    let (input, out) = (&script.sources["t"], &script.sinks["out"]);
    out.written.wait("the first row", |w| w.len() == 1);
    // Just inside its time: the row counts, and writing keeps the key for another ten seconds.
    job.set_time(1_009_999);
    input.gate.change(|g| *g = 1);
    out.written.wait("the second row", |w| w.len() == 3);
    job.set_time(1_019_999);
    input.gate.change(|g| *g = 2);
    assert_eq!(job.end().unwrap(), JobEnd::Finished);
    out.written.change(|w| assert_eq!(*w, ["+I 1 1 1", "-U 1 1 1", "+U 1 2 2", "+I 1 1 1"]));
}
