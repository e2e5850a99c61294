//! Memory and the store: when the tables are full, where the store lies, and the restore of more state than memory.
//!
//! The budget is split by what can be bounded: the tables may take [`TABLES_SHARE`] of it, the store's cache its own share, one step and
//! the hand-overs theirs; what is left serves the moments in which a table grows and its entries are written out. The loop looks after
//! every step; over the share, everything that operators can give back goes to the store, changed entries written first, because a
//! table that is emptied whole needs no bookkeeping of what was used when, and a key that is asked for often is back within one step.

use std::path::PathBuf;
use std::sync::Arc;

use wiesel_core::{Error, Result};

use super::graph::{Graph, Role};
use super::job::JobSpec;
use super::worker::{Part, Worker};
use crate::checkpoint::recovery::LargeState;
use crate::checkpoint::run::{self, EntryKind, RunBuffer};
use crate::checkpoint::storage;
use crate::state::store::{StateStore, Store};
use crate::state::vnode::worker_of_vnode;

/// The share of the budget that the operators' tables may take, as a fraction.
const TABLES_SHARE: (u64, u64) = (2, 5);
/// Less than this share of the tables' room is not worth a trip to the store: what cannot go there fills it.
const WORTH_SHARE: u64 = 8;
/// Entries are turned into sorted runs in pieces of this size when state is restored through the store.
const CONVERT_BYTES: usize = 16 << 20;
/// Entries given to operators before their memory is looked at.
const RESTORE_ENTRIES: usize = 16 << 10;
/// A restore reads this share of the budget straight into memory: an entry takes several times its bytes on the way.
const RESTORE_SHARE: u64 = 16;

/// What a job knows of its memory.
pub(super) struct Room {
    folder: PathBuf,
    memory_bytes: u64,
    store: Option<Arc<Store>>,
    tables_bytes: u64,
    spillable_bytes: u64,
    /// Rows came since room was made; without any, making room again would bring nothing.
    has_rows: bool,
}

/// Bytes of state that a restore may read straight into memory.
pub(super) fn restore_bytes_max(memory_bytes: u64) -> u64 {
    memory_bytes / RESTORE_SHARE
}

fn tables_max(memory_bytes: u64) -> u64 {
    memory_bytes / TABLES_SHARE.1 * TABLES_SHARE.0
}

impl Room {
    pub(super) fn new(spec: &JobSpec, is_kept: bool, store: Option<Arc<Store>>) -> Room {
        let folder = store_folder(spec, is_kept);
        if is_kept && store.is_none() {
            // Left behind by a process that died; what cannot be removed is in nobody's way until a store is made.
            drop(std::fs::remove_dir_all(&folder));
        }
        Room { folder, memory_bytes: spec.memory_bytes, store, tables_bytes: 0, spillable_bytes: 0, has_rows: false }
    }

    /// Notes what the operators said after a step.
    pub(super) fn note(&mut self, tables_bytes: u64, spillable_bytes: u64) {
        (self.tables_bytes, self.spillable_bytes) = (tables_bytes, spillable_bytes);
    }

    /// A step takes rows in.
    pub(super) fn take_rows(&mut self) {
        self.has_rows = true;
    }

    /// Room was made.
    pub(super) fn made(&mut self) {
        self.has_rows = false;
    }

    /// Whether the tables take more than their share, and giving back helps.
    pub(super) fn is_full(&self) -> bool {
        let max = tables_max(self.memory_bytes);
        self.has_rows && self.tables_bytes > max && self.spillable_bytes > max / WORTH_SHARE
    }

    /// The store, if there is one already.
    pub(super) fn store(&self) -> Option<Arc<Store>> {
        self.store.clone()
    }

    /// The store, and whether it was made just now.
    pub(super) fn open(&mut self) -> Result<(Arc<Store>, bool)> {
        if let Some(store) = &self.store {
            return Ok((Arc::clone(store), false));
        }
        let store = Store::create(&self.folder, self.memory_bytes)?;
        self.store = Some(Arc::clone(&store));
        Ok((store, true))
    }
}

fn store_folder(spec: &JobSpec, is_kept: bool) -> PathBuf {
    let folder = storage::scratch(&spec.state_dir);
    if is_kept { folder.join("store") } else { folder.join(format!("store-{}", std::process::id())) }
}

/// Gives the entries of a checkpoint that is larger than memory to the operators, by way of the store: runs become sorted runs there, and
/// their entries go to the operators in order. Operators that fill up give their memory back on the way; when none had to, the store has
/// done its work and `None` is returned.
pub(super) fn restore_large(
    spec: &JobSpec,
    graph: &Graph,
    ids: &[String],
    workers: &mut [Worker],
    large: &LargeState,
) -> Result<Option<Arc<Store>>> {
    let store = Store::create(&store_folder(spec, true), spec.memory_bytes)?;
    convert(ids, large, &store)?;
    let mut places = vec![None; ids.len()];
    for (place, node) in graph.nodes.iter().enumerate().filter(|(_, n)| n.role == Role::Operator) {
        places[node.plan_node] = Some(place);
    }
    let mut feed = Feed { store: &store, tables_max: tables_max(spec.memory_bytes), workers, has_evicted: false };
    let (mut count, mut table) = (0, None);
    store.for_each(|entry| {
        let Some(place) = places.get(usize::from(entry.operator)).copied().flatten() else { return Ok(()) };
        count += 1;
        let next_table = Some((entry.operator, entry.table));
        if (feed.has_evicted && table != next_table) || (count % RESTORE_ENTRIES == 0 && feed.is_full()) {
            feed.evict(graph)?;
        }
        table = next_table;
        let count = feed.workers.len();
        let owner = if graph.nodes[place].is_single { 0 } else { worker_of_vnode(entry.vnode, count) };
        match &mut feed.workers[owner].nodes[place].part {
            Part::Operator(operator) => operator.restore(entry.table, entry.vnode, entry.key, entry.value),
            _ => Ok(()),
        }
    })?;
    // A key of which a part was given back must not stay with the rest of it.
    if feed.has_evicted {
        feed.evict(graph)?;
    }
    Ok(feed.has_evicted.then_some(store))
}

struct Feed<'a> {
    store: &'a Arc<Store>,
    tables_max: u64,
    workers: &'a mut [Worker],
    has_evicted: bool,
}

impl Feed<'_> {
    fn is_full(&self) -> bool {
        let bytes_of = |part: &Part| match part {
            Part::Operator(operator) if operator.spills() => operator.state_bytes() as u64,
            _ => 0,
        };
        let nodes = self.workers.iter().flat_map(|worker| &worker.nodes);
        nodes.map(|node| bytes_of(&node.part)).sum::<u64>() > self.tables_max
    }

    fn evict(&mut self, graph: &Graph) -> Result<()> {
        self.has_evicted = true;
        for worker in self.workers.iter_mut() {
            for (place, node) in worker.nodes.iter_mut().enumerate() {
                if let Part::Operator(operator) = &mut node.part
                    && operator.spills()
                {
                    let number = u16::try_from(graph.nodes[place].plan_node).unwrap_or(u16::MAX);
                    operator.evict(&StateStore::new(Arc::clone(self.store), number))?;
                }
            }
        }
        Ok(())
    }
}

fn convert(ids: &[String], large: &LargeState, store: &Store) -> Result<()> {
    let mut buffer = RunBuffer::default();
    for file in &large.runs {
        run::stream(&large.folder, file, |id, entry| {
            // What no node of this plan asks for stays out.
            let Some(operator) = ids.iter().position(|i| i == id) else { return Ok(()) };
            let operator = u16::try_from(operator).map_err(|_| Error::internal("a plan of 65536 nodes"))?;
            if entry.kind == EntryKind::DeletePrefix {
                // It hides what was taken in before it.
                store.ingest(std::slice::from_ref(&buffer), |_| true)?;
                buffer.clear();
            }
            buffer.push(operator, &entry);
            if buffer.bytes() >= CONVERT_BYTES {
                store.ingest(std::slice::from_ref(&buffer), |_| true)?;
                buffer.clear();
            }
            Ok(())
        })?;
    }
    store.ingest(std::slice::from_ref(&buffer), |_| true)
}
