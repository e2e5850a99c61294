//! Rows 17, 18 and 20: many restarts, a process that stood still while another took over, two processes at once.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use super::world::{Sink, World, files_below};
use crate::e2e::context::Context;
use crate::services::process::{Signal, signal};

/// Restarts of row 17 in the short form; `cargo xtask faults --restarts` asks for more.
const RESTARTS: usize = 12;
/// Sinks that fence.
const FENCING: [Sink; 3] = [Sink::Kafka, Sink::Postgres, Sink::Elasticsearch];

/// Row 17: kills at random times under load; progress each time, and the state folder does not grow without end.
pub(super) fn many_restarts(context: &Context) -> Result<()> {
    let mut world = World::new(context, &[Sink::Files, Sink::Kafka, Sink::Postgres], false, super::seed_of(17))?;
    world.produce(200)?;
    let mut most = 0;
    for restart in 0..RESTARTS {
        let before = world.newest_checkpoint()?;
        let program = world.start(&[])?;
        let back = world.wait_back(&program, before)?;
        let turns = world.random().usize(1..=6);
        for _ in 0..turns {
            world.produce(60)?;
        }
        program.kill()?;
        world.check_safety()?;
        let files = files_below(&world.state())?.len();
        if restart == 2 {
            most = files * 3;
        }
        ensure!(most == 0 || files <= most, "the state folder has {files} files after {restart} restarts");
        context.note(format!("restart {restart}: back after {back:?}, {files} files of state"));
    }
    world.finish(120)?;
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
        if ROW == 18 {
            signal(first.pid(), Signal::Stop)?;
        }
        let other = context.folder().join(format!("other-{index}"));
        copy_folder(&world.state(), &other)?;
        world.produce(200)?;
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
        fs::remove_dir_all(world.state())?;
    }
    Ok(())
}
