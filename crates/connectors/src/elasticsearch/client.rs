//! A small client: one blocking request at a time to one of the hosts, and the reading of a bulk's answer.
//!
//! No header, parameter or path that a 7.8 server lacks, and none that only an 8 server wants. HTTP 200 is not success: a bulk's answer is
//! read item by item, unless it says `"errors":false`.

use serde::Deserialize;
use serde_json::Value as Json;
use wiesel_core::{Error, Result};

use super::options::Connection;

/// The largest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// How much of a foreign answer is shown.
const SHOWN_CHARS_MAX: usize = 200;
/// Only what is looked at is asked for: the full answer is longer than many a request.
const BULK_PATH: &str = "/_bulk?filter_path=errors,items.*.status,items.*.error";

/// A client of one cluster.
pub(super) struct Client {
    agent: ureq::Agent,
    connection: Connection,
    /// The host whose turn it is.
    next_host: usize,
}

/// What came of a request.
#[derive(Debug)]
pub(super) enum Answer {
    /// The server answered.
    Status {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: Vec<u8>,
        /// The host, as the table names it.
        host: String,
    },
    /// Nobody answered, or not to the end; whether the server did the work is unknown.
    Away(String),
}

/// The method of a request, with its body.
pub(super) enum Request<'a> {
    /// Asks whether something exists.
    Head,
    /// Reads something.
    Get,
    /// Sends newline-separated JSON.
    PostLines(&'a [u8]),
    /// Sends one JSON document.
    PostJson(&'a [u8]),
}

impl Client {
    /// A client that begins with host number `first_host`, so that instances spread over the hosts.
    pub(super) fn new(connection: Connection, first_host: usize) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            // Environment variables shall not send a job's data elsewhere.
            .proxy(None)
            // Packing an answer costs the server more than the loopback or a data centre's network.
            .accept_encoding(ureq::config::AutoHeaderValue::None)
            .user_agent("wiesel")
            .timeout_connect(Some(connection.connect_timeout))
            .timeout_send_body(Some(connection.socket_timeout))
            .timeout_recv_response(Some(connection.socket_timeout))
            .timeout_recv_body(Some(connection.socket_timeout))
            .build()
            .new_agent();
        let next_host = first_host % connection.hosts.len().max(1);
        Client { agent, connection, next_host }
    }

    /// Sends a bulk.
    pub(super) fn bulk(&mut self, body: &[u8]) -> Result<Answer> {
        self.request(BULK_PATH, &Request::PostLines(body))
    }

    /// Sends a request to the host whose turn it is; when it is away, to each of the others once.
    pub(super) fn request(&mut self, path: &str, request: &Request<'_>) -> Result<Answer> {
        let mut away = String::new();
        for _ in 0..self.connection.hosts.len() {
            let Some((name, address)) = self.connection.hosts.get(self.next_host).cloned() else { break };
            self.next_host = (self.next_host + 1) % self.connection.hosts.len();
            let url = format!("{address}{}{path}", self.connection.path_prefix);
            match self.send(&url, request) {
                Ok((status, body)) => return Ok(Answer::Status { status, body, host: name }),
                Err(error) => match error {
                    ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
                        return Err(Error::config(format!("cannot address Elasticsearch at {name}: {error}")));
                    }
                    ureq::Error::Rustls(_) | ureq::Error::Tls(_) => {
                        return Err(Error::config(format!("no secure connection to Elasticsearch at {name}: {error}"))
                            .hint("the server's certificate has to be signed by a public authority"));
                    }
                    error => away = format!("Elasticsearch at {name}: {error}"),
                },
            }
        }
        Ok(Answer::Away(away))
    }

    fn send(&self, url: &str, request: &Request<'_>) -> Result<(u16, Vec<u8>), ureq::Error> {
        let with_authorization = |name: &str| -> Vec<(String, String)> {
            let mut headers = Vec::new();
            if let Some(value) = &self.connection.authorization {
                headers.push(("authorization".to_owned(), value.clone()));
            }
            if !name.is_empty() {
                headers.push(("content-type".to_owned(), name.to_owned()));
            }
            headers
        };
        let mut response = match request {
            Request::Head => {
                let headers = with_authorization("");
                headers.into_iter().fold(self.agent.head(url), |r, (k, v)| r.header(k, v)).call()?
            }
            Request::Get => {
                let headers = with_authorization("");
                headers.into_iter().fold(self.agent.get(url), |r, (k, v)| r.header(k, v)).call()?
            }
            Request::PostLines(body) | Request::PostJson(body) => {
                let content = match request {
                    Request::PostLines(_) => "application/x-ndjson",
                    _ => "application/json",
                };
                let headers = with_authorization(content);
                headers.into_iter().fold(self.agent.post(url), |r, (k, v)| r.header(k, v)).send(*body)?
            }
        };
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        Ok((response.status().as_u16(), body))
    }
}

/// What the server says about one action of a bulk that did not succeed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FailedItem {
    /// The place of the action in the bulk.
    pub(super) position: usize,
    /// Its HTTP status.
    pub(super) status: u16,
    /// The error's type, such as `mapper_parsing_exception`.
    pub(super) error_type: String,
    /// The server's words.
    pub(super) reason: String,
}

#[derive(Deserialize)]
struct BulkAnswer {
    errors: bool,
    #[serde(default)]
    items: Vec<serde_json::Map<String, Json>>,
}

/// The actions that failed, out of `sent`; empty when the whole bulk succeeded.
pub(super) fn failed_items(body: &[u8], sent: usize, host: &str) -> Result<Vec<FailedItem>> {
    // `errors` stands before the items in every version; a document cannot bring these bytes there.
    let head = body.get(..body.len().min(64)).unwrap_or(body);
    if memchr::memmem::find(head, b"\"errors\":false").is_some() {
        return Ok(Vec::new());
    }
    let foreign = || {
        Error::config(format!("{host} does not answer a _bulk request as Elasticsearch does: {}", clip(body)))
            .hint("check the 'hosts' of the table; is there a proxy in between?")
    };
    let answer: BulkAnswer = serde_json::from_slice(body).map_err(|_| foreign())?;
    if !answer.errors {
        return Ok(Vec::new());
    }
    if answer.items.len() != sent {
        return Err(foreign());
    }
    let mut failed = Vec::new();
    for (position, item) in answer.items.iter().enumerate() {
        let Some(result) = item.values().next() else { return Err(foreign()) };
        let status = result.get("status").and_then(Json::as_u64).and_then(|s| u16::try_from(s).ok()).unwrap_or(0);
        if (200..300).contains(&status) {
            continue;
        }
        let error = result.get("error").unwrap_or(&Json::Null);
        let error_type = error.get("type").and_then(Json::as_str).unwrap_or_default().to_owned();
        failed.push(FailedItem { position, status, error_type, reason: reason(error) });
    }
    Ok(failed)
}

/// The server's words about an error, its innermost cause included.
fn reason(error: &Json) -> String {
    let Some(mut text) = error.get("reason").and_then(Json::as_str).map(str::to_owned) else {
        return error.as_str().map_or_else(|| "no reason given".to_owned(), str::to_owned);
    };
    let mut cause = error.get("caused_by");
    while let Some(inner) = cause {
        match inner.get("caused_by") {
            Some(deeper) => cause = Some(deeper),
            None => {
                if let Some(words) = inner.get("reason").and_then(Json::as_str) {
                    text.push_str(": ");
                    text.push_str(words);
                }
                break;
            }
        }
    }
    text
}

/// The reason in the body of a request that failed as a whole.
pub(super) fn whole_reason(body: &[u8]) -> String {
    match serde_json::from_slice::<Json>(body) {
        Ok(answer) => answer.get("error").map_or_else(|| clip(body), reason),
        Err(_) => clip(body),
    }
}

/// The beginning of an answer.
fn clip(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut clipped: String = text.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect();
    if clipped.is_empty() {
        clipped.push_str("(empty answer)");
    }
    clipped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_of_an_answer_is_read() {
        let body = br#"{"took":3,"errors":true,"items":[{"update":{"status":200}},
            {"update":{"status":400,"error":{"type":"mapper_parsing_exception","reason":"failed to parse field [n]",
             "caused_by":{"type":"a","reason":"outer","caused_by":{"type":"b","reason":"For input string: \"abc\""}}}}},
            {"delete":{"status":404}},{"index":{"status":429,"error":"queue is full"}}]}"#;
        let failed = failed_items(body, 4, "es").unwrap();
        let expected = [
            (1, 400, "mapper_parsing_exception", "failed to parse field [n]: For input string: \"abc\""),
            (2, 404, "", "no reason given"),
            (3, 429, "", "queue is full"),
        ];
        let found: Vec<_> =
            failed.iter().map(|f| (f.position, f.status, f.error_type.as_str(), f.reason.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn an_answer_without_errors_is_not_read_further() {
        assert!(failed_items(br#"{"took":1,"errors":false,"items":[...."#, 5, "es").unwrap().is_empty());
    }

    #[test]
    fn an_answer_of_something_else_is_refused() {
        for body in [&b"<html>login</html>"[..], br#"{"errors":true,"items":[]}"#, b""] {
            let error = failed_items(body, 1, "http://es:9200").unwrap_err().to_string();
            assert!(error.contains("http://es:9200 does not answer"), "{error}");
        }
    }
}
