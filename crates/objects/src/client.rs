//! One request, sent until it is answered.
//!
//! What comes back is one of three things: an answer that the caller judges (success, not there, refused condition), an outage that may
//! heal and outlasted [`PATIENCE`], or a refusal that trying again does not change.

use std::time::{Duration, Instant};

use bytes::Bytes;
use wiesel_core::env::{Waker, monotonic, wall_clock_ms};
use wiesel_core::{Error, Result};

use crate::settings::Settings;
use crate::sign::{self, Unsigned};
use crate::xml;

/// How long one call is tried again while the store is away or overloaded.
pub const PATIENCE: Duration = Duration::from_secs(30);

const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may take to begin, and its body or that of the request to pass.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer: what is read in one piece is bounded by those who ask; lists come in pages.
const ANSWER_BYTES_MAX: u64 = 1 << 30;
/// How much of a foreign answer is shown.
const SHOWN_CHARS_MAX: usize = 200;

/// A request for one bucket.
#[derive(Default)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'static str,
    pub(crate) key: &'a str,
    pub(crate) query: &'a [(&'a str, &'a str)],
    pub(crate) headers: &'a [(&'a str, String)],
    pub(crate) body: &'a [u8],
}

/// An answer that the caller has to judge.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) etag: String,
    pub(crate) modified: String,
    pub(crate) length: Option<u64>,
    pub(crate) body: Bytes,
    /// The request was sent more than once: an earlier one may have done the work.
    pub(crate) was_repeated: bool,
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The store's own word for what went wrong.
    pub(crate) fn code(&self) -> String {
        xml::text(&self.text(), "Code").unwrap_or_default()
    }
}

/// A client of one bucket.
#[derive(Debug)]
pub(crate) struct Client {
    agent: ureq::Agent,
    settings: Settings,
    /// `http://host`.
    base: String,
    host: String,
    /// `/bucket` where it stands in the path.
    path_prefix: String,
    pub(crate) bucket: String,
}

impl Client {
    pub(crate) fn new(settings: Settings, bucket: &str) -> Result<Client> {
        let (scheme, host) = settings.endpoint.split_once("://").unwrap_or(("https", &settings.endpoint));
        if !matches!(scheme, "http" | "https") || host.is_empty() || host.contains(['/', '@', '?', '#']) {
            return Err(Error::config(format!("setting 's3.endpoint' is no address: '{}'", settings.endpoint))
                .hint("write it as `https://host` or `http://host:port`"));
        }
        let (host, path_prefix) = if settings.is_path_style {
            (host.to_owned(), format!("/{bucket}"))
        } else {
            (format!("{bucket}.{host}"), String::new())
        };
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .accept_encoding(ureq::config::AutoHeaderValue::None)
            .user_agent("wiesel")
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_send_body(Some(ANSWER_TIMEOUT))
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .timeout_recv_body(Some(ANSWER_TIMEOUT))
            .build()
            .new_agent();
        let base = format!("{scheme}://{host}");
        Ok(Client { agent, settings, base, host, path_prefix, bucket: bucket.to_owned() })
    }

    /// Sends a request until it is answered. A status below 500 that is no refusal of the asker comes back as it is.
    pub(crate) fn send(&self, request: &Request<'_>) -> Result<Answer> {
        let began = monotonic();
        let mut pause = PAUSE_FIRST;
        let mut is_repeated = false;
        loop {
            let failure = match self.send_once(request) {
                Ok(mut answer) => match self.judge(request, &answer) {
                    Judgement::Answer => {
                        answer.was_repeated = is_repeated;
                        return Ok(answer);
                    }
                    Judgement::Again(text) => text,
                    Judgement::Refused(error) => return Err(error),
                },
                Err(ureq::Error::BadUri(e)) => return Err(Error::config(format!("`{}`: {e}", self.place(request)))),
                Err(error @ (ureq::Error::Rustls(_) | ureq::Error::Tls(_))) => {
                    return Err(Error::config(format!("no secure connection to {}: {error}", self.base))
                        .hint("the server's certificate has to be signed by a public authority"));
                }
                Err(error) => error.to_string(),
            };
            is_repeated = true;
            wait_or_give_up(began, &mut pause, || format!("object store, {}: {failure}", self.place(request)))?;
        }
    }

    fn place(&self, request: &Request<'_>) -> String {
        format!("{} s3://{}/{} at {}", request.method, self.bucket, request.key, self.settings.endpoint)
    }

    fn send_once(&self, request: &Request<'_>) -> Result<Answer, ureq::Error> {
        let path = format!("{}/{}", self.path_prefix, sign::escape(request.key, true));
        let time = jiff::Timestamp::from_millisecond(wall_clock_ms()).unwrap_or_default();
        let time = time.strftime("%Y%m%dT%H%M%SZ").to_string();
        let unsigned = Unsigned {
            method: request.method,
            host: &self.host,
            path: &path,
            query: request.query,
            body: request.body,
            time: &time,
        };
        let mut url = format!("{}{path}", self.base);
        if !request.query.is_empty() {
            url.push('?');
            url.push_str(&sign::query(request.query));
        }
        let mut builder = ureq::http::Request::builder().method(request.method).uri(url);
        for (name, value) in sign::headers(&unsigned, &self.settings) {
            builder = builder.header(name, value);
        }
        for (name, value) in request.headers {
            builder = builder.header(*name, value);
        }
        let mut response = if matches!(request.method, "PUT" | "POST") {
            self.agent.run(builder.body(request.body)?)?
        } else {
            self.agent.run(builder.body(())?)?
        };
        let header = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let (etag, modified, length) = (header("etag"), header("last-modified"), header("content-length").parse().ok());
        let status = response.status().as_u16();
        let body = match request.method {
            "HEAD" => Vec::new(),
            _ => response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?,
        };
        Ok(Answer { status, etag, modified, length, body: Bytes::from(body), was_repeated: false })
    }

    fn judge(&self, request: &Request<'_>, answer: &Answer) -> Judgement {
        let said = || {
            let text = answer.text();
            let message = xml::text(&text, "Message").unwrap_or_else(|| text.chars().take(SHOWN_CHARS_MAX).collect());
            format!("{} {} {message}", answer.status, answer.code()).trim_end().to_owned()
        };
        match answer.status {
            // The completion of an upload says 200 before it knows, and may say in the body that it failed.
            200..=299 if request.method == "POST" && matches!(answer.code().as_str(), "InternalError" | "SlowDown") => {
                Judgement::Again(said())
            }
            200..=299 | 404 | 412 | 416 => Judgement::Answer,
            408 | 409 | 425 | 429 | 500.. => Judgement::Again(said()),
            400 if answer.code() == "RequestTimeout" => Judgement::Again(said()),
            401 | 403 => {
                let error = Error::permission(format!("{}: {}", self.place(request), said()));
                Judgement::Refused(match answer.code().as_str() {
                    "RequestTimeTooSkewed" => error.hint("the clock of this machine is wrong"),
                    _ => error.hint("check 's3.access-key' and 's3.secret-key', and what they are allowed to do"),
                })
            }
            301 | 307 => Judgement::Refused(
                Error::config(format!("{}: {}", self.place(request), said()))
                    .hint("the bucket lies in another region: SET 's3.endpoint.region'"),
            ),
            _ => Judgement::Refused(Error::config(format!("{}: {}", self.place(request), said()))),
        }
    }

    /// What is said of an answer that should have been a success.
    pub(crate) fn unexpected(&self, request: &Request<'_>, answer: &Answer) -> Error {
        let text = format!("{}: {} {}", self.place(request), answer.status, answer.code());
        match answer.code().as_str() {
            "NoSuchBucket" => Error::config(text).hint("make the bucket, or check its name and 's3.endpoint'"),
            _ => Error::data(text.trim_end().to_owned()),
        }
    }
}

enum Judgement {
    Answer,
    Again(String),
    Refused(Error),
}

/// Waits before the next try, longer each time; an error when [`PATIENCE`] is over.
fn wait_or_give_up(began: Instant, pause: &mut Duration, text: impl Fn() -> String) -> Result<()> {
    if monotonic().duration_since(began) >= PATIENCE {
        return Err(Error::unavailable(text()));
    }
    // Many that were turned away together must not come back together. Nobody else has this waker, so the wait lasts its full time.
    Waker::default().wait(pause.mul_f64(0.5 + fastrand::f64() / 2.0));
    *pause = (*pause * 2).min(PAUSE_MAX);
    Ok(())
}
