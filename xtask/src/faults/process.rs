//! Rows 17, 18 and 20: many restarts, a process that stood still while another took over, two processes at once.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use super::pressure::memory_kb;
use super::totals::count_death;
use super::world::{Sink, World, files_below};
use crate::e2e::context::Context;
use crate::services::process::{Signal, signal, stands_still};

/// Restarts of row 17.
const RESTARTS: usize = 100;
/// Restarts between two comparisons with the oracle.
const RESTARTS_PER_CHECK: usize = 5;
/// After so many restarts what a process needs is written down; later ones may need a half more, and these amounts.
const SETTLED: usize = 10;
const MEMORY_SLACK_KB: u64 = 40_000;
const FILES_SLACK: usize = 24;
const CONNECTIONS_SLACK: usize = 3;
/// Sinks that fence.
const FENCING: [Sink; 3] = [Sink::Kafka, Sink::Postgres, Sink::Elasticsearch];

/// What a process and its state need.
#[derive(Clone, Copy, Debug)]
struct Needs {
    state_files: usize,
    sink_files: usize,
    open_files: usize,
    memory_kb: u64,
    connections: usize,
}

fn needs(context: &Context, world: &World<'_>, pid: u32) -> Result<Needs> {
    let clients = context.postgres()?.query(
        "SELECT COUNT(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
    )?;
    Ok(Needs {
        state_files: files_below(&world.state())?.len(),
        sink_files: hidden_files(&world.folder())?,
        open_files: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
        memory_kb: memory_kb(pid, "VmRSS:")?,
        connections: clients[0][0].parse()?,
    })
}

/// Files of a sink that no reader sees: staged, in progress, left over.
fn hidden_files(folder: &Path) -> Result<usize> {
    let is_hidden = |path: &Path| {
        path.strip_prefix(folder)
            .is_ok_and(|path| path.iter().any(|part| part.to_string_lossy().starts_with(['.', '_'])))
    };
    Ok(files_below(folder)?.iter().filter(|path| is_hidden(path)).count())
}

/// Row 17: kills at random times under load; progress each time, and neither files nor memory nor connections grow without end.
pub(super) fn many_restarts(context: &Context) -> Result<()> {
    let mut world = World::new(context, &[Sink::Files, Sink::Kafka, Sink::Postgres], false, super::seed_of(17))?;
    world.produce(200)?;
    let mut settled: Option<Needs> = None;
    for restart in 0..RESTARTS {
        let before = world.newest_checkpoint()?;
        let program = world.start(&[])?;
        let back = world.wait_back(&program, before)?;
        for _ in 0..world.random().usize(1..=6) {
            world.produce(20)?;
        }
        let needs = needs(context, &world, program.pid())?;
        program.kill()?;
        count_death(None, true);
        if restart % RESTARTS_PER_CHECK == 0 {
            world.check_safety()?;
        }
        context.note(format!("restart {restart}: back after {back:?}, {needs:?}"));
        match settled {
            None if restart >= SETTLED => settled = Some(needs),
            None => {}
            Some(first) => {
                let is_within = |now: usize, then: usize, slack: usize| now <= then + then / 2 + slack;
                ensure!(
                    is_within(needs.state_files, first.state_files, FILES_SLACK)
                        && is_within(needs.sink_files, first.sink_files, FILES_SLACK)
                        && is_within(needs.open_files, first.open_files, FILES_SLACK)
                        && is_within(needs.connections, first.connections, CONNECTIONS_SLACK)
                        && needs.memory_kb <= first.memory_kb + first.memory_kb / 2 + MEMORY_SLACK_KB,
                    "after {restart} restarts it needs {needs:?}, after {SETTLED} it was {first:?}"
                );
            }
        }
    }
    world.finish(300)?;
    world.check_whole()?;
    world.check_no_leftovers()
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    for file in files_below(from)? {
        let target = to.join(file.strip_prefix(from)?);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::copy(&file, &target)?;
    }
    Ok(())
}

/// Rows 18 and 20: a second process with a copy of the state takes over; the first one finds itself superseded and ends, and nothing of
/// it shows any more. In row 18 the first one stands still meanwhile.
pub(super) fn twins<const ROW: u8>(context: &Context) -> Result<()> {
    for (index, sink) in FENCING.into_iter().enumerate() {
        let mut world = World::new(context, &[sink], true, super::seed_of(u64::from(ROW) * 10 + index as u64))?;
        world.produce(300)?;
        let first = world.start(&[])?;
        world.wait_back(&first, 0)?;
        if ROW == 20 {
            // What the first one commits behind the copy would be written again by the second, which is then refused.
            context.wait_until(60, "all rows in the sink", || world.is_whole_by_now())?;
        }
        signal(first.pid(), Signal::Stop)?;
        context.wait_until(60, "the first run to stand still", || Ok(stands_still(first.pid())))?;
        let other = context.folder().join(format!("other-{index}"));
        copy_folder(&world.state(), &other)?;
        if ROW == 18 {
            world.produce(200)?;
        } else {
            signal(first.pid(), Signal::Continue)?;
        }
        let second = world.start_with_state(&other)?;
        world.wait_back_in(&second, &other)?;
        if ROW == 18 {
            signal(first.pid(), Signal::Continue)?;
        }
        world.produce(200)?;
        let ended = first.wait(60)?;
        ensure!(ended.code.is_some_and(|code| code != 0), "{sink:?}: the first one ended with {:?}", ended.code);
        ensure!(ended.stderr.contains("superseded"), "{sink:?}: it does not say why: {}", ended.stderr);
        world.check_safety()?;
        second.terminate()?;
        second.wait(20)?.expect_code(0)?;
        world.finish_with_state(&other)?;
        world.check_whole()?;
    }
    Ok(())
}
