//! The folder of checkpoints on a disk that is full: a checkpoint fails, the job goes on, the old one stands, and all is well again once
//! there is room.

use std::fs;

use anyhow::{Result, ensure};

use super::filesystem::SmallDisk;
use crate::e2e::context::Context;
use crate::e2e::program::newest_manifest;

pub(crate) fn a_full_disk_fails_checkpoints_and_the_job_goes_on(context: &Context) -> Result<()> {
    let disk = match SmallDisk::mount(context.folder().join("disk"), "8m") {
        Ok(disk) => disk,
        Err(error) => {
            // Without the right to mount there is no full disk to be had; the engine's own tests make the writing fail otherwise.
            println!("  no small disk could be mounted, the case looks at nothing: {error:#}");
            return Ok(());
        }
    };
    let state = disk.0.join("state");
    let ballast = disk.0.join("ballast");
    let job = context.write(
        "job.sql",
        "SET 'execution.checkpointing.interval' = '200 ms';\n\
         CREATE TABLE numbers (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '2000',\n\
           'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '100000000');\n\
         CREATE TABLE counts (k BIGINT, n BIGINT) WITH ('connector' = 'blackhole');\n\
         INSERT INTO counts SELECT MOD(id, 20000), COUNT(*) FROM numbers GROUP BY MOD(id, 20000);\n",
    )?;
    let arguments = ["run", &job, "--state", &state.display().to_string()].map(str::to_owned);
    let program = context.spawn(&arguments)?;
    program.wait_until(60, "a checkpoint", |_| newest_manifest(&state).is_ok_and(|id| id > 0))?;
    // All the room that is left: the file ends where the disk does.
    drop(fs::write(&ballast, vec![0; 8 << 20]));
    program.wait_until(60, "the word about the disk", |p| p.stderr().contains("the job goes on"))?;
    let standing = newest_manifest(&state)?;
    ensure!(program.try_wait()?.is_none(), "the job ended: {}", program.stderr());
    ensure!(program.stderr().contains("No space left on device"), "the disk is not named: {}", program.stderr());
    fs::remove_file(&ballast)?;
    program.wait_until(60, "a checkpoint after that", |_| newest_manifest(&state).is_ok_and(|id| id > standing))?;
    program.kill()?;
    program.wait(20)?;
    let again = context.spawn(&arguments)?;
    again.wait_until(60, "the resumed job", |p| p.stderr().contains("resumed from checkpoint"))?;
    ensure!(!again.stderr().contains("damaged"), "a checkpoint is damaged: {}", again.stderr());
    again.terminate()?;
    again.wait(20)?.expect_code(0)?;
    Ok(())
}
