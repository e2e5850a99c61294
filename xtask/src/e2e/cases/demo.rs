//! `wiesel demo`, what `make demo` ends with: totals here, sums per second in Parquet files, no server.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

use crate::e2e::context::Context;
use crate::services::python;

const PAYMENT_COUNT: u64 = 5_000;

pub(crate) fn shows_totals_and_writes_sums(context: &Context) -> Result<()> {
    let folder = context.folder().join("sums");
    let path = folder.display().to_string();
    let count = PAYMENT_COUNT.to_string();
    let finished = context.run(["demo", "--count", &count, "--output", &path], 60)?.expect_code(0)?;
    let finished = finished.expect_stdout("Next: wiesel run ")?;
    // The table is shown again and again; the last one holds every payment: branch, total, payments.
    let mut totals: BTreeMap<String, (f64, u64)> = BTreeMap::new();
    for line in finished.stdout.lines().filter(|line| line.contains("Branch_")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, branch, total, payments, _] = cells.as_slice() else { anyhow::bail!("not a row: `{line}`") };
        totals.insert((*branch).to_owned(), (total.parse()?, payments.parse()?));
    }
    ensure!(totals.len() == 10, "there are ten branches, found {totals:?}");
    let shown: u64 = totals.values().map(|(_, payments)| payments).sum();
    ensure!(shown == PAYMENT_COUNT, "{shown} payments are shown");

    // Windows on the wall clock: what had not ended with the input is not written, as in Flink.
    let mut written: BTreeMap<String, (f64, u64)> = BTreeMap::new();
    for row in python::parquet_rows(&folder, "duckdb")? {
        let sums = written.entry(row["branch"].as_str().context("a branch")?.to_owned()).or_default();
        sums.0 += row["pay_amount"].as_f64().context("a sum")?;
        sums.1 += row["payments"].as_u64().context("a count")?;
    }
    ensure!(!written.is_empty(), "no window was written");
    for (branch, (sum, payments)) in &written {
        let (total, all) = totals.get(branch).with_context(|| format!("`{branch}` is not shown"))?;
        let is_part = payments < all && sum < total || payments == all && (sum - total).abs() < 1e-6;
        ensure!(is_part, "`{branch}`: {payments} payments of {sum} in files, {all} of {total} shown");
    }
    Ok(())
}
