//! Frames between wiesel and a worker: a head in JSON and a body in Arrow's stream format.

use std::io::{Read, Write};

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use serde_json::Value;
use wiesel_core::{Error, Result};

/// A frame longer than this is none: the other side has lost its way.
const FRAME_BYTES_MAX: u64 = 4 << 30;

/// Writes a frame.
pub(crate) fn write(to: &mut impl Write, head: &Value, body: &[u8]) -> std::io::Result<()> {
    let text = head.to_string();
    let mut front = Vec::with_capacity(12 + text.len());
    front.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    front.extend_from_slice(&(body.len() as u64).to_le_bytes());
    front.extend_from_slice(text.as_bytes());
    to.write_all(&front)?;
    to.write_all(body)
}

/// Reads a frame.
pub(crate) fn read(from: &mut impl Read) -> std::io::Result<(Value, Vec<u8>)> {
    let mut front = [0; 12];
    from.read_exact(&mut front)?;
    let [a, b, c, d, length @ ..] = front;
    let (head, body) = (u64::from(u32::from_le_bytes([a, b, c, d])), u64::from_le_bytes(length));
    let invalid = |what: String| std::io::Error::new(std::io::ErrorKind::InvalidData, what);
    if head > FRAME_BYTES_MAX || body > FRAME_BYTES_MAX {
        return Err(invalid("the worker sent something that is no frame".to_owned()));
    }
    let mut take = |length: u64| -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        from.read_exact(&mut bytes)?;
        Ok(bytes)
    };
    let head = take(head)?;
    let head = serde_json::from_slice(&head).map_err(|e| invalid(format!("the head of a frame is no JSON: {e}")))?;
    Ok((head, take(body)?))
}

/// A batch as a body.
pub(crate) fn encode(batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
    out.clear();
    let mut writer = StreamWriter::try_new(out, &batch.schema())?;
    writer.write(batch)?;
    writer.finish()?;
    Ok(())
}

/// The one batch of a body.
pub(crate) fn decode(body: &[u8]) -> Result<RecordBatch> {
    let mut reader = StreamReader::try_new(body, None).map_err(|e| Error::internal(format!("no Arrow stream: {e}")))?;
    match reader.next() {
        Some(batch) => Ok(batch?),
        None => Err(Error::internal("a worker answered without a batch")),
    }
}
