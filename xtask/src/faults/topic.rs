//! Rows 29 to 31: the topic itself changes under the job.

use anyhow::{Result, ensure};

use super::world::{Sink, World};
use crate::e2e::context::Context;

/// Row 29: the topic is deleted and made again under the same name; offsets of the old one mean nothing in the new one.
pub(super) fn made_again(context: &Context) -> Result<()> {
    let mut world = World::new(context, &[Sink::Files], true, super::seed_of(29))?;
    world.produce(400)?;
    let program = world.start(&[])?;
    world.wait_back(&program, 0)?;
    program.terminate()?;
    program.wait(20)?.expect_code(0)?;
    let kafka = context.kafka()?;
    let topic = world.topic().to_owned();
    kafka.delete_topic(&topic)?;
    context.wait_until(30, "the topic to be gone", || Ok(kafka.create_topic(&topic, 4).is_ok()))?;
    world.produce(50)?;
    let finished = world.start(&[])?.wait(60)?;
    ensure!(finished.code != Some(0) && finished.code.is_some(), "the job went on in another topic of the same name");
    for part in [topic.as_str(), "offset"] {
        ensure!(finished.stderr.contains(part), "`{part}` is missing in the error: {}", finished.stderr);
    }
    Ok(())
}

/// Row 30: retention has removed rows behind the checkpoint's offset that were not read.
pub(super) fn retention(context: &Context) -> Result<()> {
    let mut world = World::new(context, &[Sink::Files], true, super::seed_of(30))?;
    world.produce(400)?;
    let program = world.start(&[])?;
    world.wait_back(&program, 0)?;
    program.terminate()?;
    program.wait(20)?.expect_code(0)?;
    world.produce(200)?;
    let kafka = context.kafka()?;
    kafka.delete_records(world.topic())?;
    let finished = world.start(&[])?.wait(60)?;
    ensure!(finished.code != Some(0) && finished.code.is_some(), "the job went on although rows are missing");
    for part in [world.topic(), "offset"] {
        ensure!(finished.stderr.contains(part), "`{part}` is missing in the error: {}", finished.stderr);
    }
    Ok(())
}

/// Row 31: rows of aborted transactions are never seen, those of committed ones are.
pub(super) fn aborted_transactions(context: &Context) -> Result<()> {
    let mut world = World::with_source(
        context,
        &[Sink::Files, Sink::Kafka],
        true,
        super::seed_of(31),
        ", 'properties.isolation.level' = 'read_committed'",
    )?;
    world.run_through(|world, _| {
        let kafka = context.kafka()?;
        let lines: Vec<String> = (0..50).map(|n| format!("{{\"k\":\"extra-{n}\",\"v\":{n}}}")).collect();
        for turn in 0..6 {
            kafka.produce_in_transaction(world.topic(), &context.unique("writer"), &lines, turn % 2 == 1)?;
        }
        Ok(())
    })
}
