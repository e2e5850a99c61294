//! A run takes its sinks over: which run it is to a sink that keeps a record of runs, and what the checkpoint says to it.

use std::path::Path;
use std::sync::Arc;

use wiesel_core::sink::{Claim, RunStart, SinkFactory};
use wiesel_core::{Error, Result};
use wiesel_plan::{NodeKind, StreamPlan};

use super::assemble::retried;
use super::control::Control;
use super::metrics::Metrics;
use crate::checkpoint::Resume;
use crate::checkpoint::manifest::{Manifest, positions_text};
use crate::checkpoint::recovery::Recovered;

/// The job's and the loop's name: the last two parts of the state folder, `<pipeline.name, else file stem>/<loop>`. The folders above are
/// left out, so that a twin with its state elsewhere is the same run to the sink.
pub(crate) fn run_key(state_dir: &Path) -> String {
    let part = |path: Option<&Path>| {
        path.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    };
    format!("{}/{}", part(state_dir.parent()), part(Some(state_dir)))
}

/// By sink of the plan: how many before it write the same table.
pub(crate) fn ordinals(plan: &StreamPlan) -> Vec<usize> {
    let path = |&node: &usize| match &plan.nodes[node].kind {
        NodeKind::Sink(sink) => sink.table.path.as_str(),
        _ => "",
    };
    let paths: Vec<&str> = plan.sinks.iter().map(path).collect();
    (0..paths.len()).map(|i| paths[..i].iter().filter(|p| **p == paths[i]).count()).collect()
}

/// Claims every sink that keeps a record, before anything is committed to it.
pub(crate) fn claim_sinks(
    plan: &StreamPlan,
    allow_duplicates: bool,
    (control, metrics): (&Control, &Metrics),
    sinks: &[Option<Arc<dyn SinkFactory>>],
    ids: &[String],
    recovered: &Recovered,
) -> Result<()> {
    let start = match recovered.resume {
        _ if allow_duplicates => RunStart::OnRequest,
        Resume::NotKept | Resume::FreshOnRequest { .. } => RunStart::OnRequest,
        Resume::Fresh => RunStart::Fresh,
        Resume::Resumed { checkpoint, .. } => RunStart::After(checkpoint),
        // What the sink committed behind the savepoint would be written again.
        Resume::FromSavepoint { .. } => recovered.standing.as_ref().map_or(RunStart::Fresh, |m| RunStart::After(m.id)),
        Resume::StartedAnew { finished } | Resume::Completes { finished } => RunStart::After(finished),
    };
    let positions = recovered.standing.as_ref().map(positions_text).unwrap_or_default();
    for (index, factory) in sinks.iter().enumerate() {
        let (Some(factory), NodeKind::Sink(sink)) = (factory, &plan.nodes[plan.sinks[index]].kind) else { continue };
        let restored = states(recovered.standing.as_ref(), &ids[plan.sinks[index]], &sink.table.name);
        let claim = Claim { start, restored, positions: &positions };
        retried(control, metrics, &format!("claim of sink `{}`", sink.table.name), || factory.claim(&claim))?;
    }
    Ok(())
}

/// A sink of a plan that was changed after its end is known by its table.
fn states<'a>(manifest: Option<&'a Manifest>, id: &str, table: &str) -> &'a [Vec<u8>] {
    let Some(manifest) = manifest else { return &[] };
    let by_id = manifest.sinks.iter().find(|s| s.operator == id);
    by_id.or_else(|| manifest.sinks.iter().find(|s| s.table == table)).map_or(&[], |entry| &entry.states)
}

/// Tells sinks that keep no record from those that do, for the fall-back behind a damaged checkpoint.
pub(crate) fn without_record(plan: &StreamPlan, sinks: &[Option<Arc<dyn SinkFactory>>]) -> Vec<String> {
    let of = |(&node, factory): (&usize, &Option<Arc<dyn SinkFactory>>)| match (&plan.nodes[node].kind, factory) {
        (NodeKind::Sink(sink), Some(factory)) if sink.info.delivery == "exactly-once" && !factory.keeps_record() => {
            Some(sink.table.name.clone())
        }
        _ => None,
    };
    plan.sinks.iter().zip(sinks).filter_map(of).collect()
}

/// Why a run must not fall back, or `None` when it may.
pub(crate) fn refuse_fall_back(
    error: Error,
    lost: u64,
    sink: &str,
    lost_at: &str,
    older: Option<(u64, String)>,
) -> Error {
    let lost_at = if lost_at.is_empty() { String::new() } else { format!(" (up to {lost_at})") };
    let back = match older {
        Some((id, positions)) => format!("going back to checkpoint {id} ({positions})"),
        None => "starting anew".to_owned(),
    };
    error.at(format!("checkpoint {lost}")).hint(format!(
        "the exactly-once sink `{sink}` may show epoch {lost}{lost_at} already, so {back} could write rows twice: \
         `--allow-duplicates` takes that, `--fresh` starts anew"
    ))
}
