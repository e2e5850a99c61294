//! The changes that wait to be sent: by document id the last one, or, without ids, all of them in order.
//!
//! Ids and documents lie in two arenas, so a change costs no allocation of its own. A replaced document leaves a hole in its arena;
//! when holes prevail the arena is rebuilt.

use std::ops::Range;

use crate::key_index::KeyIndex;

/// Holes smaller than this are not worth rebuilding the arena for.
const HOLES_BYTES_MIN: usize = 1 << 20;
/// The number of an index in front of an id.
const INDEX_BYTES: usize = 4;

/// What happens to a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Written; the range is its place in the arena of documents.
    Write(Range<usize>),
    /// Deleted.
    Delete,
}

/// One change.
#[derive(Debug, Clone)]
pub(super) struct Change {
    /// The number of its id; `None` without a key.
    id: Option<usize>,
    /// The number of its index; `None` when all go to one.
    index: Option<usize>,
    /// What happens.
    pub(super) action: Action,
    /// The row of the batch being written that this change will come from.
    row: Option<usize>,
}

/// Changes waiting to be sent.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    /// Ids are numbered as the changes are. Where documents go to several indices, the number of the index stands in front.
    ids: KeyIndex,
    /// Names of indices, where they are not one.
    indices: KeyIndex,
    key: Vec<u8>,
    documents: Vec<u8>,
    changes: Vec<Change>,
    /// Bytes of documents that are still some change's.
    live_bytes: usize,
}

impl Buffer {
    /// The number of changes.
    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there is nothing to send.
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Bytes of ids and documents to be sent.
    pub(super) fn bytes(&self) -> usize {
        self.ids.bytes() + self.indices.bytes() + self.live_bytes
    }

    /// The changes, in the order in which their ids first came.
    pub(super) fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The id of a change.
    pub(super) fn id(&self, change: &Change) -> &str {
        let id = change.id.map_or(&[][..], |number| self.ids.key(number));
        let id = if change.index.is_some() { id.get(INDEX_BYTES..).unwrap_or_default() } else { id };
        str::from_utf8(id).unwrap_or_default()
    }

    /// The index of a change, where it is its own.
    pub(super) fn index(&self, change: &Change) -> Option<&str> {
        str::from_utf8(self.indices.key(change.index?)).ok()
    }

    /// The document of a range.
    pub(super) fn document(&self, range: &Range<usize>) -> &[u8] {
        self.documents.get(range.clone()).unwrap_or_default()
    }

    /// Empties the buffer, keeping its memory.
    pub(super) fn clear(&mut self) {
        self.ids.clear();
        self.indices.clear();
        self.documents.clear();
        self.changes.clear();
        self.live_bytes = 0;
    }

    /// Adds a document without id, to an index of its own or the one of all.
    pub(super) fn append(&mut self, index: Option<&str>, document: &[u8]) {
        let index = index.map(|name| self.indices.number(name.as_bytes()).0);
        let start = self.documents.len();
        self.documents.extend_from_slice(document);
        self.live_bytes += document.len();
        let action = Action::Write(start..self.documents.len());
        self.changes.push(Change { id: None, index, action, row: None });
    }

    /// Notes that `id` (of an index of its own or the one of all) is changed by `row` of the batch being written (a delete when `is_delete`). Says whether an earlier change of the
    /// same id was replaced. Rows that are to be written get their documents by [`Buffer::set_documents`].
    pub(super) fn note(
        &mut self,
        index: Option<&str>,
        id: &str,
        row: usize,
        is_delete: bool,
        touched: &mut Vec<usize>,
    ) -> bool {
        let of = index.map(|name| self.indices.number(name.as_bytes()).0);
        let (index, is_new) = match of {
            None => self.ids.number(id.as_bytes()),
            Some(of) => {
                self.key.clear();
                self.key.extend_from_slice(&u32::try_from(of).unwrap_or(u32::MAX).to_be_bytes());
                self.key.extend_from_slice(id.as_bytes());
                self.ids.number(&self.key)
            }
        };
        if is_new {
            self.changes.push(Change { id: Some(index), index: of, action: Action::Delete, row: None });
        }
        if let Some(change) = self.changes.get_mut(index) {
            if let Action::Write(range) = &change.action {
                self.live_bytes -= range.len();
            }
            change.action = Action::Delete;
            if !is_delete && change.row.is_none() {
                touched.push(index);
            }
            change.row = if is_delete { None } else { Some(row) };
        }
        !is_new
    }

    /// The rows that the changes in `touched` (as filled by [`Buffer::note`]) need documents of. Changes that a later delete overtook,
    /// and repetitions, are dropped from the list.
    pub(super) fn rows_wanted(&mut self, touched: &mut Vec<usize>) -> Vec<usize> {
        let mut rows = Vec::with_capacity(touched.len());
        touched.retain(|index| match self.changes.get_mut(*index).and_then(|c| c.row.take()) {
            Some(row) => {
                rows.push(row);
                true
            }
            None => false,
        });
        rows
    }

    /// Gives the changes in `touched` their documents, which lie one after the other in `documents` and end at `ends`.
    pub(super) fn set_documents(&mut self, touched: &[usize], documents: &[u8], ends: &[usize]) {
        let offset = self.documents.len();
        self.documents.extend_from_slice(documents);
        let mut start = 0;
        for (index, end) in touched.iter().zip(ends) {
            if let Some(change) = self.changes.get_mut(*index) {
                change.action = Action::Write(offset + start..offset + end);
                self.live_bytes += end - start;
            }
            start = *end;
        }
        if self.documents.len() > 2 * self.live_bytes + HOLES_BYTES_MIN {
            self.close_holes();
        }
    }

    fn close_holes(&mut self) {
        let mut documents = Vec::with_capacity(self.live_bytes);
        for change in &mut self.changes {
            if let Action::Write(range) = &mut change.action {
                let start = documents.len();
                documents.extend_from_slice(self.documents.get(range.clone()).unwrap_or_default());
                *range = start..documents.len();
            }
        }
        self.documents = documents;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a batch of (id, document or delete) and returns how many changes were folded.
    fn write(buffer: &mut Buffer, batch: &[(&str, Option<&str>)]) -> usize {
        let mut touched = Vec::new();
        let mut folded = 0;
        for (row, (id, document)) in batch.iter().enumerate() {
            folded += usize::from(buffer.note(None, id, row, document.is_none(), &mut touched));
        }
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for row in buffer.rows_wanted(&mut touched) {
            bytes.extend_from_slice(batch[row].1.unwrap().as_bytes());
            ends.push(bytes.len());
        }
        buffer.set_documents(&touched, &bytes, &ends);
        folded
    }

    fn content(buffer: &Buffer) -> Vec<(String, Option<String>)> {
        let document = |action: &Action| match action {
            Action::Write(range) => Some(String::from_utf8(buffer.document(range).to_vec()).unwrap()),
            Action::Delete => None,
        };
        buffer.changes().iter().map(|c| (buffer.id(c).to_owned(), document(&c.action))).collect()
    }

    fn owned(expected: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
        expected.iter().map(|(id, d)| ((*id).to_owned(), d.map(str::to_owned))).collect()
    }

    #[test]
    fn the_last_change_of_an_id_wins_within_and_across_batches() {
        let mut buffer = Buffer::default();
        let folded = write(&mut buffer, &[("a", Some("1")), ("b", Some("1")), ("a", Some("2")), ("c", None)]);
        assert_eq!(folded, 1);
        assert_eq!(content(&buffer), owned(&[("a", Some("2")), ("b", Some("1")), ("c", None)]));
        let folded =
            write(&mut buffer, &[("b", None), ("c", Some("3")), ("a", Some("4")), ("a", None), ("a", Some("5"))]);
        assert_eq!(folded, 5);
        assert_eq!(content(&buffer), owned(&[("a", Some("5")), ("b", None), ("c", Some("3"))]));
        let folded = write(&mut buffer, &[("a", Some("6")), ("a", None)]);
        assert_eq!(folded, 2);
        assert_eq!(content(&buffer), owned(&[("a", None), ("b", None), ("c", Some("3"))]));
        assert_eq!(buffer.bytes(), 4);
    }

    #[test]
    fn an_id_is_one_of_its_index() {
        let mut buffer = Buffer::default();
        let mut touched = Vec::new();
        assert!(!buffer.note(Some("x"), "1", 0, false, &mut touched));
        assert!(!buffer.note(Some("y"), "1", 1, true, &mut touched));
        assert!(buffer.note(Some("x"), "1", 2, true, &mut touched));
        buffer.append(Some("y"), b"{}");
        let found: Vec<_> = buffer.changes().iter().map(|c| (buffer.index(c), buffer.id(c))).collect();
        assert_eq!(found, [(Some("x"), "1"), (Some("y"), "1"), (Some("y"), "")]);
    }

    #[test]
    fn replaced_documents_do_not_pile_up() {
        let mut buffer = Buffer::default();
        let document = "x".repeat(1000);
        for _ in 0..10_000 {
            write(&mut buffer, &[("a", Some(&document)), ("b", Some(&document))]);
        }
        assert!(buffer.documents.len() < 2 * HOLES_BYTES_MIN);
        assert_eq!(content(&buffer), owned(&[("a", Some(&document)), ("b", Some(&document))]));
    }
}
