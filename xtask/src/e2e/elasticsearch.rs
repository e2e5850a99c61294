//! A small Elasticsearch client for tests: any call, and the few that cases need most.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

/// Most documents that `documents` returns; a case that has more asks by itself.
const DOCUMENTS_MAX: u64 = 10_000;

/// A way to one node.
pub(crate) struct ElasticsearchClient {
    url: String,
    agent: ureq::Agent,
}

impl ElasticsearchClient {
    /// A client of the node at `url`.
    pub(crate) fn new(url: &str) -> ElasticsearchClient {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(std::time::Duration::from_secs(30)))
            .build();
        ElasticsearchClient { url: url.to_owned(), agent: config.new_agent() }
    }

    /// Any call: status and JSON answer. `path` begins with `/`; a body of several lines is sent as newline-delimited JSON.
    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&str>) -> Result<(u16, Value)> {
        let url = format!("{}{path}", self.url);
        let builder = ureq::http::Request::builder().method(method).uri(&url);
        let what = || format!("{method} {url}");
        let mut response = match body {
            None => self.agent.run(builder.body(())?).with_context(what)?,
            Some(text) => {
                let builder = builder.header(
                    "content-type",
                    if path.contains("_bulk") { "application/x-ndjson" } else { "application/json" },
                );
                self.agent.run(builder.body(text.to_owned())?).with_context(what)?
            }
        };
        let text = response.body_mut().with_config().limit(256 << 20).read_to_string().with_context(what)?;
        let answer = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).with_context(what)? };
        Ok((response.status().as_u16(), answer))
    }

    /// A call that must succeed.
    pub(crate) fn expect(&self, method: &str, path: &str, body: Option<&str>) -> Result<Value> {
        let (status, answer) = self.call(method, path, body)?;
        ensure!((200..300).contains(&status), "{method} {path}: status {status}: {answer}");
        Ok(answer)
    }

    /// Sends bulk lines; every item must succeed.
    pub(crate) fn bulk(&self, lines: &str) -> Result<()> {
        let answer = self.expect("POST", "/_bulk", Some(lines))?;
        ensure!(answer["errors"] == json!(false), "a bulk item failed: {answer}");
        Ok(())
    }

    /// Makes everything written so far visible to searches.
    pub(crate) fn refresh(&self, index: &str) -> Result<()> {
        self.expect("POST", &format!("/{index}/_refresh"), None).map(drop)
    }

    /// Number of documents; 0 for an index that does not exist yet.
    pub(crate) fn count(&self, index: &str) -> Result<u64> {
        match self.call("GET", &format!("/{index}/_count"), None)? {
            (200, answer) => answer["count"].as_u64().context("`_count` answers a number"),
            (404, _) => Ok(0),
            (status, answer) => bail!("count `{index}`: status {status}: {answer}"),
        }
    }

    /// Runs a search body.
    pub(crate) fn search(&self, index: &str, body: &Value) -> Result<Value> {
        self.expect("POST", &format!("/{index}/_search"), Some(&body.to_string()))
    }

    /// All documents of a small index as (id, source), sorted by id; refreshes first.
    pub(crate) fn documents(&self, index: &str) -> Result<Vec<(String, Value)>> {
        self.refresh(index)?;
        let answer = self.search(index, &json!({"size": DOCUMENTS_MAX, "track_total_hits": true}))?;
        let hits = answer["hits"]["hits"].as_array().context("a search answers hits")?;
        let total = answer["hits"]["total"]["value"].as_u64().unwrap_or(0);
        ensure!(total == hits.len() as u64, "`{index}` holds {total} documents, only {} fit one answer", hits.len());
        let mut documents: Vec<(String, Value)> = hits
            .iter()
            .map(|hit| (hit["_id"].as_str().unwrap_or_default().to_owned(), hit["_source"].clone()))
            .collect();
        documents.sort_by(|left, right| left.0.cmp(&right.0));
        Ok(documents)
    }
}
