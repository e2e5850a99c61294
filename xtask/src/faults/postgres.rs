//! Rows 40 to 42 and 44: PostgreSQL restarts, loses a backend, loses the answer to a COMMIT, refuses for a moment.

use anyhow::{Context as _, Result, ensure};

use super::proxy::{Mode, Proxy};
use super::world::{Sink, World};
use crate::e2e::context::Context;

const SINKS: [Sink; 2] = [Sink::Postgres, Sink::PostgresByKey];
/// Times that a fault is repeated in a run.
const TURNS: usize = 4;

/// Row 40: the server restarts, and its backends are ended while they write.
pub(super) fn restarts_and_killed_backends(context: &Context) -> Result<()> {
    let mut world = World::new(context, &SINKS, false, super::seed_of(40))?;
    world.run_through(|world, _| {
        for _ in 0..TURNS {
            world.produce(100)?;
            context.postgres()?.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
            )?;
            let before = world.newest_checkpoint()?;
            let program = world.program()?;
            world.wait_back(&program, before)?;
        }
        world.produce(100)?;
        context.services().postgres()?.kill()?;
        context.services().postgres()?.restart()
    })
}

/// Row 41: the COMMIT is done, its answer is lost: the epoch row decides.
pub(super) fn answer_to_commit_lost(context: &Context) -> Result<()> {
    for (index, sink) in SINKS.into_iter().enumerate() {
        let mut world = World::new(context, &[sink], true, super::seed_of(410 + index as u64))?;
        let proxy = Proxy::start("127.0.0.1:0", &world.addresses().postgres)?;
        proxy.address().clone_into(&mut world.addresses().postgres);
        world.run_through(|world, _| {
            for turn in 1..=TURNS as u64 {
                proxy.set(Mode::LoseAnswerTo(b"COMMIT".to_vec()));
                world.produce(100)?;
                context.wait_until(60, "a lost answer", || Ok(proxy.lost() >= turn))?;
            }
            Ok(())
        })?;
        ensure!(proxy.lost() >= TURNS as u64, "only {} answers were lost", proxy.lost());
    }
    Ok(())
}

/// Row 42: a transaction is refused as a serialization failure (40001) or a deadlock's victim (40P01); it is repeated.
pub(super) fn serialization_failures(context: &Context) -> Result<()> {
    for (index, sink) in SINKS.into_iter().enumerate() {
        let mut world = World::new(context, &[sink], true, super::seed_of(420 + index as u64))?;
        let place = world.place().to_owned();
        // A sequence counts outside of transactions, so an error does not take the count back.
        context.postgres()?.execute(&format!(
            "CREATE SEQUENCE {place}_turn;
             CREATE FUNCTION {place}_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
             DECLARE turn BIGINT := nextval('{place}_turn');
             BEGIN
               IF turn IN (3, 40) THEN RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001'; END IF;
               IF turn IN (20, 60) THEN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END IF;
               RETURN NEW;
             END $$;
             CREATE TRIGGER {place}_refuse BEFORE INSERT ON {place} FOR EACH ROW EXECUTE FUNCTION {place}_refuse()"
        ))?;
        world.run_through(|world, _| world.produce(200))?;
        let turns = context.postgres()?.query(&format!("SELECT last_value FROM {place}_turn"))?;
        let turns: i64 = turns.first().and_then(|row| row.first()).context("a number")?.parse()?;
        ensure!(turns > 60, "the trigger ran {turns} times, so not every error came");
    }
    Ok(())
}

/// Row 43: a column goes away, or becomes one of another type, under a running job, which ends and names it with the type it expects.
pub(super) fn changed_columns(context: &Context) -> Result<()> {
    let changes = [
        ("DROP COLUMN total", "\"total\"", "total BIGINT"),
        ("ALTER COLUMN v TYPE DATE USING DATE '2024-01-01'", "\"v\"", "v BIGINT"),
    ];
    let cells = SINKS.into_iter().flat_map(|sink| changes.map(|change| (sink, change)));
    for (index, (sink, (change, column, expected))) in cells.enumerate() {
        let mut world = World::new(context, &[sink], true, super::seed_of(430 + index as u64))?;
        world.produce(200)?;
        let program = world.start(&[])?;
        world.wait_back(&program, 0)?;
        context.postgres()?.execute(&format!("ALTER TABLE {} {change}", world.place()))?;
        world.produce(100)?;
        let ended = program.wait(120)?;
        ensure!(ended.code.is_some_and(|code| code != 0), "{sink:?}, {change}: ended with {:?}", ended.code);
        for part in [column, expected, world.place()] {
            ensure!(ended.stderr.contains(part), "{sink:?}, {change}: `{part}` is missing in: {}", ended.stderr);
        }
    }
    Ok(())
}

/// Row 44: no connection is free for a while.
pub(super) fn connections_used_up(context: &Context) -> Result<()> {
    let mut world = World::new(context, &SINKS, false, super::seed_of(44))?;
    world.run_through(|world, _| {
        let program = world.program()?;
        let mut held = Vec::new();
        // The job may be quicker than this case to take the place of a connection that was ended; then once more.
        context.wait_until(90, "the word about the database", || {
            while let Ok(mut client) = context.postgres() {
                client.execute("SET application_name = 'held'")?;
                held.push(client);
            }
            held.first_mut().context("no connection at all")?.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name <> 'held' AND \
                 backend_type = 'client backend'",
            )?;
            // A sink that has nothing to write needs no connection.
            world.produce(5)?;
            Ok(program.stderr().contains("waiting, and trying again"))
        })?;
        drop(held);
        world.produce(50)
    })
}
