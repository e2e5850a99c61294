//! `SET 'wiesel.sink.<table>.versioned' = 'true'`: every document carries a version, so that a run which was overtaken cannot step back
//! what the newer one has written.
//!
//! ```text
//! version = generation of the run << 40 | number of the change in this run
//! ```
//! Each start claims the next generation: the version of a document of the index `wiesel-claims`, raised by one, which the server lets
//! only one of two runs do. A write with an older version is answered 409 and dropped; the run then looks at its claim, as it does after
//! every checkpoint, and ends when a newer one is there. Versions need whole documents: a row replaces what was there, where the unversioned
//! form merges fields into it. A server forgets the version of a deleted document after `index.gc_deletes` (60 s).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use wiesel_core::{Error, Result};

use super::client::{Answer, Client, Request, whole_reason};
use super::options::Connection;
use super::sink::refused_request;
use crate::epoch::{Record, superseded};

/// Bits of a version that count the changes of a run.
const SEQUENCE_BITS: u32 = 40;
const INDEX: &str = "wiesel-claims";
/// Runs that may claim at the same moment before one of them gives up for now.
const RACES_MAX: usize = 8;

/// The claim of one sink.
pub(super) struct Versions {
    table: String,
    /// `/wiesel-claims/_doc/<job and sink>`.
    path: String,
    document: String,
    generation: AtomicU64,
    client: Mutex<Client>,
}

impl Versions {
    pub(super) fn new(connection: Connection, run_key: &str, table: &str, ordinal: usize) -> Self {
        let sink = if ordinal == 0 { table.to_owned() } else { format!("{table}#{}", ordinal + 1) };
        Versions {
            table: table.to_owned(),
            path: format!("/{INDEX}/_doc/{}", path_segment(&format!("{run_key}/{sink}"))),
            document: serde_json::json!({ "job": run_key, "sink": sink }).to_string(),
            generation: AtomicU64::new(0),
            client: Mutex::new(Client::new(connection, 0)),
        }
    }

    /// The version before that of the run's first change.
    pub(super) fn base(&self) -> u64 {
        self.generation.load(Ordering::Acquire) << SEQUENCE_BITS
    }

    /// Claims the next generation.
    pub(super) fn claim(&self) -> Result<()> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..RACES_MAX {
            let next = self.read(&mut client)? + 1;
            let path = format!("{}?version={next}&version_type=external&refresh=false", self.path);
            match client.request(&path, &Request::PostJson(self.document.as_bytes()))? {
                Answer::Status { status: 200 | 201, .. } => {
                    self.generation.store(next, Ordering::Release);
                    return Ok(());
                }
                Answer::Status { status: 409, .. } => {}
                answer => return Err(failed(answer)),
            }
        }
        Err(Error::unavailable(format!("other runs claim sink `{}` at the same time", self.table)))
    }

    /// Ends the run when another one has claimed since.
    pub(super) fn check(&self) -> Result<()> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let (found, mine) = (self.read(&mut client)?, self.generation.load(Ordering::Acquire));
        if found <= mine {
            return Ok(());
        }
        Err(superseded(&self.table, mine, &Record { generation: found, ..Record::default() }))
    }

    fn read(&self, client: &mut Client) -> Result<u64> {
        match client.request(&self.path, &Request::Get)? {
            Answer::Status { status: 200, body, host } => {
                let answer: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
                let version = answer.get("_version").and_then(serde_json::Value::as_u64);
                version
                    .ok_or_else(|| Error::unavailable(format!("{host} answers without a version for `{}`", self.path)))
            }
            Answer::Status { status: 404, .. } => Ok(0),
            answer => Err(failed(answer)),
        }
    }
}

fn failed(answer: Answer) -> Error {
    match answer {
        Answer::Away(why) => Error::unavailable(why),
        Answer::Status { status: status @ (429 | 500..), body, host } => {
            Error::unavailable(format!("{host} answers {status}: {}", whole_reason(&body)))
        }
        Answer::Status { status, body, host } => refused_request(status, &whole_reason(&body), &host, INDEX)
            .hint(format!("a versioned sink keeps its claim in index `{INDEX}`: the user needs `read`, `write` and `create_index` on it")),
    }
}

/// Text as one part of a URL's path.
fn path_segment(text: &str) -> String {
    use std::fmt::Write as _;
    let mut segment = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            segment.push(char::from(byte));
        } else {
            write!(segment, "%{byte:02X}").expect("writing to a String cannot fail");
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_one_part_of_a_path() {
        assert_eq!(path_segment("a job/ü.x-1"), "a%20job%2F%C3%BC.x-1");
    }
}
