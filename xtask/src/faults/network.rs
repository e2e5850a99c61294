//! Rows 22 to 27: the broker goes away, the network breaks, somebody else uses the same group.

use anyhow::{Result, ensure};

use super::proxy::{Mode, Proxy};
use super::world::{Sink, World};
use crate::e2e::context::Context;

/// Restarts of the broker in one case.
const RESTARTS: usize = 3;

/// Rows 22 and 23: the broker stops in good order, or is killed, and comes back.
pub(super) fn broker_restarts<const ROW: u8>(context: &Context) -> Result<()> {
    let mut world = World::new(context, &[Sink::Files, Sink::Kafka], true, super::seed_of(u64::from(ROW)))?;
    world.run_through(|world, _| {
        for _ in 0..RESTARTS {
            // The broker ends somewhere in the middle of a commit of rows that came a little earlier.
            for _ in 0..world.random().usize(1..=10) {
                world.produce(10)?;
            }
            let services = context.services();
            if ROW == 22 {
                services.kafka()?.stop()?
            } else {
                services.kafka()?.kill()?
            }
            services.kafka()?.restart()?;
            let before = world.newest_checkpoint()?;
            let program = world.program()?;
            world.wait_back(&program, before)?;
        }
        Ok(())
    })
}

/// A job that reads through a proxy.
fn through_proxy(context: &Context, row: u8, disturb: impl FnOnce(&mut World<'_>, &Proxy) -> Result<()>) -> Result<()> {
    let (server, advertised) = context.services().kafka()?.behind_proxy();
    let proxy = Proxy::start(&advertised, &server)?;
    let mut world = World::new(context, &[Sink::Files], true, super::seed_of(u64::from(row)))?;
    proxy.address().clone_into(&mut world.addresses().kafka);
    world.run_through(|world, _| disturb(world, &proxy))
}

/// Row 24: no connection for a while; the status says what is waited for.
pub(super) fn partition(context: &Context) -> Result<()> {
    through_proxy(context, 24, |world, proxy| {
        proxy.set(Mode::Cut);
        let program = world.program()?;
        program.wait_until(60, "the word about the broker", |p| p.stderr().contains("waiting, and trying again"))?;
        world.produce(100)?;
        proxy.set(Mode::Pass);
        Ok(())
    })
}

/// Row 25: a connection that takes everything and never answers is given up by a time-out.
pub(super) fn half_open(context: &Context) -> Result<()> {
    through_proxy(context, 25, |world, proxy| {
        proxy.set(Mode::Silent);
        world.produce(100)?;
        let program = world.program()?;
        program.wait_until(150, "the word about the broker", |p| p.stderr().contains("waiting, and trying again"))?;
        proxy.set(Mode::Pass);
        Ok(())
    })
}

/// Row 26: connections that break in the middle of a fetch, then a very slow line.
pub(super) fn resets_and_slow(context: &Context) -> Result<()> {
    through_proxy(context, 26, |world, proxy| {
        proxy.set(Mode::CutAfter(3_000));
        world.produce(400)?;
        context.wait_until(60, "two broken connections", || Ok(proxy.lost() >= 2))?;
        proxy.set(Mode::Slow(4_000));
        world.produce(200)?;
        let before = world.newest_checkpoint()?;
        let program = world.program()?;
        world.wait_back(&program, before)?;
        proxy.set(Mode::Pass);
        Ok(())
    })
}

/// Row 27: another consumer of the same group, subscribed, changes nothing.
pub(super) fn foreign_consumer(context: &Context) -> Result<()> {
    let mut world = World::new(context, &[Sink::Files], true, super::seed_of(27))?;
    world.run_through(|world, _| {
        let topic = world.topic().to_owned();
        let read = context.kafka()?.consume_in_group(&topic, &topic, 50, || world.produce(20))?;
        ensure!(read > 0, "the other consumer read nothing, so it joined nothing");
        world.produce(200)
    })
}
