//! A network that can be broken: a TCP proxy whose behaviour changes while connections are open, and an HTTP proxy that answers in a
//! server's place.
//!
//! Each connection has two threads, one per direction, which look at the mode every few milliseconds; a proxy that is dropped closes
//! its connections and its threads end. Connections are few (a job has one or two per system), so threads are enough.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// How long a thread waits for bytes before it looks at the mode again.
const LOOK: Duration = Duration::from_millis(20);
/// Bytes that are passed on at a time.
const CHUNK: usize = 16 << 10;
/// Largest body that the HTTP proxy takes.
const BODY_MAX: usize = 64 << 20;

/// What a TCP proxy does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Passes everything on.
    Pass,
    /// Takes connections and never passes a byte, in either direction.
    Silent,
    /// Closes what is open and what comes.
    Cut,
    /// Passes so many bytes a second in each direction.
    Slow(usize),
    /// Passes so many bytes from the server, then closes the connection; and so on with the next one.
    CutAfter(usize),
    /// Passes requests on; when one contains these bytes the server gets it, its answer is thrown away and the connection closed. Once.
    LoseAnswerTo(Vec<u8>),
}

struct Line {
    mode: Mutex<Mode>,
    is_over: AtomicBool,
    lost: AtomicU64,
}

impl Line {
    fn mode(&self) -> Mode {
        self.mode.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A TCP proxy in front of one server.
pub(crate) struct Proxy {
    address: String,
    line: Arc<Line>,
}

impl Proxy {
    /// Listens at `address` (port 0 for a free one) and connects to `server`.
    pub(crate) fn start(address: &str, server: &str) -> Result<Proxy> {
        let listener = TcpListener::bind(address).with_context(|| format!("listen at {address}"))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?.to_string();
        let line =
            Arc::new(Line { mode: Mutex::new(Mode::Pass), is_over: AtomicBool::new(false), lost: AtomicU64::new(0) });
        let (of_thread, server) = (Arc::clone(&line), server.to_owned());
        std::thread::spawn(move || accept(&listener, &server, &of_thread));
        Ok(Proxy { address, line })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// From now on does this, with the connections that are open too.
    pub(crate) fn set(&self, mode: Mode) {
        *self.line.mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
    }

    /// How many answers were thrown away, and connections cut after their bytes.
    pub(crate) fn lost(&self) -> u64 {
        self.line.lost.load(Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.line.is_over.store(true, Relaxed);
    }
}

fn accept(listener: &TcpListener, server: &str, line: &Arc<Line>) {
    while !line.is_over.load(Relaxed) {
        let Ok((client, _)) = listener.accept() else {
            std::thread::sleep(LOOK);
            continue;
        };
        if line.mode() == Mode::Cut {
            continue;
        }
        // A server that is away is a connection that closes.
        let Ok(upstream) = TcpStream::connect(server) else { continue };
        // Set when the answer to a request must be lost.
        let is_losing = Arc::new(AtomicBool::new(false));
        for (from, to, is_answer) in [(&client, &upstream, false), (&upstream, &client, true)] {
            let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { continue };
            let (line, is_losing) = (Arc::clone(line), Arc::clone(&is_losing));
            std::thread::spawn(move || {
                // A broken connection is what the other side sees too.
                drop(pump(&from, &to, is_answer, &line, &is_losing));
                drop(from.shutdown(Shutdown::Both));
                drop(to.shutdown(Shutdown::Both));
            });
        }
    }
}

fn pump(
    mut from: &TcpStream,
    mut to: &TcpStream,
    is_answer: bool,
    line: &Line,
    is_losing: &AtomicBool,
) -> std::io::Result<()> {
    from.set_nonblocking(false)?;
    from.set_read_timeout(Some(LOOK))?;
    to.set_nodelay(true)?;
    let mut buffer = vec![0; CHUNK];
    let mut passed = 0;
    while !line.is_over.load(Relaxed) {
        let mode = line.mode();
        let size = match mode {
            Mode::Cut => return Ok(()),
            Mode::Silent => {
                std::thread::sleep(LOOK);
                continue;
            }
            Mode::Slow(rate) => (rate / 10).clamp(1, CHUNK),
            _ => CHUNK,
        };
        let count = match from.read(&mut buffer[..size]) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                continue;
            }
            Err(error) => return Err(error),
        };
        let bytes = &buffer[..count];
        match &mode {
            Mode::Slow(_) => std::thread::sleep(Duration::from_millis(100)),
            Mode::CutAfter(limit) if is_answer => {
                passed += count;
                if passed > *limit {
                    line.lost.fetch_add(1, Relaxed);
                    return Ok(());
                }
            }
            Mode::LoseAnswerTo(text) if !is_answer && contains(bytes, text) => {
                is_losing.store(true, Relaxed);
                *line.mode.lock().unwrap_or_else(PoisonError::into_inner) = Mode::Pass;
            }
            _ => {}
        }
        if is_answer && is_losing.load(Relaxed) {
            line.lost.fetch_add(1, Relaxed);
            return Ok(());
        }
        to.write_all(bytes)?;
    }
    Ok(())
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// A request as an HTTP rule sees it.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
}

/// What happens to a request.
pub(crate) enum Answer {
    /// The server gets it and its answer comes back.
    Pass,
    /// This comes back and the server sees nothing.
    Instead(u16, String),
    /// The server gets it, and the connection closes without an answer.
    Lost,
    /// The server gets every bulk item but each `n`-th, which comes back as 429.
    RefuseItems(usize),
}

type Rule = Box<dyn FnMut(&Request) -> Answer + Send>;

/// An HTTP proxy in front of one server; a rule decides what becomes of each request.
pub(crate) struct HttpProxy {
    address: String,
    is_over: Arc<AtomicBool>,
}

impl HttpProxy {
    /// Listens at a free port in front of `server` (`host:port`).
    pub(crate) fn start(server: &str, rule: impl FnMut(&Request) -> Answer + Send + 'static) -> Result<HttpProxy> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?.to_string();
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, server) = (Arc::clone(&is_over), server.to_owned());
        let rule: Arc<Mutex<Rule>> = Arc::new(Mutex::new(Box::new(rule)));
        std::thread::spawn(move || {
            while !over.load(Relaxed) {
                let Ok((client, _)) = listener.accept() else {
                    std::thread::sleep(LOOK);
                    continue;
                };
                let (server, rule) = (server.clone(), Arc::clone(&rule));
                std::thread::spawn(move || {
                    // A client that goes away is none of the proxy's business.
                    drop(serve(&client, &server, &rule));
                    drop(client.shutdown(Shutdown::Both));
                });
            }
        });
        Ok(HttpProxy { address, is_over })
    }

    /// Where it listens, as `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for HttpProxy {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
    }
}

/// One request per connection: the answer says `Connection: close`.
fn serve(client: &TcpStream, server: &str, rule: &Mutex<Rule>) -> Result<()> {
    client.set_nonblocking(false)?;
    client.set_read_timeout(Some(Duration::from_secs(30)))?;
    let request = read_request(client)?;
    let answer = rule.lock().unwrap_or_else(PoisonError::into_inner)(&request);
    let (status, body) = match answer {
        Answer::Instead(status, body) => (status, body),
        Answer::Pass => forward(server, &request, request.body.clone())?,
        Answer::Lost => {
            forward(server, &request, request.body.clone())?;
            return Ok(());
        }
        Answer::RefuseItems(every) => refuse_items(server, &request, every)?,
    };
    let text = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nx-elastic-product: Elasticsearch\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    let mut client = client;
    client.write_all(text.as_bytes())?;
    if request.method != "HEAD" {
        client.write_all(body.as_bytes())?;
    }
    Ok(())
}

fn read_request(client: &TcpStream) -> Result<Request> {
    let mut reader = BufReader::new(client);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let method = words.next().context("a method")?.to_owned();
    let path = words.next().context("a path")?.to_owned();
    let (mut length, mut content_type, mut is_chunked) = (0, "application/json".to_owned(), false);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim_end();
        if header.is_empty() {
            break;
        }
        let Some((name, value)) = header.split_once(':') else { continue };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse()?,
            "content-type" => value.trim().clone_into(&mut content_type),
            "transfer-encoding" => is_chunked = value.to_ascii_lowercase().contains("chunked"),
            _ => {}
        }
    }
    anyhow::ensure!(!is_chunked && length <= BODY_MAX, "the proxy takes bodies with a length of at most {BODY_MAX}");
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Request { method, path, content_type, body })
}

fn forward(server: &str, request: &Request, body: Vec<u8>) -> Result<(u16, String)> {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let builder = ureq::http::Request::builder()
        .method(request.method.as_str())
        .uri(format!("http://{server}{}", request.path))
        .header("content-type", &request.content_type);
    let mut response = if body.is_empty() { agent.run(builder.body(())?)? } else { agent.run(builder.body(body)?)? };
    let text = response.body_mut().with_config().limit(256 << 20).read_to_string()?;
    Ok((response.status().as_u16(), text))
}

/// Leaves each `every`-th item out of a bulk request and puts a 429 in its place into the answer.
fn refuse_items(server: &str, request: &Request, every: usize) -> Result<(u16, String)> {
    let text = String::from_utf8_lossy(&request.body);
    let mut lines = text.lines();
    let (mut kept, mut actions) = (String::new(), Vec::new());
    let mut index = 0;
    while let Some(action) = lines.next() {
        let parsed: serde_json::Value = serde_json::from_str(action)?;
        let name = parsed.as_object().and_then(|o| o.keys().next().cloned()).context("a bulk action")?;
        let source = if name == "delete" { None } else { lines.next() };
        index += 1;
        let is_refused = index % every == 0;
        if !is_refused {
            kept.push_str(action);
            kept.push('\n');
            if let Some(source) = source {
                kept.push_str(source);
                kept.push('\n');
            }
        }
        actions.push((name, parsed, is_refused));
    }
    let mut answered = if kept.is_empty() {
        Vec::new()
    } else {
        let (status, body) = forward(server, request, kept.into_bytes())?;
        if status != 200 {
            return Ok((status, body));
        }
        let answer: serde_json::Value = serde_json::from_str(&body)?;
        answer["items"].as_array().cloned().unwrap_or_default()
    }
    .into_iter();
    let mut items = Vec::new();
    for (name, action, is_refused) in actions {
        if is_refused {
            let mut item = action[&name].clone();
            item["status"] = 429.into();
            item["error"] = serde_json::json!({
                "type": "es_rejected_execution_exception", "reason": "rejected execution of the test"
            });
            items.push(serde_json::json!({ name: item }));
        } else {
            items.push(answered.next().context("an answer per item")?);
        }
    }
    Ok((200, serde_json::json!({ "took": 1, "errors": true, "items": items }).to_string()))
}
