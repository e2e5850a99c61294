//! Rows 21 and 67: more state than memory, and more rows than the sink takes.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::proxy::{Mode, Proxy};
use super::world::{Sink, World};
use crate::e2e::context::Context;
use crate::e2e::program::newest_manifest;
use crate::services::postgres;
use crate::services::process::run_tool;

/// Different keys of row 21.
const KEYS: u64 = 600_000;
/// Memory that a job may have whose state does not fit in it.
const MEMORY: &str = "64MB";
/// Most that the process holds then, in kB: the budget, the program itself, and what the allocator keeps.
const SPILL_KB_MAX: u64 = 400_000;
/// Addresses that a process gets beyond those it has, in kB, while it takes itself to have gigabytes.
const MORE_KB: u64 = 64_000;
/// Rows of the burst in row 67, and the bytes a second that the sink then takes.
const BURST: usize = 6_000;
const SLOW_BYTES: usize = 30_000;
/// Most that a process holds with a sink that does not follow, in kB.
const BURST_KB_MAX: u64 = 500_000;

/// The most memory that a process has had, in kB.
pub(super) fn peak_memory_kb(pid: u32) -> Result<u64> {
    memory_kb(pid, "VmHWM:")
}

/// A line of what the system says about a process's memory.
pub(super) fn memory_kb(pid: u32, line: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let text = status.lines().find_map(|found| found.strip_prefix(line)).with_context(|| format!("a line {line}"))?;
    Ok(text.trim().trim_end_matches(" kB").parse()?)
}

/// Row 21: state beyond the budget goes to disk; a process that the system gives no more memory ends, and its next start goes on.
pub(super) fn memory_limit(context: &Context) -> Result<()> {
    let table = context.unique("counted");
    context
        .postgres()?
        .execute(&format!("CREATE TABLE {table} (id INT PRIMARY KEY, group_count BIGINT, counted BIGINT)"))?;
    let job = context.write(
        "job.sql",
        &format!(
            "SET 'pipeline.name' = '{table}';\nSET 'execution.checkpointing.interval' = '500 ms';\n\
             CREATE TABLE numbers (k BIGINT) WITH ('connector' = 'datagen', 'fields.k.kind' = 'sequence', 'fields.k.start' = '1', \
             'fields.k.end' = '{KEYS}', 'rows-per-second' = '10000000');\n\
             CREATE TABLE counted (id INT, group_count BIGINT, counted BIGINT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'jdbc', \
             'url' = 'jdbc:postgresql://postgres:5432/{}', 'table-name' = '{table}', 'username' = '{}', 'password' = '{}');\n\
             INSERT INTO counted SELECT 1, COUNT(*), SUM(c) FROM (SELECT CONCAT('a key that takes some room ', CAST(k AS STRING)) AS k, \
             COUNT(*) AS c FROM numbers GROUP BY CONCAT('a key that takes some room ', CAST(k AS STRING)));\n",
            postgres::DATABASE,
            postgres::USER,
            postgres::PASSWORD
        ),
    )?;
    let map = format!("postgres:5432={}", context.services().postgres()?.address());
    let greedy = context.spawn(["run", &job, "--map", &map, "--memory", "8GB"])?;
    let state = context.folder().join(".wiesel");
    greedy.wait_until(300, "a checkpoint", |_| newest_manifest(&state).is_ok_and(|id| id > 0))?;
    // From here on the system gives it hardly more: it ends, unless it was quick enough not to need it.
    if let Ok(addresses) = memory_kb(greedy.pid(), "VmSize:") {
        let limit = format!("--as={}", (addresses + MORE_KB) * 1024);
        run_tool("limit the memory", Command::new("prlimit").args(["--pid", &greedy.pid().to_string(), &limit]))?;
    }
    let ended = greedy.wait(300)?;
    context.note(format!("without more memory it ended with {:?}: {}", ended.code, ended.stderr));
    ensure!(!ended.stderr.contains("panicked"), "a limit is no panic: {}", ended.stderr);
    ensure!(
        ended.code == Some(0) || ended.stderr.contains("memory"),
        "it does not say what it lacked: {}",
        ended.stderr
    );
    let frugal = context.spawn(["run", &job, "--map", &map, "--memory", MEMORY])?;
    let mut most = 0;
    frugal.wait_until(900, "the end", |program| {
        most = peak_memory_kb(program.pid()).unwrap_or(most).max(most);
        program.stderr().contains("finished;") || program.stderr().contains("nothing left")
    })?;
    frugal.wait(60)?.expect_code(0)?;
    context.note(format!("with --memory {MEMORY} it had {most} kB"));
    let rows = context.postgres()?.query(&format!("SELECT group_count, counted FROM {table}"))?;
    ensure!(rows == [[KEYS.to_string(), KEYS.to_string()]], "found {rows:?}");
    ensure!(most <= SPILL_KB_MAX, "with --memory {MEMORY} the process had {most} kB");
    Ok(())
}

/// Row 67: many more rows than the sink takes; memory stays bounded, checkpoints do not fail one after another, and the rest is written
/// when nothing more comes.
pub(super) fn burst(context: &Context) -> Result<()> {
    let mut world = World::new(context, &[Sink::Postgres], true, super::seed_of(67))?;
    let proxy = Proxy::start("127.0.0.1:0", &world.addresses().postgres)?;
    proxy.address().clone_into(&mut world.addresses().postgres);
    world.run_through(|world, program| {
        proxy.set(Mode::Slow(SLOW_BYTES));
        let before = world.newest_checkpoint()?;
        world.produce(BURST)?;
        // Nothing more comes; what lies there is written at the pace of the sink.
        context.wait_until(180, "the burst in the table", || world.is_whole_by_now())?;
        proxy.set(Mode::Pass);
        let most = peak_memory_kb(program.pid())?;
        context.note(format!("the burst took {most} kB, checkpoints {before} to {}", world.newest_checkpoint()?));
        ensure!(most <= BURST_KB_MAX, "the process had {most} kB");
        ensure!(world.newest_checkpoint()? > before, "no checkpoint was completed meanwhile");
        let stderr = program.stderr();
        ensure!(
            !stderr.contains("checkpoint failed") && !stderr.contains("took longer"),
            "checkpoints failed: {stderr}"
        );
        Ok(())
    })
}
