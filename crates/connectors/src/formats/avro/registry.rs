//! A schema registry that speaks Confluent's REST interface: schemas by their id, and ids for schemas that are written.
//!
//! ```text
//! source thread: looks through the records it fetched -> ids nobody knows yet -> GET /schemas/ids/N -> known   (`watch.rs`)
//! workers:       decode with what is known, and never wait for the registry
//! sink:          POST /subjects/S/versions once, when it opens
//! ```
//! A schema never changes under its id, so what was fetched once is kept for ever: in memory, and in a file beside the job's state, so that a
//! restart goes on while the registry is away. What the registry says it does not have is kept for this run only.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use wiesel_core::options::Options;
use wiesel_core::{Error, Result};

use super::schema::SCHEMA_BYTES_MAX;

/// The schemas one table may meet.
const SCHEMAS_MAX: usize = 10_000;
/// The largest answer that is read: a schema in JSON quotes.
const ANSWER_BYTES_MAX: u64 = 2 * SCHEMA_BYTES_MAX as u64;
/// How long the registry may take; a question delays the source's poll.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The largest file of kept schemas that is read.
const KEPT_BYTES_MAX: u64 = 256 << 20;

/// What a registry's answers are.
const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// The registry of one table's format.
pub struct SchemaRegistry {
    table: String,
    /// As the table names them, and where they really listen.
    urls: Vec<(String, String)>,
    authorization: Option<String>,
    agent: ureq::Agent,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    by_id: HashMap<u32, Schema>,
    /// Where schemas are kept.
    file: Option<PathBuf>,
}

/// What is known of an id.
#[derive(Debug, Clone)]
pub(crate) enum Schema {
    /// Its JSON.
    Text(Arc<str>),
    /// Why there is none that could be used.
    Unusable(Arc<str>),
}

#[derive(Serialize, Deserialize)]
struct Kept {
    id: u32,
    schema: String,
}

#[derive(Deserialize)]
struct SchemaAnswer {
    schema: String,
    #[serde(default, rename = "schemaType")]
    schema_type: Option<String>,
    #[serde(default)]
    references: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct RegisterAnswer {
    id: u32,
}

impl SchemaRegistry {
    /// Reads the options under `prefix` (`avro-confluent.`).
    pub(super) fn read(
        options: &mut Options<'_>,
        prefix: &str,
        table: &str,
        addresses: &[(String, String)],
    ) -> Result<SchemaRegistry> {
        let url_key = format!("{prefix}url");
        // The name of older versions.
        let old = options.get(&format!("{prefix}schema-registry.url"));
        let text = match old {
            Some(text) if options.get(&url_key).is_none() => text,
            _ => options.required(&url_key)?,
        };
        for key in
            ["ssl.keystore.location", "ssl.keystore.password", "ssl.truststore.location", "ssl.truststore.password"]
        {
            let key = format!("{prefix}{key}");
            if options.get(&key).is_some() {
                return Err(
                    options.unsupported(&key, "the registry's certificate has to be signed by a public authority")
                );
            }
        }
        let properties = format!("{prefix}properties");
        if options.get(&properties).is_some() || !options.with_prefix(&format!("{properties}.")).is_empty() {
            return Err(options.unsupported(&properties, "they are settings of Confluent's Java client"));
        }
        let mut urls = Vec::new();
        let mut in_url = None;
        for url in text.split(',').map(str::trim).filter(|u| !u.is_empty()) {
            let Some((scheme, rest)) = url.split_once("://").filter(|(s, _)| matches!(*s, "http" | "https")) else {
                return Err(options.invalid(
                    &url_key,
                    wiesel_core::secret::redacted(url).as_ref(),
                    "http://host:port or https://host:port",
                ));
            };
            let (credentials, rest) = rest.rsplit_once('@').map_or((None, rest), |(c, rest)| (Some(c), rest));
            in_url = in_url.or(credentials);
            let rest = rest.trim_end_matches('/');
            let (address, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let mapped =
                addresses.iter().find(|(from, _)| from.eq_ignore_ascii_case(address)).map(|(_, to)| to.as_str());
            urls.push((format!("{scheme}://{rest}"), format!("{scheme}://{}{path}", mapped.unwrap_or(address))));
        }
        if urls.is_empty() {
            return Err(options.invalid(&url_key, text, "http://host:port or https://host:port"));
        }
        let authorization = authorization(options, prefix, in_url)?;
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(3)
            .proxy(None)
            .user_agent("wiesel")
            .timeout_global(Some(TIMEOUT))
            .build()
            .new_agent();
        Ok(SchemaRegistry { table: table.to_owned(), urls, authorization, agent, known: Mutex::default() })
    }

    /// The registry's name, for messages.
    pub(super) fn name(&self) -> String {
        self.urls.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Remembers schemas in a file of this folder from now on, and knows those that are there. A file that cannot be read or written costs
    /// a question to the registry, not the job.
    pub(super) fn keep_in(&self, folder: &std::path::Path) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.file.is_some() || fs::create_dir_all(folder).is_err() {
            return;
        }
        let names: Vec<&str> = self.urls.iter().map(|(name, _)| name.as_str()).collect();
        let path =
            folder.join(format!("schemas-{:016x}.jsonl", xxhash_rust::xxh3::xxh3_64(names.join("\n").as_bytes())));
        if let Ok(file) = File::open(&path) {
            for line in BufReader::new(file.take(KEPT_BYTES_MAX)).lines().map_while(std::result::Result::ok) {
                // The last line may have been cut by a crash.
                if let Ok(Kept { id, schema }) = serde_json::from_str(&line)
                    && known.by_id.len() < SCHEMAS_MAX
                {
                    known.by_id.insert(id, Schema::Text(schema.into()));
                }
            }
        }
        known.file = Some(path);
    }

    /// What is known of an id, without asking.
    pub(super) fn known(&self, id: u32) -> Option<Schema> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).by_id.get(&id).cloned()
    }

    /// Asks for a schema, so that it is known. An error of kind `Unavailable` may heal.
    pub(super) fn fetch(&self, id: u32) -> Result<Schema> {
        if let Some(known) = self.known(id) {
            return Ok(known);
        }
        let (status, body) = self.request(&format!("/schemas/ids/{id}"), None)?;
        let schema = match status {
            200 => match serde_json::from_slice::<SchemaAnswer>(&body) {
                Ok(answer) if answer.schema_type.as_deref().is_some_and(|t| t != "AVRO") => Schema::Unusable(
                    format!(
                        "schema {id} of {} is no Avro schema but {}",
                        self.name(),
                        answer.schema_type.unwrap_or_default()
                    )
                    .into(),
                ),
                Ok(answer) if !answer.references.is_empty() => Schema::Unusable(
                    format!("schema {id} of {} refers to other schemas, which is not supported yet", self.name())
                        .into(),
                ),
                Ok(answer) => Schema::Text(answer.schema.into()),
                Err(_) => return Err(self.foreign(status, &body)),
            },
            404 => Schema::Unusable(format!("{} has no schema {id}", self.name()).into()),
            _ => return Err(self.refused(status, &body)),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.by_id.len() >= SCHEMAS_MAX {
            return Err(Error::config(format!("table `{}` meets more than {SCHEMAS_MAX} schemas", self.table)));
        }
        if let (Schema::Text(text), Some(path)) = (&schema, &known.file) {
            let line = serde_json::to_string(&Kept { id, schema: text.as_ref().to_owned() }).unwrap_or_default();
            let file = OpenOptions::new().create(true).append(true).open(path);
            // Without the line a restart asks again.
            drop(file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes())));
        }
        known.by_id.insert(id, schema.clone());
        Ok(schema)
    }

    /// The id of a schema under a subject, which gets it as a new version when it has not got it yet.
    pub(super) fn register(&self, subject: &str, schema: &str) -> Result<u32> {
        let body = json!({"schema": schema}).to_string();
        let (status, answer) = self.request(&format!("/subjects/{}/versions", encoded(subject)), Some(&body))?;
        match status {
            200 => match serde_json::from_slice::<RegisterAnswer>(&answer) {
                Ok(answer) => Ok(answer.id),
                Err(_) => Err(self.foreign(status, &answer)),
            },
            409 | 422 => Err(Error::config(format!(
                "table `{}`: {} refuses the schema of the table for subject '{subject}': {}",
                self.table,
                self.name(),
                said(&answer)
            ))
            .hint("the columns have to be compatible with the subject's earlier schemas, or its compatibility level lowered")),
            _ => Err(self.refused(status, &answer)),
        }
    }

    fn request(&self, path: &str, body: Option<&str>) -> Result<(u16, Vec<u8>)> {
        let mut reason = String::new();
        for (_, address) in &self.urls {
            match self.send(&format!("{address}{path}"), body) {
                Ok(answer) => return Ok(answer),
                Err(
                    error @ (ureq::Error::BadUri(_)
                    | ureq::Error::Http(_)
                    | ureq::Error::Rustls(_)
                    | ureq::Error::Tls(_)),
                ) => {
                    return Err(Error::config(format!(
                        "table `{}`: no connection to {}: {error}",
                        self.table,
                        self.name()
                    )));
                }
                Err(error) => reason = error.to_string(),
            }
        }
        Err(Error::unavailable(format!("the schema registry at {} is unreachable: {reason}", self.name())))
    }

    fn send(&self, url: &str, body: Option<&str>) -> std::result::Result<(u16, Vec<u8>), ureq::Error> {
        let mut response = match body {
            None => {
                let request = self.agent.get(url).header("accept", CONTENT_TYPE);
                match &self.authorization {
                    Some(value) => request.header("authorization", value).call()?,
                    None => request.call()?,
                }
            }
            Some(body) => {
                let request = self.agent.post(url).header("accept", CONTENT_TYPE).header("content-type", CONTENT_TYPE);
                match &self.authorization {
                    Some(value) => request.header("authorization", value).send(body)?,
                    None => request.send(body)?,
                }
            }
        };
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        Ok((response.status().as_u16(), body))
    }

    fn refused(&self, status: u16, body: &[u8]) -> Error {
        match status {
            401 | 403 => Error::permission(format!(
                "table `{}`: the schema registry at {} refuses the credentials ({status}): {}",
                self.table,
                self.name(),
                said(body)
            ))
            .hint("they are set by 'avro-confluent.basic-auth.credentials-source' and 'avro-confluent.basic-auth.user-info'"),
            429 | 500..=599 => Error::unavailable(format!(
                "the schema registry at {} answers {status}: {}",
                self.name(),
                said(body)
            )),
            _ => self.foreign(status, body),
        }
    }

    fn foreign(&self, status: u16, body: &[u8]) -> Error {
        Error::config(format!(
            "table `{}`: {} does not answer as a schema registry does ({status}): {}",
            self.table,
            self.name(),
            said(body)
        ))
    }
}

impl std::fmt::Debug for SchemaRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SchemaRegistry").field("urls", &self.name()).finish_non_exhaustive()
    }
}

/// The Authorization header that the options ask for.
fn authorization(options: &mut Options<'_>, prefix: &str, in_url: Option<&str>) -> Result<Option<String>> {
    let basic = |credentials: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(credentials));
    let source_key = format!("{prefix}basic-auth.credentials-source");
    let user_key = format!("{prefix}basic-auth.user-info");
    let user = options.get(&user_key);
    let bearer_key = format!("{prefix}bearer-auth.credentials-source");
    let token_key = format!("{prefix}bearer-auth.token");
    let token = options.get(&token_key);
    match options.get(&bearer_key) {
        None => {}
        Some("STATIC_TOKEN") => {
            let token = token.ok_or_else(|| options.invalid(&token_key, "nothing", "the token"))?;
            return Ok(Some(format!("Bearer {token}")));
        }
        Some(_) => return Err(options.unsupported(&bearer_key, "'STATIC_TOKEN' is")),
    }
    Ok(match options.get(&source_key) {
        None => in_url.map(basic),
        Some("URL") => Some(basic(in_url.ok_or_else(|| {
            Error::config(format!(
                "option '{source_key}' = 'URL', and the url has no user:password@ in front of its host"
            ))
        })?)),
        Some("USER_INFO") => {
            let user = user.filter(|u| u.contains(':'));
            Some(basic(user.ok_or_else(|| {
                Error::config(format!("option '{source_key}' = 'USER_INFO' needs '{user_key}' = 'user:password'"))
            })?))
        }
        Some(other) => {
            return Err(options.unsupported(&source_key, &format!("'USER_INFO' and 'URL' are, and '{other}' is not")));
        }
    })
}

/// What a registry says about an error, clipped.
fn said(body: &[u8]) -> String {
    let message = serde_json::from_slice::<serde_json::Value>(body)
        .ok()
        .and_then(|json| json.get("message").and_then(|m| m.as_str()).map(str::to_owned))
        .unwrap_or_else(|| String::from_utf8_lossy(body.get(..800).unwrap_or(body)).into_owned());
    message.chars().take(300).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A subject as a part of a path.
fn encoded(subject: &str) -> String {
    let mut out = String::new();
    for byte in subject.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
