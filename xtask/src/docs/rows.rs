//! Rows of `docs/coverage/*.csv`: fields divided by `;`, the first line names them.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

/// Reads a file; every row has as many fields as the first line.
pub(super) fn read(root: &Path, name: &str) -> Result<Vec<Vec<String>>> {
    let path = root.join("docs/coverage").join(name);
    let text = fs::read_to_string(&path).with_context(|| format!("read `docs/coverage/{name}`"))?;
    let mut lines = text.lines().enumerate();
    let width = lines.next().map_or(0, |(_, head)| head.split(';').count());
    let mut rows = Vec::new();
    for (index, line) in lines.filter(|(_, line)| !line.is_empty()) {
        let fields: Vec<String> = line.split(';').map(str::to_owned).collect();
        ensure!(
            fields.len() == width,
            "docs/coverage/{name}:{}: expected {width} fields, found {}",
            index + 1,
            fields.len()
        );
        rows.push(fields);
    }
    Ok(rows)
}
