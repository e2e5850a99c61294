//! Rows that wait for the end of their window: what joins and Top-N per window keep.
//!
//! ```text
//! place = window end (8 bytes, in order) | key | what the operator sorts by
//! ```
//! A window in memory is taken as a whole, in the order of places. One of which the store holds rows is taken one virtual node after the
//! other, rows of memory and store merged by place, so that it never stands in memory at once; the rows in memory are sorted by virtual
//! node when that begins. Rows are only ever added, so nothing is looked for in the store before.

use std::collections::BTreeSet;

use wiesel_core::{DataType, Error, Result};

use crate::operator::StateWriter;
use crate::state::codec::{Reader, number_i64, order_i64, split_key};
use crate::state::ordered_table::{OrderedTable, StateValue};
use crate::state::store::{Loaded, StateStore};
use crate::state::vnode::vnode_of_key;

/// A place and the encoded row there.
pub(super) type PlacedRow = (Box<[u8]>, Box<[u8]>);

/// See the module's head.
pub(super) struct WindowRows {
    table: u8,
    key_types: Vec<DataType>,
    rows: OrderedTable<Box<[u8]>>,
    store: Option<StateStore>,
    /// Ends of windows of which the store holds rows, and of those that were taken since the last snapshot.
    stored: BTreeSet<i64>,
    gone: Vec<i64>,
    ending: Option<Ending>,
    loaded: Loaded,
}

/// A window that is being taken: its rows in memory, by virtual node and place.
struct Ending {
    window_end: i64,
    rows: Vec<(u8, PlacedRow)>,
}

impl WindowRows {
    /// No rows; those of a checkpoint stand in `table`, their keys have these types.
    pub(super) fn new(table: u8, key_types: Vec<DataType>) -> WindowRows {
        WindowRows {
            table,
            key_types,
            rows: OrderedTable::default(),
            store: None,
            stored: BTreeSet::new(),
            gone: Vec::new(),
            ending: None,
            loaded: Loaded::default(),
        }
    }

    /// Adds a row.
    pub(super) fn put(&mut self, place: &[u8], row: &[u8]) {
        self.rows.put(place, row.into());
    }

    /// Removes a row.
    pub(super) fn remove(&mut self, place: &[u8]) {
        self.rows.remove(place);
    }

    /// The last place in memory that begins with a prefix.
    pub(super) fn last_place(&self, prefix: &[u8]) -> Option<Box<[u8]>> {
        self.rows.last(prefix).map(|(place, _)| place.into())
    }

    /// The key of a place, and what stands behind it.
    pub(super) fn split<'a>(&self, place: &'a [u8]) -> Result<(&'a [u8], &'a [u8])> {
        let rest = place.get(8..).ok_or_else(|| Error::internal("a state entry of a window has no window end"))?;
        split_key(&self.key_types, rest)
    }

    fn vnode(&self, place: &[u8]) -> u8 {
        self.split(place).map_or(0, |(key, _)| vnode_of_key(key))
    }

    /// The end of the first window that has rows.
    pub(super) fn next_window_end(&self) -> Option<i64> {
        let in_memory =
            self.rows.first(&[]).and_then(|(place, _)| place.first_chunk::<8>().map(|end| number_i64(*end)));
        let ending = self.ending.as_ref().map(|ending| ending.window_end);
        in_memory.into_iter().chain(self.stored.first().copied()).chain(ending).min()
    }

    /// Whether the store holds rows of a window.
    pub(super) fn is_stored(&self, window_end: i64) -> bool {
        self.stored.contains(&window_end)
    }

    /// Takes all rows of a window that lies in memory.
    pub(super) fn take(&mut self, window_end: i64) -> Vec<PlacedRow> {
        let prefix = order_i64(window_end);
        let rows = self.rows.range(&prefix).map(|(place, row)| (place.into(), row.clone())).collect();
        self.rows.remove_prefix(&prefix);
        rows
    }

    /// Takes the rows of one virtual node of a window; they follow those of smaller ones.
    pub(super) fn take_vnode(&mut self, window_end: i64, vnode: u8) -> Result<Vec<PlacedRow>> {
        if self.ending.as_ref().is_none_or(|ending| ending.window_end != window_end) {
            let taken = self.take(window_end);
            let mut rows: Vec<(u8, PlacedRow)> = taken.into_iter().map(|row| (self.vnode(&row.0), row)).collect();
            // From the back, which is given away first.
            rows.sort_by(|a, b| b.cmp(a));
            self.ending = Some(Ending { window_end, rows });
        }
        let mut rows = Vec::new();
        if let Some(ending) = &mut self.ending {
            while let Some((_, row)) = ending.rows.pop_if(|(of_row, _)| *of_row == vnode) {
                rows.push(row);
            }
        }
        if let (Some(store), true) = (&self.store, self.stored.contains(&window_end)) {
            self.loaded.clear();
            store.load_prefixes(self.table, std::iter::once((vnode, &order_i64(window_end)[..])), &mut self.loaded)?;
            let in_memory = rows.len();
            for (_, _, place, value) in self.loaded.iter() {
                rows.push((place.into(), StateValue::decode(&mut Reader::new(value))?));
            }
            // A row that a checkpoint wrote stands in memory and in the store.
            if in_memory > 0 {
                rows.sort();
                rows.dedup_by(|a, b| a.0 == b.0);
            }
        }
        Ok(rows)
    }

    /// All of a window is taken.
    pub(super) fn done(&mut self, window_end: i64) {
        self.ending = None;
        if self.stored.remove(&window_end) {
            self.gone.push(window_end);
        }
    }

    /// Writes changed rows, or all of them.
    pub(super) fn snapshot(&mut self, full: bool, writer: &mut dyn StateWriter) {
        let mut deletes: Vec<Box<[u8]>> = Vec::new();
        let mut puts: Vec<(Box<[u8]>, Vec<u8>)> = Vec::new();
        self.rows.take_changes(full, |place, row| match row {
            None => deletes.push(place.into()),
            Some(row) => {
                let mut value = Vec::new();
                row.encode(&mut value);
                puts.push((place.into(), value));
            }
        });
        for place in &deletes {
            writer.delete(self.table, self.vnode(place), place);
        }
        // A full snapshot begins with nothing, so there is nothing to delete.
        for window_end in self.gone.drain(..).filter(|_| !full) {
            writer.delete_prefix(self.table, &order_i64(window_end));
        }
        for (place, value) in &puts {
            writer.put(self.table, self.vnode(place), place, value);
        }
    }

    /// Takes an entry of a checkpoint back.
    pub(super) fn restore(&mut self, place: &[u8], value: &[u8]) -> Result<()> {
        self.rows.restore(place, Reader::new(value))
    }

    /// Forgets the rows in memory: the store holds them.
    pub(super) fn evict(&mut self, store: &StateStore) {
        let mut from = None;
        // From window to window, not from row to row.
        while let Some(end) = self.first_end_behind(from) {
            self.stored.insert(end);
            from = Some(end);
        }
        self.rows = OrderedTable::tracking();
        self.store = Some(store.clone());
    }

    fn first_end_behind(&self, window_end: Option<i64>) -> Option<i64> {
        let from = match window_end {
            None => [0; 8],
            Some(end) => order_i64(end.checked_add(1)?),
        };
        let (place, _) = self.rows.between(&from, &[u8::MAX; 9]).next()?;
        place.first_chunk::<8>().map(|end| number_i64(*end))
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        let ending = self.ending.iter().flat_map(|ending| &ending.rows);
        self.rows.bytes()
            + ending.map(|(_, (place, row))| size_of::<(u8, PlacedRow)>() + place.len() + row.len()).sum::<usize>()
            + self.loaded.bytes()
    }
}
