//! A source whose records name their schemas: before a batch goes on, every schema that it names is fetched.
//!
//! Workers decode and never wait; the source's thread does the waiting, as it does for its own system. While the registry is away, records
//! of known schemas go on. From the first record of an unknown schema on, the batches of that split are held back in their order, up to a
//! bound, and the state says what is waited for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use wiesel_core::env::{Waker, monotonic};
use wiesel_core::source::{RawBatch, RawRecord, Source, SourceEvent, Split, SplitIndex};
use wiesel_core::{ErrorKind, Result};

use super::registry::SchemaRegistry;
use super::schema_id;

/// Bytes that are held back; more are left where they are.
const HELD_BYTES_MAX: usize = 64 << 20;
/// The pauses between two questions to a registry that is away.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// The registries of the formats of values and keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct Registries {
    /// Of values.
    pub(crate) values: Option<Arc<SchemaRegistry>>,
    /// Of keys.
    pub(crate) keys: Option<Arc<SchemaRegistry>>,
}

impl Registries {
    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_none() && self.keys.is_none()
    }

    fn all(&self) -> impl Iterator<Item = &Arc<SchemaRegistry>> {
        self.values.iter().chain(&self.keys)
    }

    /// The first record that names an unknown schema: its place, the registry, and the id.
    fn first_unknown(&self, batch: &RawBatch) -> Option<(usize, &SchemaRegistry, u32)> {
        let part = |start: u32, end: u32| batch.arena.get(start as usize..end as usize).and_then(schema_id);
        let value = |r: &RawRecord| part(r.value_start, r.value_end).filter(|_| r.has_value);
        let key = |r: &RawRecord| part(r.key_start, r.key_end).filter(|_| r.has_key);
        let mut first = None;
        if let Some(registry) = &self.values {
            first = first_unknown(registry, batch, &value);
        }
        if let Some(registry) = &self.keys
            && let Some(found) = first_unknown(registry, batch, &key)
            && first.as_ref().is_none_or(|(at, ..)| found.0 < *at)
        {
            first = Some(found);
        }
        first
    }
}

fn first_unknown<'a>(
    registry: &'a SchemaRegistry,
    batch: &RawBatch,
    id_of: &dyn Fn(&RawRecord) -> Option<u32>,
) -> Option<(usize, &'a SchemaRegistry, u32)> {
    // Neighbours nearly always have the same schema.
    let mut last = None;
    for (index, record) in batch.records.iter().enumerate() {
        let id = id_of(record);
        if id.is_none() || id == last {
            continue;
        }
        last = id;
        if let Some(id) = id
            && registry.known(id).is_none()
        {
            return Some((index, registry, id));
        }
    }
    None
}

/// The source with its registries.
pub(crate) struct SchemaSource {
    source: Box<dyn Source>,
    registries: Registries,
    /// What waits for a schema, by split.
    held: BTreeMap<SplitIndex, VecDeque<SourceEvent>>,
    held_bytes: usize,
    next_question: Instant,
    pause: Duration,
    is_waiting: bool,
    idle: Waker,
}

impl SchemaSource {
    /// The source, its schemas kept in a folder when there is one.
    pub(crate) fn new(source: Box<dyn Source>, registries: Registries, folder: Option<&std::path::Path>) -> Self {
        for registry in registries.all() {
            if let Some(folder) = folder {
                registry.keep_in(folder);
            }
        }
        SchemaSource {
            source,
            registries,
            held: BTreeMap::new(),
            held_bytes: 0,
            next_question: monotonic(),
            pause: RETRY_FIRST,
            is_waiting: false,
            idle: Waker::default(),
        }
    }

    /// Hands an event on, or holds it back behind those of its split that wait.
    fn pass(&mut self, event: SourceEvent, events: &mut Vec<SourceEvent>) -> Result<()> {
        let split = match &event {
            SourceEvent::Raw(batch) => batch.split,
            SourceEvent::CaughtUp(split) | SourceEvent::Finished(split) => *split,
            _ => {
                events.push(event);
                return Ok(());
            }
        };
        if self.held.contains_key(&split) {
            self.hold(split, event);
            return Ok(());
        }
        let SourceEvent::Raw(mut batch) = event else {
            events.push(event);
            return Ok(());
        };
        loop {
            let Some((at, registry, id)) = self.registries.first_unknown(&batch) else {
                events.push(SourceEvent::Raw(batch));
                return Ok(());
            };
            let outcome = if monotonic() >= self.next_question { Some(registry.fetch(id)) } else { None };
            let reason = match outcome {
                Some(Ok(_)) => {
                    self.pause = RETRY_FIRST;
                    continue;
                }
                Some(Err(error)) if error.kind() != ErrorKind::Unavailable => return Err(error),
                Some(Err(error)) => Some(format!("schema {id} is not known yet, and {}", error.message())),
                None => None,
            };
            if let Some(reason) = reason {
                self.next_question = monotonic() + self.pause;
                self.pause = (self.pause * 2).min(RETRY_MAX);
                self.is_waiting = true;
                events.push(SourceEvent::Waiting(Some(reason)));
            }
            let rest = batch.records.split_off(at);
            if let Some(first) = rest.first() {
                let next = std::mem::replace(&mut batch.next, first.offset);
                let held = RawBatch { split, arena: batch.arena.clone(), records: rest, next };
                if !batch.records.is_empty() {
                    events.push(SourceEvent::Raw(batch));
                }
                self.hold(split, SourceEvent::Raw(held));
            }
            return Ok(());
        }
    }

    fn hold(&mut self, split: SplitIndex, event: SourceEvent) {
        self.held_bytes += size(&event);
        self.held.entry(split).or_default().push_back(event);
    }

    /// Hands on what has its schemas by now.
    fn release(&mut self, events: &mut Vec<SourceEvent>) -> Result<()> {
        if self.held.is_empty() || monotonic() < self.next_question {
            return Ok(());
        }
        for (split, waiting) in std::mem::take(&mut self.held) {
            for event in waiting {
                self.held_bytes -= size(&event);
                // The first that still waits takes the rest of its split with it.
                debug_assert!(!matches!(&event, SourceEvent::Raw(batch) if batch.split != split));
                self.pass(event, events)?;
            }
        }
        if self.held.is_empty() && self.is_waiting {
            self.is_waiting = false;
            events.push(SourceEvent::Waiting(None));
        }
        Ok(())
    }
}

fn size(event: &SourceEvent) -> usize {
    match event {
        SourceEvent::Raw(batch) => batch.arena.len() + batch.records.len() * size_of::<RawRecord>(),
        _ => 0,
    }
}

impl Source for SchemaSource {
    fn splits(&self) -> &[Split] {
        self.source.splits()
    }

    fn end(&self, split: SplitIndex) -> Option<i64> {
        self.source.end(split)
    }

    fn poll(&mut self, bytes_max: usize, wait: Duration, events: &mut Vec<SourceEvent>) -> Result<()> {
        self.release(events)?;
        if self.held_bytes >= HELD_BYTES_MAX {
            self.idle.wait(wait);
            return Ok(());
        }
        let mut fresh = Vec::new();
        let outcome = self.source.poll(bytes_max, wait, &mut fresh);
        for event in fresh {
            self.pass(event, events)?;
        }
        outcome
    }

    fn checkpoint_complete(&mut self, positions: &[(SplitIndex, i64)]) -> Result<()> {
        self.source.checkpoint_complete(positions)
    }
}
