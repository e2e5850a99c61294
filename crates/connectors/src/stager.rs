//! Between an exactly-once sink and its staging file: rows gather in a buffer on the worker, a thread writes full buffers to the file, and
//! a checkpoint cuts the buffer there and then, has the rest written and the file sealed.
//!
//! ```text
//! worker:  write -> [content]  --full, or cut by a checkpoint-->  thread: frames -> file, fsync when cut
//! ```
//! Three buffers at most: one being filled, one cut off, one on its way. The file of one epoch is bounded: when it is full the sink asks
//! for a checkpoint and takes no more until then. So are the files of all epochs that wait for their commit: when they are too large the
//! sink is full until a commit comes through.

use std::sync::Arc;
use std::time::Duration;

use wiesel_core::sink::{CheckpointKind, Prepared, RefusedRow, SinkContext, SinkCounters, SinkStatus};
use wiesel_core::{Error, ErrorKind, Result};

use crate::epoch::{self, Known, Pending, Run};
use crate::handover::{HandOver, Link, exponential_backoff};
use crate::stage::{StageWriter, Staged};

/// What one instance keeps between two checkpoints.
const EPOCH_BYTES_MAX: u64 = 256 << 20;
/// The first pause when the disk is full.
const BACKOFF_DELAY: Duration = Duration::from_millis(100);

/// Rows that gather for the staging file.
pub(crate) trait StageContent: Default + Send + 'static {
    /// Whether it must go to the file before it takes more.
    fn is_full(&self) -> bool;
    /// Hands its rows over as frames, each with the number of changes in it.
    fn frames(&self, append: &mut dyn FnMut(&[u8], u64) -> Result<()>) -> Result<()>;
    /// Empties it.
    fn clear(&mut self);
}

struct Work<C> {
    content: C,
    is_cut: bool,
    /// Once a cut is written: the file, if there was anything.
    sealed: Option<Option<Staged>>,
    epoch_bytes: u64,
}

/// The sink's side.
pub(crate) struct Stager<C> {
    content: C,
    spare: Option<C>,
    cut: Option<Work<C>>,
    handover: HandOver<Work<C>>,
    sealed: Option<Option<Staged>>,
    epoch_bytes: u64,
    run: Arc<Run>,
    /// Commits are counted once for all instances.
    is_first: bool,
    /// The checkpoint that is being prepared, and whether it is the end of the input.
    checkpoint: u64,
    is_last: bool,
    /// Rows that commits have refused, to be taken by the engine with the answer to the checkpoint.
    refused: Vec<RefusedRow>,
}

impl<C: StageContent> Stager<C> {
    /// Starts the thread of one instance. Files are named `<prefix>-<instance>-<number>.stage`.
    pub(crate) fn start(name: &str, context: &SinkContext, run: Arc<Run>) -> Result<Self> {
        let name = format!("{name}-{}", context.instance);
        let (folder, prefix) = (run.folder().to_owned(), format!("{}-{}", run.prefix(), context.instance));
        let (mut file, mut number) = (None, 0);
        let write = move |work: &mut Work<C>, link: &Link| {
            work.content.frames(&mut |frame, changes| {
                until_there_is_room(link, || {
                    let file = match &mut file {
                        Some(file) => file,
                        none => none.insert(StageWriter::create(&folder, &prefix, number)?),
                    };
                    file.append(frame, changes)
                })
            })?;
            work.content.clear();
            if work.is_cut {
                work.sealed = Some(file.take().map(StageWriter::seal).transpose()?);
                number += 1;
            }
            work.epoch_bytes = file.as_ref().map_or(0, StageWriter::bytes);
            Ok(())
        };
        let handover = HandOver::start(name, context.waker.clone(), write)?;
        Ok(Stager {
            content: C::default(),
            spare: None,
            cut: None,
            handover,
            sealed: None,
            epoch_bytes: 0,
            run,
            is_first: context.instance == 0,
            checkpoint: 0,
            is_last: false,
            refused: Vec::new(),
        })
    }

    /// What is being filled.
    pub(crate) fn content(&mut self) -> &mut C {
        &mut self.content
    }

    /// Reads what came back, hands over what is due.
    pub(crate) fn pump(&mut self) -> Result<()> {
        if let Some(work) = self.handover.take_back()? {
            self.spare = Some(work.content);
            self.epoch_bytes = work.epoch_bytes;
            if work.sealed.is_some() {
                self.sealed = work.sealed;
            }
        }
        if !self.handover.is_idle() {
            return Ok(());
        }
        if let Some(cut) = self.cut.take() {
            return self.handover.hand_over(cut);
        }
        if self.content.is_full() {
            let work = self.take_content(false);
            self.handover.hand_over(work)?;
        }
        Ok(())
    }

    fn take_content(&mut self, is_cut: bool) -> Work<C> {
        let content = std::mem::replace(&mut self.content, self.spare.take().unwrap_or_default());
        Work { content, is_cut, sealed: None, epoch_bytes: 0 }
    }

    /// What the loop may do.
    pub(crate) fn status(&mut self) -> Result<SinkStatus> {
        self.pump()?;
        Ok(if self.epoch_bytes >= EPOCH_BYTES_MAX {
            SinkStatus::NeedsCheckpoint
        } else if self.content.is_full() || self.run.is_full() {
            SinkStatus::Full
        } else {
            SinkStatus::Ready(None)
        })
    }

    /// A checkpoint begins: what was written so far belongs to it, nothing later does.
    pub(crate) fn prepare(&mut self, checkpoint: u64, kind: CheckpointKind) -> Result<()> {
        self.checkpoint = checkpoint;
        self.is_last = kind == CheckpointKind::Final;
        if self.is_last && self.is_first {
            // The checkpoints before the last one are confirmed when that begins.
            self.run.refusals().forget(checkpoint.saturating_sub(1))?;
        }
        self.sealed = None;
        self.epoch_bytes = 0;
        self.cut = Some(self.take_content(true));
        self.pump()
    }

    /// Rows that were refused: those of all commits up to the answer that [`Stager::poll_prepared`] just gave.
    pub(crate) fn take_refused(&mut self) -> Vec<RefusedRow> {
        std::mem::take(&mut self.refused)
    }

    /// What the checkpoint keeps, once the file of the last cut is durable; no pending work when there was nothing to stage.
    pub(crate) fn poll_prepared(&mut self) -> Result<Option<Prepared>> {
        self.pump()?;
        let Some(sealed) = self.sealed.take() else { return Ok(None) };
        let writer = self.run.generation();
        let pending = match sealed {
            Some(stage) => {
                self.run.staged(stage.bytes);
                epoch::encode(&Pending { writer, is_last: self.is_last, stage })?
            }
            None => Vec::new(),
        };
        let mut told = 0;
        if self.is_first && self.run.hands_over_refused {
            // The engine takes them together with this answer, so the checkpoint has both or neither.
            let mut refusals = self.run.refusals();
            self.refused = refusals.take(self.checkpoint)?;
            told = refusals.told();
        }
        Ok(Some(Prepared { pending, state: epoch::encode(&Known { generation: writer, told })? }))
    }

    /// The counters of an instance that took and folded so many changes.
    pub(crate) fn counters(&self, received: u64, folded: u64) -> SinkCounters {
        let (delivered, refused, retried) = if self.is_first { self.run.counts() } else { (0, 0, 0) };
        SinkCounters { received, delivered, folded, refused, retried }
    }

    /// What the thread waits for.
    pub(crate) fn waiting_for(&self) -> Option<String> {
        self.handover.progress().waiting_for()
    }
}

fn until_there_is_room(link: &Link, mut write: impl FnMut() -> Result<()>) -> Result<()> {
    let mut attempt = 0;
    loop {
        match write() {
            Err(error) if error.kind() == ErrorKind::Unavailable => wait(link, &mut attempt, &error)?,
            end => {
                link.progress.set_waiting_for(None);
                return end;
            }
        }
    }
}

fn wait(link: &Link, attempt: &mut u32, error: &Error) -> Result<()> {
    *attempt += 1;
    link.progress.set_waiting_for(Some(format!("{} (try {})", error.message(), *attempt + 1)));
    link.pause(exponential_backoff(BACKOFF_DELAY, *attempt))
}

#[cfg(test)]
mod tests {
    use wiesel_core::env::Waker;

    use super::*;
    use crate::stage::StageReader;

    #[derive(Default)]
    struct Words(Vec<u8>);

    impl StageContent for Words {
        fn is_full(&self) -> bool {
            self.0.len() >= 2
        }
        fn frames(&self, append: &mut dyn FnMut(&[u8], u64) -> Result<()>) -> Result<()> {
            if self.0.is_empty() { Ok(()) } else { append(&self.0, self.0.len() as u64) }
        }
        fn clear(&mut self) {
            self.0.clear();
        }
    }

    fn sealed(stager: &mut Stager<Words>, waker: &Waker) -> Option<Staged> {
        loop {
            if let Some(Prepared { pending, .. }) = stager.poll_prepared().unwrap() {
                return (!pending.is_empty()).then(|| epoch::decode::<Pending>(&pending).unwrap().stage);
            }
            waker.wait(Duration::from_secs(10));
        }
    }

    #[test]
    fn a_checkpoint_cuts_exactly_where_it_began() {
        let folder = tempfile::tempdir().unwrap();
        let waker = Waker::default();
        let run = Arc::new(Run::new(&folder.path().display().to_string(), "sink-t-0".to_owned(), false));
        let context = SinkContext { instance: 0, instances: 1, restored: Vec::new(), waker: waker.clone() };
        let mut stager = Stager::<Words>::start("t", &context, run).unwrap();
        stager.content().0.extend(b"abc");
        stager.pump().unwrap();
        stager.content().0.push(b'd');
        stager.prepare(1, CheckpointKind::Periodic).unwrap();
        stager.content().0.push(b'e');
        let first = sealed(&mut stager, &waker).unwrap();
        stager.prepare(2, CheckpointKind::Periodic).unwrap();
        let second = sealed(&mut stager, &waker).unwrap();
        stager.prepare(3, CheckpointKind::Periodic).unwrap();
        assert_eq!(sealed(&mut stager, &waker), None, "nothing is staged, so there is no file");
        for (staged, expected) in [(first, "abcd"), (second, "e")] {
            let mut reader = StageReader::open(folder.path(), &staged).unwrap();
            let mut text = Vec::new();
            while let Some(frame) = reader.next().unwrap() {
                text.extend_from_slice(frame);
            }
            assert_eq!(text, expected.as_bytes());
        }
    }
}
