//! Rows 47 and 59: a disk that gives errors, and a wall clock that jumps.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::world::{Sink, World, files_below};
use crate::e2e::context::Context;
use crate::services::process::run_tool;

/// Rows of row 47's job.
const ROWS: i64 = 1_500;
/// Its groups of running sums.
const GROUPS: i64 = 7;
/// Longest wait for a run under strace.
const RUN_LIMIT_S: u64 = 120;
/// The calls that fail: each of the first so many, then further and further apart, until a run is over before the call comes.
const EACH: u32 = 8;
const RUNS_MAX: usize = 40;
/// An hour.
const HOUR_S: i64 = 3_600;
/// The night in which New York's clocks go forward, two seconds before they do: 2026-03-08 01:59:58 there.
const BEFORE_DST_S: i64 = 1_772_953_198;

/// Row 47: the n-th fsync, then the n-th write, fails with EIO. It is said; nothing is lost, and nothing there twice, after the next start.
pub(super) fn failing_disk(context: &Context) -> Result<()> {
    if let Err(error) = run_tool("try strace", Command::new("strace").args(["-f", "-qq", "-o", "/dev/null", "true"])) {
        println!("  no program can be traced here, the case looks at nothing: {error:#}");
        return Ok(());
    }
    for calls in ["fsync,fdatasync", "write,pwrite64"] {
        let mut nth = 1;
        for run in 0..RUNS_MAX {
            if !fails_at(context, calls, nth)? {
                ensure!(run > 0, "{calls}: none came");
                context.note(format!("{calls}: {run} runs, up to the {nth}th call"));
                break;
            }
            nth += if nth < EACH { 1 } else { nth / 3 };
        }
    }
    Ok(())
}

/// One run whose n-th call fails, and one that ends the job; false when the call did not come.
fn fails_at(context: &Context, calls: &str, nth: u32) -> Result<bool> {
    let name = format!("{}-{nth}", &calls[..5]);
    let out = context.folder().join(format!("{name}-out"));
    let job = context.write(
        &format!("{name}.sql"),
        &format!(
            "SET 'execution.checkpointing.interval' = '50 ms';\nSET 'parallelism.default' = '1';\n\
             CREATE TABLE numbers (id BIGINT, pt AS PROCTIME()) WITH ('connector' = 'datagen', 'rows-per-second' = '2000',\n\
               'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '{ROWS}');\n\
             CREATE TABLE files (id BIGINT, total BIGINT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json');\n\
             INSERT INTO files SELECT id, SUM(id) OVER (PARTITION BY MOD(id, {GROUPS}) ORDER BY pt ROWS BETWEEN UNBOUNDED PRECEDING \
             AND CURRENT ROW) FROM numbers;\n",
            out.display()
        ),
    )?;
    let trace = context.folder().join(format!("{name}.trace"));
    let inject = format!("inject={calls}:error=EIO:when={nth}");
    let (trace_text, filter) = (trace.display().to_string(), format!("trace={calls}"));
    let strace = ["strace", "-f", "--seccomp-bpf", "-qq", "-o", &trace_text, "-e", &filter, "-e", &inject];
    let ended = context.spawn_under(&strace, ["run", &job])?.wait(RUN_LIMIT_S)?;
    let text = fs::read_to_string(&trace)?;
    let injected: Vec<&str> = text.lines().filter(|line| line.contains("(INJECTED)")).collect();
    if injected.is_empty() {
        ended.expect_code(0)?;
        return Ok(false);
    }
    ensure!(!ended.stderr.contains("panicked"), "{name}: {}", ended.stderr);
    ensure!(ended.code.is_some(), "{name}: a signal ended it: {}", ended.stderr);
    // The write that failed may have been that of the word itself: calls are counted by thread, and stderr is one of the files.
    if !injected.iter().any(|line| line.contains("write(2,")) && (calls.starts_with("fsync") || ended.code != Some(0)) {
        ensure!(ended.stderr.contains("Input/output error"), "{name}: it is not said: {}", ended.stderr);
    }
    if ended.code != Some(0) {
        context.run(["run", &job], RUN_LIMIT_S)?.expect_code(0)?;
    }
    let mut found = rows_of(&out)?;
    found.sort_unstable();
    let mut totals = [0; GROUPS as usize];
    for (row, id) in found.iter().zip(1..) {
        let total = &mut totals[usize::try_from(id % GROUPS)?];
        *total += id;
        ensure!(*row == (id, *total), "{name}: expected {:?}, found {row:?}", (id, *total));
    }
    ensure!(found.len() == usize::try_from(ROWS)?, "{name}: {} rows", found.len());
    Ok(true)
}

/// The rows of the visible files.
fn rows_of(folder: &Path) -> Result<Vec<(i64, i64)>> {
    let mut rows = Vec::new();
    for file in files_below(folder)? {
        let is_hidden = file.strip_prefix(folder)?.iter().any(|part| part.to_string_lossy().starts_with(['.', '_']));
        if is_hidden {
            continue;
        }
        for line in fs::read_to_string(&file)?.lines() {
            let value: Value = serde_json::from_str(line).with_context(|| format!("`{line}` in {}", file.display()))?;
            rows.push((value["id"].as_i64().context("an id")?, value["total"].as_i64().context("a total")?));
        }
    }
    Ok(rows)
}

/// Row 59: the wall clock jumps an hour on, two back, and through the beginning of summer time; checkpoints go on at their pace, and
/// everything is there once.
pub(super) fn wall_clock(context: &Context) -> Result<()> {
    let source = context.write("shift.c", include_str!("clock_shift.c"))?;
    let library = context.folder().join("shift.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).args([&source, "-ldl"]);
    run_tool("compile the clock", &mut compiler)?;
    let shift = context.folder().join("shift");
    fs::write(&shift, 0_i64.to_ne_bytes())?;
    let clock = fs::OpenOptions::new().write(true).open(&shift)?;
    let set = |seconds: i64| clock.write_all_at(&seconds.to_ne_bytes(), 0);
    let mut world = World::new(context, &[Sink::Files, Sink::Postgres], true, super::seed_of(59))?;
    world.set_environment(&[
        ("LD_PRELOAD", library.display().to_string()),
        ("WALL_CLOCK_SHIFT", shift.display().to_string()),
        ("TZ", "America/New_York".to_owned()),
    ]);
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    world.run_through(|world, program| {
        for seconds in [HOUR_S, -HOUR_S, BEFORE_DST_S - now, 0] {
            set(seconds)?;
            for _ in 0..3 {
                world.produce(50)?;
                let before = world.newest_checkpoint()?;
                let back = world.wait_back(program, before)?;
                context.note(format!("clock at {seconds:+} s: a checkpoint after {back:?}"));
            }
            world.check_safety()?;
        }
        Ok(())
    })
}
