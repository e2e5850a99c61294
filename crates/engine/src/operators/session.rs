//! The open sessions of every key: which session a row falls into, which sessions it joins into one, and which end next.
//!
//! ```text
//! gap 3:   rows   .  .        .  .         a row at t opens [t, t + 3); sessions that overlap or touch become one
//!        session  [--------)  [-----)
//! a row between               ^            joins both: [-------------------)
//! ```
//! Sessions of one key are told apart by a small number, the *level*: the first free one when a session opens. What an operator keeps of a
//! session stands under its level and key, so a key with one open session at a time, the usual case, always uses level 0. A session that
//! is joined into another is [`Joined`]; the operator moves what it kept.
//!
//! Lateness is decided after joining, as in Flink: a row is late when the session it would be in has ended. State: per key the bounds of its
//! open sessions, one entry in a checkpoint. Cost per row: one hash probe and a look at the key's few open sessions.

use std::collections::BTreeSet;

use wiesel_core::{Error, Result};

use super::aggregate::check_version;
use crate::operator::StateWriter;
use crate::state::codec::{KeyBuffer, Reader, STATE_VERSION, put_varint};
use crate::state::group_table::GroupTable;
use crate::state::vnode::hash_key;

/// The state table of open sessions; aggregates use the small numbers.
pub(super) const SESSIONS_TABLE: u8 = 254;

/// Open sessions of one key at most: a key whose rows come in no order while the watermark stands still.
const SESSIONS_PER_KEY_MAX: usize = 65_536;

/// An open session, on the clock that windows are cut by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) level: u32,
    /// Where it stands in the order of ends: its end when it was put there, which may have grown since.
    timer: i64,
}

/// What a row did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    /// The session it would be in has ended.
    Late,
    /// It is in the session of this level.
    In(u32),
    /// As before, but sessions must be joined first: see [`Sessions::take_joined`].
    Joining(u32),
}

/// A session that became part of another one of the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Joined {
    pub(super) from: u32,
    pub(super) into: u32,
}

/// The open sessions of all keys of a worker.
#[derive(Debug)]
pub(super) struct Sessions {
    gap_ms: i64,
    pub(super) keys: GroupTable,
    /// By slot of the key, in order of starts.
    open: Vec<Vec<Session>>,
    /// (timer, slot of the key, level).
    timers: BTreeSet<(i64, u32, u32)>,
    joined: Vec<Joined>,
    open_sessions: usize,
}

impl Sessions {
    pub(super) fn new(gap_ms: i64) -> Self {
        Sessions {
            gap_ms,
            keys: GroupTable::new(0),
            open: Vec::new(),
            timers: BTreeSet::new(),
            joined: Vec::new(),
            open_sessions: 0,
        }
    }

    /// The slots of the keys of a batch.
    pub(super) fn slots(&mut self, keys: &KeyBuffer, hashes: &[u64], rows: &[u32], slots: &mut Vec<u32>) {
        self.keys.slots(keys, hashes, rows, slots);
        self.open.resize_with(self.keys.slot_count(), Vec::new);
    }

    /// Puts a row of a key into its session. `has_ended` tells of an end whether its session is over.
    pub(super) fn place(&mut self, slot: u32, time_ms: i64, has_ended: impl Fn(i64) -> bool) -> Result<Placed> {
        let (mut start, mut end) = (time_ms, time_ms.saturating_add(self.gap_ms));
        let open = &mut self.open[slot as usize];
        // Sessions are apart by more than nothing, so those that the row touches stand side by side.
        let first = open.partition_point(|session| session.end < start);
        let count = open[first..].iter().take_while(|session| session.start <= end).count();
        if count == 0 {
            if has_ended(end) {
                return Ok(Placed::Late);
            }
            if open.len() >= SESSIONS_PER_KEY_MAX {
                return Err(Error::data(format!("a key has more than {SESSIONS_PER_KEY_MAX} open sessions"))
                    .hint("the watermark stands still while rows go on: look for an idle or a slow partition"));
            }
            let level = free_level(open);
            open.insert(first, Session { start, end, level, timer: end });
            self.timers.insert((end, slot, level));
            self.open_sessions += 1;
            self.keys.mark(slot, 0);
            return Ok(Placed::In(level));
        }
        let last = open[first + count - 1];
        start = start.min(open[first].start);
        end = end.max(last.end);
        let kept = &mut open[first];
        let level = kept.level;
        if (kept.start, kept.end) != (start, end) {
            (kept.start, kept.end) = (start, end);
            self.keys.mark(slot, 0);
        }
        if count == 1 {
            return Ok(Placed::In(level));
        }
        for gone in open.drain(first + 1..first + count) {
            self.timers.remove(&(gone.timer, slot, gone.level));
            self.joined.push(Joined { from: gone.level, into: level });
            self.open_sessions -= 1;
        }
        Ok(Placed::Joining(level))
    }

    /// The sessions joined by the last row placed.
    pub(super) fn take_joined(&mut self) -> Vec<Joined> {
        std::mem::take(&mut self.joined)
    }

    /// The end by which the next session may be over; it may turn out to have grown.
    pub(super) fn next_end(&self) -> Option<i64> {
        self.timers.first().map(|(end, _, _)| *end)
    }

    /// The next session whose end has come, in the order of ends; it is open no more. The key's slot stays until [`Sessions::release`].
    pub(super) fn take_ended(&mut self, has_ended: impl Fn(i64) -> bool) -> Option<(u32, Session)> {
        while let Some((timer, slot, level)) = self.timers.first().copied() {
            if !has_ended(timer) {
                return None;
            }
            self.timers.pop_first();
            let open = &mut self.open[slot as usize];
            let Some(position) = open.iter().position(|s| s.level == level && s.timer == timer) else { continue };
            if open[position].end > timer {
                open[position].timer = open[position].end;
                self.timers.insert((open[position].end, slot, level));
                continue;
            }
            let session = open.remove(position);
            self.open_sessions -= 1;
            self.keys.mark(slot, 0);
            return Some((slot, session));
        }
        None
    }

    /// Forgets a key without open sessions.
    pub(super) fn release(&mut self, slot: u32) {
        if self.open[slot as usize].is_empty() {
            self.keys.remove(slot);
        }
    }

    pub(super) fn snapshot(&mut self, full: bool, writer: &mut dyn StateWriter) {
        self.keys.write_removed(SESSIONS_TABLE, full, writer);
        let mut value = Vec::new();
        for slot in self.keys.take_dirty(full) {
            value.clear();
            value.push(STATE_VERSION);
            let open = &self.open[slot as usize];
            put_varint(open.len() as u64, &mut value);
            for session in open {
                put_varint(u64::from(session.level), &mut value);
                value.extend(session.start.to_le_bytes());
                value.extend(session.end.to_le_bytes());
            }
            writer.put(SESSIONS_TABLE, self.keys.vnode(slot), self.keys.key(slot), &value);
        }
    }

    pub(super) fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let slot = self.keys.slot(key, hash_key(key));
        self.open.resize_with(self.keys.slot_count(), Vec::new);
        self.keys.set_restored(slot, 0);
        let mut reader = Reader::new(value);
        check_version(reader.byte()?)?;
        for _ in 0..reader.varint()? {
            let level = u32::try_from(reader.varint()?)
                .map_err(|_| Error::internal("a checkpoint holds a session of an impossible level"))?;
            let (start, end) = (reader.i64()?, reader.i64()?);
            self.open[slot as usize].push(Session { start, end, level, timer: end });
            self.timers.insert((end, slot, level));
            self.open_sessions += 1;
        }
        Ok(())
    }

    pub(super) fn bytes(&self) -> usize {
        self.keys.bytes()
            + self.open.capacity() * size_of::<Vec<Session>>()
            + self.open_sessions * (size_of::<Session>() + size_of::<(i64, u32, u32)>())
    }
}

fn free_level(open: &[Session]) -> u32 {
    let is_free = |level: &u32| open.iter().all(|session| session.level != *level);
    let levels = u32::try_from(open.len()).unwrap_or(u32::MAX);
    // Among one more levels than there are sessions one is free.
    (0..=levels).find(is_free).unwrap_or(levels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(sessions: &mut Sessions, time: i64, watermark: i64) -> Placed {
        let mut slots = Vec::new();
        let mut keys = KeyBuffer::default();
        keys.push(b"");
        sessions.slots(&keys, &[hash_key(b"")], &[0], &mut slots);
        sessions.place(slots[0], time, |end| end - 1 <= watermark).unwrap()
    }

    #[test]
    fn a_row_between_two_sessions_joins_them_and_one_that_touches_belongs() {
        let mut sessions = Sessions::new(10);
        assert_eq!(place(&mut sessions, 0, 0), Placed::In(0));
        assert_eq!(place(&mut sessions, 20, 0), Placed::In(1));
        // [0, 10) and [10, 20) touch, [10, 20) and [20, 30) too.
        assert_eq!(place(&mut sessions, 10, 0), Placed::Joining(0));
        assert_eq!(sessions.take_joined(), [Joined { from: 1, into: 0 }]);
        assert_eq!(place(&mut sessions, 31, 0), Placed::In(1));
        let ended = |sessions: &mut Sessions, watermark: i64| {
            sessions.take_ended(|end| end - 1 <= watermark).map(|(_, s)| (s.start, s.end, s.level))
        };
        assert_eq!(ended(&mut sessions, 28), None);
        assert_eq!(ended(&mut sessions, 40), Some((0, 30, 0)));
        assert_eq!(ended(&mut sessions, 40), Some((31, 41, 1)));
        assert_eq!(ended(&mut sessions, 40), None);
    }

    #[test]
    fn lateness_is_decided_after_joining() {
        let mut sessions = Sessions::new(10);
        assert_eq!(place(&mut sessions, 12, 0), Placed::In(0));
        // [5, 15) alone would be over at 15, but it is part of the session that ends at 22.
        assert_eq!(place(&mut sessions, 5, 15), Placed::In(0));
        assert_eq!(place(&mut sessions, -6, 15), Placed::Late);
    }
}
