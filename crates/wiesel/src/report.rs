//! The counters of a job at its end, one line for each source, sink and node, as sums that add up.
//!
//! ```text
//! source `clicks`: 100 fetched = 97 rows + 2 skipped + 1 refused
//! node 3 `Calc(...)`: 97 in, 40 out
//! sink `out`: 40 received = 38 delivered + 2 folded + 0 refused
//! ```
//! A source whose format makes several rows of one record (a changelog's update is two) has more rows than records, and says so.

use std::sync::atomic::Ordering::Relaxed;

use wiesel_engine::step::metrics::{Metrics, NodeMetrics};

/// The lines.
pub(crate) fn counter_lines(metrics: &Metrics) -> Vec<String> {
    let mut lines = Vec::new();
    for source in &metrics.sources {
        let [fetched, rows, skipped, refused] =
            [&source.fetched, &source.rows, &source.skipped, &source.refused].map(|counter| counter.load(Relaxed));
        let records = fetched.saturating_sub(skipped + refused);
        let of_rows = if records == rows { format!("{rows} rows") } else { format!("{records} records ({rows} rows)") };
        lines.push(format!(
            "source `{}`: {fetched} fetched = {of_rows} + {skipped} skipped + {refused} refused",
            source.table
        ));
    }
    // An exchange counts nothing: what goes in comes out, and its neighbours say how much.
    let counting = |(_, node): &(usize, &NodeMetrics)| !node.label.starts_with("Exchange(");
    for (id, node) in metrics.nodes.iter().enumerate().filter(counting) {
        let [rows_in, rows_out, late] =
            [&node.rows_in, &node.rows_out, &node.late_rows].map(|counter| counter.load(Relaxed));
        let inputs: Vec<String> = node.inputs.iter().map(ToString::to_string).collect();
        let from = if inputs.is_empty() { String::new() } else { format!(" from {}", inputs.join(" and ")) };
        let late = if late > 0 { format!(", {late} late") } else { String::new() };
        lines.push(format!("node {id} `{}`: {rows_in} in{from}, {rows_out} out{late}", node.label));
    }
    for sink in metrics.sinks.iter().filter(|sink| !sink.table.is_empty()) {
        let [received, delivered, folded, refused, dropped] =
            [&sink.received, &sink.delivered, &sink.folded, &sink.refused, &sink.null_rows_dropped]
                .map(|counter| counter.load(Relaxed));
        let dropped = if dropped > 0 { format!(", {dropped} dropped before it for a NULL") } else { String::new() };
        lines.push(format!(
            "sink `{}`: {received} received = {delivered} delivered + {folded} folded + {refused} refused{dropped}",
            sink.table
        ));
    }
    lines
}
