//! A broker that is away: said once, waited for, and the job goes on by itself when it is there.

use anyhow::{Result, ensure};

use super::kafka_source::{copy_job, map};
use crate::e2e::context::Context;

fn said(stderr: &str) -> usize {
    stderr.lines().filter(|line| line.contains("waiting, and trying again")).count()
}

pub(crate) fn a_broker_that_is_away_is_said_once_and_waited_for(context: &Context) -> Result<()> {
    let topic = context.unique("away");
    let kafka = context.kafka()?;
    kafka.create_topic(&topic, 2)?;
    kafka.produce(&topic, [r#"{"id":1}"#, r#"{"id":2}"#])?;
    let job = context.write("job.sql", &copy_job(&topic, ", 'scan.startup.mode' = 'earliest-offset'"))?;
    let map = map(context)?;
    // Away at the start.
    context.services().kafka()?.stop()?;
    let program = context.spawn(["run", &job, "--map", &map])?;
    program.wait_until(60, "the word about the broker", |program| said(&program.stderr()) == 1)?;
    context.services().kafka()?.restart()?;
    program.wait_until(60, "the rows", |program| program.stdout().lines().count() == 2)?;
    program.wait_until(10, "the way on", |program| program.stderr().contains("goes on"))?;
    // Away in the middle.
    context.services().kafka()?.kill()?;
    program.wait_until(60, "the second word", |program| said(&program.stderr()) == 2)?;
    context.services().kafka()?.restart()?;
    context.kafka()?.produce(&topic, [r#"{"id":3}"#])?;
    program.wait_until(60, "the new row", |program| program.stdout().contains("+I[3]"))?;
    program.terminate()?;
    let finished = program.wait(20)?.expect_code(0)?;
    ensure!(finished.stdout.lines().count() == 3, "each row once, found {:?}", finished.stdout);
    ensure!(said(&finished.stderr) == 2, "each outage is said once: {}", finished.stderr);
    Ok(())
}
