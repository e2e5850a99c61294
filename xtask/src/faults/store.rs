//! Rows 3 to 9 and 13 with the state and the files in an object store, which refuses requests and loses answers meanwhile.

use anyhow::{Result, ensure};

use super::totals::count_death;
use super::world::{Sink, World};
use crate::e2e::context::Context;

/// The steps: those that write to the place of the state, that of the files, or both.
const STEPS: [&str; 8] = [
    "state.write",
    "state.fsync",
    "sink.prepare",
    "manifest.write",
    "manifest.fsync",
    "dir.fsync",
    "sink.commit",
    "ckpt.gc",
];
/// A step is reached within so many seconds: checkpoints there take their time.
const DEATH_LIMIT_S: u64 = 90;
/// Longest wait for the last, bounded run.
const FINISH_LIMIT_S: u64 = 180;
/// Every so many-th request is answered with 503, and the answer to every so many-th write is lost.
const REFUSED: usize = 11;
const LOST: usize = 9;
/// So many of each must have come.
const FAULTS_MIN: u64 = 10;

/// A death at each step and one from outside after it; after all of them everything is there once and nothing is left over.
pub(super) fn kills(context: &Context) -> Result<()> {
    let mut world = World::new(context, &[Sink::Objects], true, super::seed_of(313))?;
    let (refused_before, lost_before) = context.services().objects()?.set_faults(REFUSED, LOST)?;
    world.produce(100)?;
    for step in STEPS {
        let count = world.random().usize(1..=2);
        let before = world.newest_checkpoint()?;
        ensure!(world.die_at(step, count, DEATH_LIMIT_S)?, "`{step}` was not reached {count} times");
        world.check_safety()?;
        let program = world.start(&[])?;
        let back = world.wait_back(&program, before.max(world.newest_checkpoint()?))?;
        context.note(format!("{step}: a new checkpoint {back:?} after the start"));
        world.produce(50)?;
        program.kill()?;
        count_death(None, true);
        world.check_safety()?;
    }
    world.finish(FINISH_LIMIT_S)?;
    let (refused, lost) = context.services().objects()?.set_faults(0, 0)?;
    let (refused, lost) = (refused - refused_before, lost - lost_before);
    context.note(format!("{refused} requests refused, {lost} answers lost"));
    ensure!(refused >= FAULTS_MIN && lost >= FAULTS_MIN, "only {refused} requests refused and {lost} answers lost");
    world.check_whole()?;
    world.check_no_leftovers()
}
