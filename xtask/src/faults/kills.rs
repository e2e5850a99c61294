//! Rows 1 to 14 of the fault matrix: the process dies at each named step of a checkpoint, while rows flow.
//!
//! The process ends itself at the step by `abort`, which runs no destructor and flushes nothing. After each death the sinks show
//! nothing wrong, the next start comes back by itself, and in the end everything is there once and nothing is left over.

use anyhow::{Result, ensure};

use super::totals::count_death;
use super::world::{Sink, World};
use crate::e2e::context::Context;

/// Deaths at the same step, one after another, in one case.
const DEATHS: usize = 3;
/// A step that is reached at every checkpoint is reached within so many seconds.
const DEATH_LIMIT_S: u64 = 60;
/// Rows that the topic holds before the first start.
const ROWS_FIRST: usize = 200;
/// Longest wait for the last, bounded run.
const FINISH_LIMIT_S: u64 = 120;

/// Sinks by their number, because a case is a plain function.
pub(super) const SINKS: [Sink; 4] = [Sink::Files, Sink::Kafka, Sink::Postgres, Sink::Elasticsearch];

/// The step of a row of the matrix.
fn step(row: u8) -> &'static [&'static str] {
    match row {
        1 => &["ckpt.begin"],
        2 => &["op.snapshot"],
        3 => &["state.write"],
        4 => &["state.fsync"],
        5 => &["sink.prepare"],
        6 => &["manifest.write"],
        7 => &["manifest.fsync"],
        8 => &["dir.fsync"],
        9 | 10 => &["sink.commit"],
        11 => &["commit.recorded"],
        12 => &["src.offset_commit"],
        13 => &["ckpt.gc"],
        _ => &["restore.read", "restore.recommit"],
    }
}

/// One cell of the matrix: a row and a sink.
pub(super) fn cell<const ROW: u8, const SINK: usize>(context: &Context) -> Result<()> {
    let sink = SINKS[SINK];
    // Row 10 dies between the commits of two sinks of one loop.
    let sinks: &[Sink] = if ROW == 10 { &[sink, sink] } else { &[sink] };
    let mut world = World::new(context, sinks, true, super::seed_of(u64::from(ROW) * 10 + SINK as u64))?;
    world.produce(ROWS_FIRST)?;
    if ROW == 14 {
        restores(&mut world)?;
    } else {
        for death in 0..DEATHS {
            let count = match ROW {
                10 => 2 * world.random().usize(1..=3),
                _ => world.random().usize(1..=4),
            };
            let before = world.newest_checkpoint()?;
            ensure!(
                world.die_at(step(ROW)[0], count, DEATH_LIMIT_S)?,
                "death {death}: `{}` was not reached {count} times",
                step(ROW)[0]
            );
            world.check_safety()?;
            let program = world.start(&[])?;
            let back = world.wait_back(&program, before.max(world.newest_checkpoint()?))?;
            context.note(format!("death {death}: a new checkpoint {back:?} after the start"));
            world.produce(50)?;
            program.kill()?;
            count_death(None, true);
            world.check_safety()?;
        }
    }
    world.finish(FINISH_LIMIT_S)?;
    world.check_whole()?;
    world.check_no_leftovers()
}

/// Row 14: dies while it restores, twice, with work to commit again; the third start is clean.
fn restores(world: &mut World<'_>) -> Result<()> {
    for point in step(14) {
        // Rows of a durable checkpoint that were not committed, where the sink commits at all.
        world.die_at("sink.commit", 2, DEATH_LIMIT_S / 4)?;
        let died = world.die_at(point, 1, DEATH_LIMIT_S / 4)?;
        ensure!(died || *point == "restore.recommit", "`{point}` was not reached");
        world.check_safety()?;
    }
    Ok(())
}
