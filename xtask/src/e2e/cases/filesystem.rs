//! The filesystem sink as its readers see it: json in partitions, files that roll, and a disk that is full for a while.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::kafka_source::map;
use crate::e2e::context::Context;
use crate::e2e::program::newest_manifest;

/// Visible files below a folder, by their path in it.
pub(super) fn visible_files(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        if !next.exists() {
            continue;
        }
        for entry in fs::read_dir(&next)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if !name.starts_with(['.', '_']) {
                found.insert(path.strip_prefix(folder)?.display().to_string(), path);
            }
        }
    }
    Ok(found)
}

/// Every document of the visible files.
pub(super) fn documents(folder: &Path) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for path in visible_files(folder)?.values() {
        for line in fs::read_to_string(path)?.lines() {
            all.push(serde_json::from_str(line).with_context(|| format!("`{line}` in {}", path.display()))?);
        }
    }
    Ok(all)
}

pub(crate) fn json_is_partitioned_and_rolls_by_size(context: &Context) -> Result<()> {
    const COUNT: usize = 3000;
    let folder = context.folder().join("out");
    let job = format!(
        "SET 'parallelism.default' = '1';\n\
         CREATE TABLE numbers (id INT, tag AS CAST(MOD(id, 3) AS STRING)) WITH ('connector' = 'datagen', \
         'fields.id.kind' = 'sequence', 'fields.id.start' = '0', 'fields.id.end' = '{}');\n\
         CREATE TABLE files (id INT, text STRING, dt STRING, tag STRING) PARTITIONED BY (dt, tag) WITH ('connector' = 'filesystem', \
         'path' = '{}', 'format' = 'json', 'sink.rolling-policy.file-size' = '8KB');\n\
         INSERT INTO files SELECT id, CONCAT('row number ', CAST(id AS STRING)), '2024-01-01', tag FROM numbers;\n",
        COUNT - 1,
        folder.display()
    );
    let job = context.write("job.sql", &job)?;
    context.run(["run", &job], 60)?.expect_code(0)?;
    let files = visible_files(&folder)?;
    let mut found = Vec::new();
    for (name, path) in &files {
        let tag = name.strip_prefix("dt=2024-01-01/tag=").and_then(|rest| rest.split('/').next());
        let tag: i64 = tag.with_context(|| format!("`{name}` lies in no partition"))?.parse()?;
        for line in fs::read_to_string(path)?.lines() {
            let row: Value = serde_json::from_str(line)?;
            let id = row["id"].as_i64().context("an id")?;
            ensure!(id % 3 == tag, "row {id} lies in `{name}`");
            ensure!(row == serde_json::json!({"id": id, "text": format!("row number {id}")}), "found {row}");
            found.push(id);
        }
    }
    found.sort_unstable();
    ensure!(found == (0..COUNT as i64).collect::<Vec<_>>(), "{} rows came, or some twice", found.len());
    // About 40 bytes a row: each partition holds 40 KB, so its files must have rolled.
    ensure!(files.len() >= 6, "three partitions of 40 KB in files of 8 KB are more than {} files", files.len());
    Ok(())
}

/// A small file system in memory, mounted for the case and unmounted with it.
pub(super) struct SmallDisk(pub(super) PathBuf);

impl SmallDisk {
    pub(super) fn mount(folder: PathBuf, size: &str) -> Result<SmallDisk> {
        fs::create_dir_all(&folder)?;
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(&folder)
            .output()?;
        ensure!(output.status.success(), "mount: {}", String::from_utf8_lossy(&output.stderr));
        Ok(SmallDisk(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, because the program may still have files open there when a case fails.
        if let Err(error) = Command::new("umount").arg("-l").arg(&self.0).output() {
            eprintln!("xtask: umount `{}`: {error}", self.0.display());
        }
    }
}

pub(crate) fn a_full_disk_is_said_once_and_waited_for(context: &Context) -> Result<()> {
    const ROWS: i64 = 20_000;
    let disk = match SmallDisk::mount(context.folder().join("disk"), "1m") {
        Ok(disk) => disk,
        Err(error) => {
            // Without the right to mount there is no full disk to be had; the sink's own tests use /dev/full.
            println!("  no small disk could be mounted, the case looks at nothing: {error:#}");
            return Ok(());
        }
    };
    let ballast = disk.0.join("ballast");
    let topic = context.unique("full");
    let kafka = context.kafka()?;
    kafka.create_topic(&topic, 1)?;
    let job = format!(
        "SET 'execution.checkpointing.interval' = '200 ms';\nSET 'parallelism.default' = '1';\n\
         CREATE TABLE events (id INT, text STRING) WITH ('connector' = 'kafka', 'topic' = '{topic}', \
         'properties.bootstrap.servers' = 'kafka:9092', 'scan.startup.mode' = 'earliest-offset', 'format' = 'json');\n\
         CREATE TABLE files (id INT, text STRING) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json', \
         'sink.rolling-policy.file-size' = '64KB');\n\
         INSERT INTO files SELECT id, text FROM events;\n",
        disk.0.join("out").display()
    );
    let job = context.write("job.sql", &job)?;
    let arguments = ["run", job.as_str(), "--map", &map(context)?];
    let row = |id: i64| format!("{{\"id\":{id},\"text\":\"{}\"}}", "x".repeat(20));
    // 20 000 rows of 40 bytes are 0.8 MB; with half of the disk taken they do not fit.
    fs::write(&ballast, vec![0; 512 << 10])?;
    kafka.produce(&topic, (0..ROWS / 10).map(row))?;
    let program = context.spawn(arguments)?;
    program.wait_until(60, "committed files", |_| documents(&disk.0.join("out")).is_ok_and(|d| !d.is_empty()))?;
    kafka.produce(&topic, (ROWS / 10..ROWS).map(row))?;
    program
        .wait_until(60, "the word about the disk", |program| program.stderr().contains("waiting, and trying again"))?;
    let committed = documents(&disk.0.join("out"))?.len();
    fs::remove_file(&ballast)?;
    program.wait_until(60, "the way on", |program| program.stderr().contains("goes on"))?;
    let state = context.folder().join(".wiesel");
    let before = newest_manifest(&state)?;
    program.wait_until(60, "two checkpoints after it", |_| newest_manifest(&state).is_ok_and(|id| id >= before + 2))?;
    program.terminate()?;
    let finished = program.wait(30)?.expect_code(0)?;
    let said = finished.stderr.lines().filter(|line| line.contains("waiting, and trying again")).count();
    ensure!(said == 1, "the outage was said {said} times: {}", finished.stderr);
    ensure!(finished.stderr.contains("space"), "the reason is missing: {}", finished.stderr);
    let mut found: Vec<i64> = documents(&disk.0.join("out"))?.iter().filter_map(|d| d["id"].as_i64()).collect();
    found.sort_unstable();
    ensure!(found.len() >= committed, "rows that were visible are gone");
    ensure!(found == (0..ROWS).collect::<Vec<_>>(), "expected each of {ROWS} rows once, found {}", found.len());
    Ok(())
}
