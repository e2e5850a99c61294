//! Which folder of the state a job of the file goes on in, when the file was changed so that the job has another name.
//!
//! A job's folder is called by the sinks that it writes. When a sink is added or removed the name changes, and the state lies under the
//! old one: to begin beside it would read everything again and leave rows behind that no sink has confirmed. So a job without a checkpoint
//! of its own looks for a folder of the same pipeline that wrote one of its sinks. Where it is the only one to fit, the job goes on in it,
//! and what becomes of each operator is decided as for any changed plan. Where it is not clear, and where a folder is left that wrote a
//! sink of the file, nothing starts, unless state may be dropped.
//!
//! The folder keeps its name: systems that keep a record of a run know the run by it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use wiesel_engine::checkpoint::{self, Kind, Standing};

/// A job of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Loop {
    /// The folder that goes by its name.
    pub(crate) own: PathBuf,
    /// The tables that it writes.
    pub(crate) sinks: BTreeSet<String>,
}

/// Where jobs go on, by the folder that is their own; those that are not in it stay in that.
pub(crate) type Folders = BTreeMap<PathBuf, PathBuf>;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) places: Folders,
    /// Folders that no job goes on in, as text, each with what it holds.
    pub(crate) left: Vec<String>,
}

/// Looks at the folders beside those of the file's jobs.
pub(crate) fn find(loops: &[Loop]) -> wiesel_core::Result<Found> {
    let mut found = Found::default();
    let roots: BTreeSet<&Path> = loops.iter().filter_map(|one| one.own.parent()).collect();
    for root in roots {
        let of_root: Vec<&Loop> = loops.iter().filter(|one| one.own.parent() == Some(root)).collect();
        let mut others = Vec::new();
        for name in checkpoint::folders(root)? {
            let folder = root.join(&name);
            if of_root.iter().any(|one| one.own == folder) {
                continue;
            }
            if let Some(standing) = checkpoint::standing(&folder)?.filter(is_open) {
                others.push((folder, standing));
            }
        }
        if !others.is_empty() {
            let mut homeless = BTreeSet::new();
            for one in &of_root {
                if checkpoint::newest(&one.own)?.is_none() {
                    homeless.insert(&one.own);
                }
            }
            fit(&of_root, &homeless, &others, &mut found);
        }
    }
    Ok(found)
}

/// Whether something would go on from it.
fn is_open(standing: &Standing) -> bool {
    standing.kind != Kind::Final || !standing.is_confirmed
}

fn fit(loops: &[&Loop], homeless: &BTreeSet<&PathBuf>, others: &[(PathBuf, Standing)], found: &mut Found) {
    let writes = |one: &Loop, standing: &Standing| standing.sinks.iter().any(|sink| one.sinks.contains(sink));
    for (folder, standing) in others {
        let writers: Vec<&&Loop> = loops.iter().filter(|one| writes(one, standing)).collect();
        let mut takers = writers.iter().filter(|one| homeless.contains(&one.own));
        if let (Some(taker), None) = (takers.next(), takers.next())
            && others.iter().filter(|(_, standing)| writes(taker, standing)).count() == 1
        {
            found.places.insert(taker.own.clone(), folder.clone());
        } else if !writers.is_empty() {
            found.left.push(text(folder, standing));
        }
    }
}

fn text(folder: &Path, standing: &Standing) -> String {
    let confirmed = if standing.is_confirmed { "" } else { ", its rows not confirmed by the sinks" };
    let mut text = format!(
        "`{}`: checkpoint {} of a job that wrote {}{confirmed}",
        folder.display(),
        standing.id,
        standing.sinks.join(", ")
    );
    for line in &standing.held {
        _ = write!(text, "\n  drop     {line}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, sinks: &[&str]) -> Loop {
        Loop { own: Path::new("/s").join(name), sinks: sinks.iter().map(|sink| (*sink).to_owned()).collect() }
    }

    fn standing(name: &str, sinks: &[&str]) -> (PathBuf, Standing) {
        let sinks = sinks.iter().map(|sink| (*sink).to_owned()).collect();
        let held = vec!["Sink: what the sink knows of its open work".to_owned()];
        (Path::new("/s").join(name), Standing { id: 7, kind: Kind::Stop, is_confirmed: true, sinks, held })
    }

    /// Jobs by folder with their sinks, folders that are there with theirs, what goes on where, how many are left.
    type Case<'a> = (&'a [(&'a str, &'a [&'a str])], &'a [(&'a str, &'a [&'a str])], &'a [(&'a str, &'a str)], usize);

    #[test]
    fn a_job_goes_on_where_its_sinks_were_written_if_that_is_one_place() {
        let cases: &[Case<'_>] = &[
            // A sink removed, one added, one exchanged.
            (&[("a", &["a"])], &[("a,b", &["a", "b", "letters"])], &[("a", "a,b")], 0),
            (&[("a,b", &["a", "b"])], &[("a", &["a"])], &[("a,b", "a")], 0),
            (&[("a,c", &["a", "c"])], &[("a,b", &["a", "b"])], &[("a,c", "a,b")], 0),
            // Another job of the pipeline is none of this file's business.
            (&[("a", &["a"])], &[("z", &["z"])], &[], 0),
            // One into two, and two into one.
            (&[("a", &["a"]), ("b", &["b"])], &[("a,b", &["a", "b"])], &[], 1),
            (&[("a,b", &["a", "b"])], &[("a", &["a"]), ("b", &["b"])], &[], 2),
            // The second of two INSERTs into one table is gone; the first is where it was.
            (&[("a!", &["a"])], &[("a-2", &["a"])], &[], 1),
        ];
        for (loops, others, expected, left) in cases {
            let loops: Vec<Loop> = loops.iter().map(|(name, sinks)| one(name, sinks)).collect();
            let others: Vec<_> = others.iter().map(|(name, sinks)| standing(name, sinks)).collect();
            let has_own = |own: &PathBuf| own.display().to_string().ends_with('!');
            let homeless = loops.iter().map(|one| &one.own).filter(|own| !has_own(own)).collect();
            let mut found = Found::default();
            fit(&loops.iter().collect::<Vec<_>>(), &homeless, &others, &mut found);
            let path = |name: &str| Path::new("/s").join(name);
            let expected: Folders = expected.iter().map(|(own, at)| (path(own), path(at))).collect();
            assert_eq!((&found.places, found.left.len()), (&expected, *left), "{loops:?}");
        }
    }
}
