//! The sink against a scripted server: what it sends, and what it does with each kind of answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use wiesel_core::env::Waker;
use wiesel_core::sink::{CheckpointKind, Prepared, Sink, SinkContext, SinkCounters, SinkFactory, SinkStatus};
use wiesel_core::value::column;
use wiesel_core::{ChangeBatch, ChangelogMode, DataType, ErrorKind, Result, RowKind, TypeKind, Value};

use super::id::DocumentIds;
use super::options::ElasticsearchOptions;
use super::sink::ElasticsearchFactory;
use super::versions::Versions;
use crate::formats::{Encoder, EncoderFactory};
use crate::registry::tests::table;
use crate::registry::{ConnectorContext, schema};

/// One scripted answer.
#[derive(Clone)]
enum Script {
    /// A status and a body.
    Answer(u16, String),
    /// The request is read, then the connection is closed.
    Swallow,
    /// 200 when the request is at most so long, else 413.
    Limit(usize),
}

/// A server that answers as scripted, and success when the script is over.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(script: Vec<Script>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let script = Arc::new(Mutex::new(script.into_iter()));
        spawn(move || {
            for stream in listener.incoming() {
                let (seen, script) = (Arc::clone(&seen), Arc::clone(&script));
                let stream = stream.unwrap();
                spawn(move || while serve(&stream, &seen, &mut || script.lock().unwrap().next()) {});
            }
        });
        Server { address, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn spawn(run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().name("fake elasticsearch".to_owned()).spawn(run).unwrap();
}

/// Answers one request; says whether the connection stays.
fn serve(stream: &TcpStream, seen: &Mutex<Vec<String>>, next: &mut dyn FnMut() -> Option<Script>) -> bool {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return false;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    seen.lock().unwrap().push(format!("{head}\n{body}"));
    let ok = || (200, r#"{"errors":false,"items":[]}"#.to_owned());
    let (status, text) = match next() {
        None => ok(),
        Some(Script::Answer(status, text)) => (status, text),
        Some(Script::Swallow) => return false,
        Some(Script::Limit(bytes)) if body.len() <= bytes => ok(),
        Some(Script::Limit(_)) => (413, "too large".to_owned()),
    };
    let mut stream = stream;
    let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{text}", text.len());
    stream.write_all(answer.as_bytes()).is_ok()
}

/// Writes `{"k":"...","n":...}`; the tests are about requests, not about JSON.
struct TwoColumns;

impl EncoderFactory for TwoColumns {
    fn create(&self) -> Result<Box<dyn Encoder>> {
        Ok(Box::new(TwoColumns))
    }
}

impl Encoder for TwoColumns {
    fn encode(&mut self, batch: &ChangeBatch, bytes: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<()> {
        let (keys, numbers) =
            (batch.rows.column(0).as_string::<i32>(), batch.rows.column(1).as_primitive::<Int32Type>());
        for row in 0..batch.len() {
            write!(bytes, r#"{{"k":"{}","n":{}}}"#, keys.value(row), numbers.value(row)).unwrap();
            ends.push(bytes.len());
        }
        Ok(())
    }
}

/// A sink of two columns, `k STRING` and `n INT`, writing to `hosts`.
fn open(hosts: &str, key: &[&str], options: &[(&str, &str)]) -> (Box<dyn Sink>, Waker) {
    open_with(hosts, key, options, |_| {})
}

/// The same with a factory that is changed before.
fn open_with(
    hosts: &str,
    key: &[&str],
    options: &[(&str, &str)],
    change: impl FnOnce(&mut ElasticsearchFactory),
) -> (Box<dyn Sink>, Waker) {
    let mut all = vec![
        ("connector", "elasticsearch-7"),
        ("hosts", hosts),
        ("index", "i"),
        ("sink.bulk-flush.backoff.delay", "1"),
    ];
    all.extend(options);
    let table = table(&[("k", DataType::string()), ("n", DataType::int())], key, &all);
    let mode = if key.is_empty() { ChangelogMode::Insert } else { ChangelogMode::Upsert };
    let schema = schema(&table, &[0, 1]).unwrap();
    let context = ConnectorContext::default();
    assert_eq!(super::info(&table, &context).unwrap().sink_mode, Some(mode));
    let mut options = ElasticsearchOptions::read(&table, schema.clone(), "UTC", &context).unwrap();
    options.encoder = Arc::new(TwoColumns);
    let ids = (!key.is_empty()).then(|| Arc::new(DocumentIds::new(&schema, &table.primary_key, "_").unwrap()));
    let mut factory = ElasticsearchFactory {
        table: "t".to_owned(),
        options: Arc::new(options),
        ids,
        hands_over_refused: false,
        versions: None,
    };
    change(&mut factory);
    let waker = Waker::default();
    let context = SinkContext { instance: 0, instances: 1, restored: Vec::new(), waker: waker.clone() };
    (factory.open(context).unwrap(), waker)
}

fn batch(changes: &[(RowKind, &str, i64)]) -> ChangeBatch {
    let keys: Vec<Value> = changes.iter().map(|(_, k, _)| Value::String((*k).to_owned())).collect();
    let numbers: Vec<Value> = changes.iter().map(|(_, _, n)| Value::Int(*n)).collect();
    let columns = [("k", column(&TypeKind::VarChar(9), &keys)), ("n", column(&TypeKind::Int, &numbers))];
    let rows = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, c)| (name, c, true))).unwrap();
    ChangeBatch::new(rows, changes.iter().map(|(kind, ..)| *kind).collect())
}

fn inserts(keys: &[&str]) -> ChangeBatch {
    batch(&keys.iter().map(|k| (RowKind::Insert, *k, 1)).collect::<Vec<_>>())
}

/// Flushes for a checkpoint and waits for the acknowledgement.
fn checkpoint(sink: &mut dyn Sink, waker: &Waker) -> Result<Prepared> {
    sink.prepare(1, CheckpointKind::Periodic)?;
    loop {
        if let Some(prepared) = sink.poll_prepared()? {
            return Ok(prepared);
        }
        assert!(waker.wait(Duration::from_secs(60)), "no answer");
    }
}

fn item(verb: &str, status: u16, error: &str) -> String {
    if error.is_empty() {
        return format!(r#"{{"{verb}":{{"status":{status}}}}}"#);
    }
    format!(r#"{{"{verb}":{{"status":{status},"error":{{"type":"{error}","reason":"because"}}}}}}"#)
}

fn items(items: &[String]) -> Script {
    Script::Answer(200, format!(r#"{{"took":1,"errors":true,"items":[{}]}}"#, items.join(",")))
}

fn bodies(server: &Server) -> Vec<String> {
    server.requests().iter().map(|r| r.split_once("\n\n").map_or("", |(_, body)| body).to_owned()).collect()
}

const UPDATE_A: &str = concat!(
    r#"{"update":{"_index":"i","_id":"a"}}"#,
    "\n",
    r#"{"doc":{"k":"a","n":1},"upsert":{"k":"a","n":1}}"#,
    "\n"
);

#[test]
fn changes_are_sent_in_flinks_form_folded_by_id() {
    let server = Server::start(Vec::new());
    let (mut sink, waker) =
        open(&format!("http://{}", server.address), &["k"], &[("username", "u"), ("password", "p")]);
    let changes = [
        (RowKind::Insert, "a", 7),
        (RowKind::UpdateBefore, "a", 7),
        (RowKind::UpdateAfter, "a", 1),
        (RowKind::Insert, "q\"\n", 2),
        (RowKind::UpdateBefore, "q\"\n", 2),
    ];
    sink.write(&batch(&changes)).unwrap();
    assert!(matches!(sink.step_end(5000).unwrap(), SinkStatus::Ready(Some(6000))));
    checkpoint(&mut *sink, &waker).unwrap();
    let delete = r#"{"delete":{"_index":"i","_id":"q\"\n"}}"#;
    assert_eq!(bodies(&server), [format!("{UPDATE_A}{delete}\n")]);
    let head = server.requests()[0].to_ascii_lowercase();
    assert!(head.starts_with("post /_bulk?filter_path="), "{head}");
    assert!(head.contains("authorization: basic dtpw"), "{head}");
    assert!(head.contains("content-type: application/x-ndjson"), "{head}");
    let expected = SinkCounters { received: 5, delivered: 2, folded: 3, refused: 0, retried: 0 };
    assert_eq!(sink.counters(), expected);
}

#[test]
fn without_a_key_documents_are_appended_without_id() {
    let server = Server::start(Vec::new());
    let (mut sink, waker) = open(&format!("http://{}", server.address), &[], &[]);
    sink.write(&inserts(&["a", "a"])).unwrap();
    checkpoint(&mut *sink, &waker).unwrap();
    let one = "{\"index\":{\"_index\":\"i\"}}\n{\"k\":\"a\",\"n\":1}\n";
    assert_eq!(bodies(&server), [format!("{one}{one}")]);
    assert!(sink.write(&batch(&[(RowKind::Delete, "a", 1)])).is_err());
}

#[test]
fn a_bulk_goes_when_it_is_full_or_its_time_has_come() {
    let server = Server::start(Vec::new());
    let hosts = format!("http://{}", server.address);
    let options = [("sink.bulk-flush.max-actions", "2"), ("sink.bulk-flush.interval", "10 s")];
    let (mut sink, waker) = open(&hosts, &["k"], &options);
    sink.write(&inserts(&["a"])).unwrap();
    assert!(matches!(sink.step_end(1000).unwrap(), SinkStatus::Ready(Some(11_000))));
    assert!(matches!(sink.step_end(10_999).unwrap(), SinkStatus::Ready(Some(11_000))));
    assert!(server.requests().is_empty());
    assert!(matches!(sink.step_end(11_000).unwrap(), SinkStatus::Ready(None)));
    assert!(waker.wait(Duration::from_secs(60)));
    assert_eq!(bodies(&server), [UPDATE_A]);
    sink.write(&inserts(&["a", "b", "c"])).unwrap();
    sink.step_end(11_001).unwrap();
    assert!(waker.wait(Duration::from_secs(60)));
    sink.step_end(11_002).unwrap();
    let lines: Vec<usize> = bodies(&server).iter().map(|b| b.lines().count()).collect();
    assert_eq!(lines, [2, 4, 2], "bulks hold two actions at most");
    assert_eq!(sink.counters().delivered, 4);
}

#[test]
fn only_the_items_that_the_server_could_not_take_are_sent_again() {
    let script = vec![
        items(&[
            item("update", 429, "es_rejected_execution_exception"),
            item("update", 200, ""),
            item("update", 503, "unavailable_shards_exception"),
            item("update", 409, "version_conflict_engine_exception"),
            item("delete", 404, ""),
        ]),
        items(&[
            item("update", 201, ""),
            item("update", 429, "es_rejected_execution_exception"),
            item("update", 200, ""),
        ]),
    ];
    let server = Server::start(script);
    let (mut sink, waker) = open(&format!("http://{}", server.address), &["k"], &[]);
    sink.write(&inserts(&["a", "b", "c", "d"])).unwrap();
    sink.write(&batch(&[(RowKind::Delete, "e", 1)])).unwrap();
    checkpoint(&mut *sink, &waker).unwrap();
    let ids = |body: &String| -> String {
        body.lines().filter_map(|l| l.split_once("_id\":\"").map(|(_, id)| id.chars().next().unwrap())).collect()
    };
    assert_eq!(bodies(&server).iter().map(ids).collect::<Vec<_>>(), ["abcde", "acd", "c"]);
    let expected = SinkCounters { received: 5, delivered: 5, folded: 0, refused: 0, retried: 2 };
    assert_eq!(sink.counters(), expected);
    assert_eq!(sink.waiting_for(), None);
}

#[test]
fn an_outage_is_waited_for() {
    let away = |status| Script::Answer(status, r#"{"error":{"type":"x","reason":"not now"}}"#.to_owned());
    let script = vec![away(503), Script::Swallow, away(429), away(502), away(500), Script::Swallow];
    let count = script.len();
    let server = Server::start(script);
    let (mut sink, waker) = open(&format!("http://{}", server.address), &["k"], &[]);
    sink.write(&inserts(&["a"])).unwrap();
    checkpoint(&mut *sink, &waker).unwrap();
    assert_eq!(bodies(&server), vec![UPDATE_A; count + 1]);
    assert_eq!(sink.counters().retried, count as u64);
}

#[test]
fn a_host_that_is_away_is_passed_over() {
    let server = Server::start(Vec::new());
    // A port that nobody listens at: bound once, then released.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (mut sink, waker) = open(&format!("http://{closed};http://{}", server.address), &["k"], &[]);
    sink.write(&inserts(&["a"])).unwrap();
    checkpoint(&mut *sink, &waker).unwrap();
    assert_eq!(bodies(&server), [UPDATE_A]);
    assert_eq!(sink.counters().retried, 0);
}

#[test]
fn a_bulk_that_is_too_large_is_cut_in_halves() {
    let server = Server::start(vec![Script::Limit(100); 20]);
    let (mut sink, waker) = open(&format!("http://{}", server.address), &["k"], &[]);
    sink.write(&inserts(&["a", "b", "c", "d", "e"])).unwrap();
    checkpoint(&mut *sink, &waker).unwrap();
    assert_eq!(sink.counters().delivered, 5);
    assert!(bodies(&server).iter().any(|b| b == UPDATE_A));
    let server = Server::start(vec![Script::Limit(10); 20]);
    let (mut sink, waker) = open(&format!("http://{}", server.address), &["k"], &[]);
    sink.write(&inserts(&["a", "b"])).unwrap();
    let error = checkpoint(&mut *sink, &waker).unwrap_err();
    assert!(error.message().contains("document `a` of index `i`"), "{error}");
}

#[test]
fn what_the_server_refuses_ends_the_job_by_name() {
    let refused = r#"{"error":{"type":"security_exception","reason":"no rights for [u]"}}"#;
    let answer = |status| Script::Answer(status, refused.to_owned());
    let mapping = items(&[item("update", 200, ""), item("update", 400, "mapper_parsing_exception")]);
    let cases = [
        (mapping, ErrorKind::Data, "document `b` of index `i` (400 mapper_parsing_exception): because"),
        (items(&[item("update", 200, ""), item("update", 403, "security_exception")]), ErrorKind::Permission, "`b`"),
        (items(&[item("update", 200, ""), item("update", 404, "index_not_found_exception")]), ErrorKind::Config, "`i`"),
        (answer(401), ErrorKind::Permission, "does not accept the credentials: no rights for [u]"),
        (answer(403), ErrorKind::Permission, "write to index `i`"),
        (answer(404), ErrorKind::Config, "path"),
        (answer(400), ErrorKind::Data, "status 400"),
        (Script::Answer(200, "<html>".to_owned()), ErrorKind::Config, "does not answer a _bulk request"),
    ];
    for (script, kind, message) in cases {
        let server = Server::start(vec![script]);
        let options = [("username", "u"), ("password", "geheim")];
        let (mut sink, waker) = open(&format!("http://{}", server.address), &["k"], &options);
        sink.write(&inserts(&["a", "b"])).unwrap();
        let error = checkpoint(&mut *sink, &waker).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(message), "{error}");
        assert!(!error.to_string().contains("geheim"), "{error}");
    }
}

#[test]
fn a_back_off_with_a_count_gives_up() {
    let busy = || items(&[item("update", 429, "es_rejected_execution_exception")]);
    for (strategy, requests) in [("DISABLED", 1), ("CONSTANT", 3), ("EXPONENTIAL", 3)] {
        let server = Server::start(vec![busy(), busy(), busy(), busy()]);
        let options = [("sink.bulk-flush.backoff.strategy", strategy), ("sink.bulk-flush.backoff.max-retries", "2")];
        let (mut sink, waker) = open(&format!("http://{}", server.address), &["k"], &options);
        sink.write(&inserts(&["a"])).unwrap();
        let error = checkpoint(&mut *sink, &waker).unwrap_err();
        assert!(error.message().contains("gave up after"), "{error}");
        assert_eq!(server.requests().len(), requests, "{strategy}");
    }
}

#[test]
fn a_full_buffer_holds_the_job_back_until_the_server_has_taken_some() {
    let (release, gate) = std::sync::mpsc::sync_channel::<()>(1);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let seen = Mutex::new(Vec::new());
        let mut next = || {
            gate.recv().ok()?;
            None
        };
        while serve(&stream, &seen, &mut next) {}
    });
    let options = [("sink.bulk-flush.max-actions", "0"), ("sink.bulk-flush.max-size", "0")];
    let (mut sink, waker) = open(&format!("http://{address}"), &[], &options);
    let many = inserts(&vec!["0123456789"; 50_000]);
    let mut batches = 0;
    while sink.step_end(batches).unwrap() != SinkStatus::Full {
        sink.write(&many).unwrap();
        batches += 1;
        assert!(batches < 20, "the buffer has no bound");
    }
    drop(release);
    while sink.step_end(batches).unwrap() == SinkStatus::Full {
        assert!(waker.wait(Duration::from_secs(60)));
    }
    checkpoint(&mut *sink, &waker).unwrap();
    assert_eq!(sink.counters().delivered, sink.counters().received);
}

#[test]
fn a_refused_document_is_handed_over_when_there_are_dead_letters() {
    let refusal = items(&[item("index", 201, ""), item("index", 400, "mapper_parsing_exception")]);
    let server = Server::start(vec![refusal]);
    let (mut sink, waker) =
        open_with(&format!("http://{}", server.address), &[], &[], |factory| factory.hands_over_refused = true);
    sink.write(&inserts(&["a", "b"])).unwrap();
    checkpoint(sink.as_mut(), &waker).unwrap();
    let refused = sink.take_refused();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].row, br#"{"k":"b","n":1}"#);
    assert!(refused[0].reason.contains("because"), "{refused:?}");
    assert_eq!(sink.take_refused(), []);
    let counters = sink.counters();
    assert_eq!((counters.received, counters.delivered, counters.refused), (2, 1, 1));
}

#[test]
fn versions_grow_and_an_overtaken_run_ends() {
    let conflict = || items(&[item("index", 409, "version_conflict_engine_exception")]);
    for (found, is_over) in [(3_u64, false), (4, true)] {
        let claimed = |version: u64| Script::Answer(200, format!(r#"{{"_version":{version}}}"#));
        let server = Server::start(vec![
            claimed(2),
            Script::Answer(200, "{}".to_owned()),
            items(&[item("index", 200, "")]),
            conflict(),
            claimed(found),
        ]);
        let hosts = format!("http://{}", server.address);
        let (mut sink, waker) = open_with(&hosts, &["k"], &[], |factory| {
            let versions = Versions::new(factory.options.connection.clone(), "job/t", "t", 0);
            versions.claim().unwrap();
            factory.versions = Some(Arc::new(versions));
        });
        for _ in 0..2 {
            sink.write(&inserts(&["a"])).unwrap();
            let end = checkpoint(sink.as_mut(), &waker);
            match end {
                Ok(prepared) => assert_eq!(prepared.pending, b"claim"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Superseded);
                    assert!(is_over, "{error}");
                    break;
                }
            }
        }
        let version = |sequence: u64| (3 << 40) + sequence;
        let write = |sequence| {
            format!(
                concat!(
                    r#"{{"index":{{"_index":"i","_id":"a","version":{},"version_type":"external_gte"}}}}"#,
                    "\n",
                    r#"{{"k":"a","n":1}}"#,
                    "\n"
                ),
                version(sequence)
            )
        };
        let bodies = bodies(&server);
        assert_eq!(bodies[2..4], [write(1), write(2)]);
        if !is_over {
            let counters = sink.counters();
            assert_eq!((counters.received, counters.delivered, counters.folded), (2, 1, 1));
        }
        let claim = &server.requests()[1];
        assert!(claim.starts_with("POST /wiesel-claims/_doc/job%2Ft%2Ft?version=3&version_type=external"), "{claim}");
    }
}
