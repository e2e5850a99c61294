//! Loads saved objects into a running Kibana: waits for it within a bound, sends the file, and reads the answer item by item.
//!
//! HTTP 200 is not success: an import that failed for some objects says so in its body, and a proxy in front may say anything.

use std::time::Duration;

use serde_json::Value;
use wiesel_core::env::{Waker, monotonic};

use super::board::Board;
use super::objects::{Line, lines};
use crate::log::Log;

/// How long a request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// How long until Kibana is looked at again.
const PAUSE: Duration = Duration::from_secs(1);
/// The largest answer that is read.
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// How much of a foreign answer is shown.
const SHOWN_CHARS_MAX: usize = 200;
/// Parts the parts of the form; in none of the texts.
const BOUNDARY: &str = "wiesel-saved-objects-7d1f0c";

/// Where Kibana is, and what it is told of who asks.
#[derive(Debug)]
pub(crate) struct Access {
    /// The address, without a slash at its end.
    pub(crate) url: String,
    /// The header `Authorization`.
    pub(crate) authorization: Option<String>,
    /// How long to wait until it serves.
    pub(crate) wait: Duration,
}

/// What was loaded.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The version that Kibana said.
    pub(crate) version: String,
    /// How many objects there are.
    pub(crate) objects: usize,
}

/// Loads the objects of a dashboard in the form that this Kibana takes, or in the given one.
pub(crate) fn load(board: &Board, access: &Access, line: Option<Line>, log: &Log) -> Result<Loaded, String> {
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        // Environment variables shall not send a password elsewhere.
        .proxy(None)
        .user_agent("wiesel")
        .timeout_global(Some(REQUEST_LIMIT))
        .build()
        .new_agent();
    let version = wait_ready(&agent, access, log)?;
    let line = match line {
        Some(line) => line,
        None => line_of(&version)?,
    };
    let text = lines(board, line);
    let sent: Vec<Value> =
        text.lines().map(|l| serde_json::from_str(l).map_err(|e| e.to_string())).collect::<Result<_, _>>()?;
    let body = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"objects.ndjson\"\r\n\
         Content-Type: application/ndjson\r\n\r\n{text}\r\n--{BOUNDARY}--\r\n"
    );
    let request = agent
        .post(format!("{}/api/saved_objects/_import?overwrite=true", access.url))
        .header("kbn-xsrf", "true")
        .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"));
    let request = match &access.authorization {
        Some(value) => request.header("authorization", value),
        None => request,
    };
    let (status, answer) = answer_of(request.send(body.as_bytes()))
        .map_err(|e| format!("Kibana at {} went away during the import: {e}", access.url))?;
    read_import(status, &answer, &sent)?;
    Ok(Loaded { version, objects: sent.len() })
}

/// Waits until Kibana says that it serves; its version.
fn wait_ready(agent: &ureq::Agent, access: &Access, log: &Log) -> Result<String, String> {
    let started = monotonic();
    let waker = Waker::default();
    let mut is_said = false;
    loop {
        let request = agent.get(format!("{}/api/status", access.url));
        let request = match &access.authorization {
            Some(value) => request.header("authorization", value),
            None => request,
        };
        let found = match answer_of(request.call()) {
            Ok((200, answer)) => match readiness(&answer) {
                Some((true, version)) => return Ok(version),
                Some((false, _)) => "it is still starting".to_owned(),
                None => format!("its status is none of Kibana's: {}", cut(&answer)),
            },
            Ok((401 | 403, _)) => {
                return Err(format!(
                    "Kibana at {} refuses to say its status\nhint: give KIBANA_USERNAME and KIBANA_PASSWORD, or KIBANA_API_KEY, in the environment",
                    access.url
                ));
            }
            Ok((status, answer)) => format!("HTTP {status}: {}", cut(&answer)),
            Err(error @ (ureq::Error::BadUri(_) | ureq::Error::Http(_))) => {
                return Err(format!("cannot address Kibana at {}: {error}", access.url));
            }
            Err(error) => error.to_string(),
        };
        if started.elapsed() >= access.wait {
            return Err(format!(
                "Kibana at {} did not serve within {} s; at last: {found}",
                access.url,
                access.wait.as_secs()
            ));
        }
        if !is_said {
            log.info(&format!("waiting up to {} s for Kibana at {}: {found}", access.wait.as_secs(), access.url));
            is_said = true;
        }
        waker.wait(PAUSE.min(access.wait.saturating_sub(started.elapsed())));
    }
}

fn answer_of(sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<(u16, String), ureq::Error> {
    let mut response = sent?;
    let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
    Ok((response.status().as_u16(), String::from_utf8_lossy(&body).into_owned()))
}

/// Whether a status says that Kibana serves, and its version (empty where Kibana does not say it). 7 calls it green, 8 available.
fn readiness(answer: &str) -> Option<(bool, String)> {
    let status: Value = serde_json::from_str(answer).ok()?;
    let overall = &status["status"]["overall"];
    let word = overall["level"].as_str().or(overall["state"].as_str())?;
    let version = status["version"]["number"].as_str().unwrap_or_default().to_owned();
    Some((matches!(word, "green" | "available"), version))
}

fn line_of(version: &str) -> Result<Line, String> {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or_default());
    match (parts.next().unwrap_or_default(), parts.next().unwrap_or_default()) {
        (8.., _) => Ok(Line::Eight),
        (7, 8..) => Ok(Line::Seven),
        (0, _) => Err("Kibana does not say its version\nhint: give `--form 7.8` or `--form 8.0`".to_owned()),
        _ => Err(format!("Kibana {version} is older than 7.8, whose saved objects these are")),
    }
}

/// Reads what an import answered: every object that was sent has to be there.
fn read_import(status: u16, answer: &str, sent: &[Value]) -> Result<(), String> {
    let refused = |reason: &str| format!("Kibana refuses the import (HTTP {status}): {reason}");
    let Ok(body) = serde_json::from_str::<Value>(answer) else {
        return Err(refused(&cut(answer)));
    };
    if status != 200 {
        return Err(refused(body["message"].as_str().map_or_else(|| cut(answer), cut).as_str()));
    }
    let mut problems: Vec<String> = Vec::new();
    for error in body["errors"].as_array().map_or(&[][..], Vec::as_slice) {
        let name = |key: &str| error[key].as_str().unwrap_or("?").to_owned();
        let reason = error["error"]["type"].as_str().unwrap_or("unknown");
        let missing = error["error"]["references"].as_array().map_or(&[][..], Vec::as_slice);
        let missing: Vec<String> = missing
            .iter()
            .map(|r| format!(" {} `{}`", r["type"].as_str().unwrap_or("?"), r["id"].as_str().unwrap_or("?")))
            .collect();
        problems.push(format!("{} `{}`: {reason}{}", name("type"), name("id"), missing.join(",")));
    }
    // A version that lists what succeeded is taken at its word, object by object.
    if let Some(results) = body["successResults"].as_array() {
        for object in sent {
            let is_there = results.iter().any(|r| r["id"] == object["id"] && r["type"] == object["type"]);
            let is_told = problems.iter().any(|p| p.contains(object["id"].as_str().unwrap_or_default()));
            if !is_there && !is_told {
                let name = |key: &str| object[key].as_str().unwrap_or("?").to_owned();
                problems.push(format!("{} `{}`: not among what was imported", name("type"), name("id")));
            }
        }
    }
    let count = body["successCount"].as_u64().unwrap_or_default();
    if problems.is_empty() && (body["success"] != true || count != sent.len() as u64) {
        problems.push(format!("{count} of {} objects were imported: {}", sent.len(), cut(answer)));
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(format!("Kibana did not take all objects:\n  {}", problems.join("\n  ")))
    }
}

fn cut(text: &str) -> String {
    let line = text.replace(['\n', '\r'], " ");
    let short: String = line.chars().take(SHOWN_CHARS_MAX).collect();
    if short.len() < line.len() { format!("{short}...") } else { short }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_read_item_by_item() {
        let sent = [json!({"id": "a", "type": "index-pattern"}), json!({"id": "b", "type": "dashboard"})];
        let cases = [
            (200, r#"{"success":true,"successCount":2}"#, Ok(())),
            (
                200,
                r#"{"success":true,"successCount":2,"successResults":[{"type":"index-pattern","id":"a"},{"type":"dashboard","id":"b"}]}"#,
                Ok(()),
            ),
            (200, r#"{"success":true,"successCount":1}"#, Err("1 of 2 objects were imported")),
            (200, "<html>Sign in</html>", Err("refuses the import (HTTP 200): <html>")),
            (
                200,
                r#"{"success":true,"successCount":2,"successResults":[{"type":"index-pattern","id":"a"}]}"#,
                Err("dashboard `b`: not among what was imported"),
            ),
            (
                200,
                r#"{"success":false,"successCount":1,"errors":[{"id":"b","type":"dashboard","error":{"type":"missing_references","references":[{"type":"visualization","id":"c"}]}}]}"#,
                Err("dashboard `b`: missing_references visualization `c`"),
            ),
            (400, r#"{"statusCode":400,"error":"Bad Request","message":"no xsrf"}"#, Err("(HTTP 400): no xsrf")),
        ];
        for (status, answer, expected) in cases {
            match (read_import(status, answer, &sent), expected) {
                (Ok(()), Ok(())) => {}
                (Err(found), Err(part)) => assert!(found.contains(part), "{found}"),
                (found, _) => panic!("{answer}: {found:?}"),
            }
        }
    }

    #[test]
    fn versions_and_states_of_both_lines_are_understood() {
        let seven = r#"{"version":{"number":"7.8.0"},"status":{"overall":{"state":"green"}}}"#;
        let eight = r#"{"version":{"number":"8.19.2"},"status":{"overall":{"level":"degraded"}}}"#;
        assert_eq!(readiness(seven), Some((true, "7.8.0".to_owned())));
        assert_eq!(readiness(eight), Some((false, "8.19.2".to_owned())));
        assert_eq!(readiness("Kibana server is not ready yet"), None);
        let cases = [
            ("7.8.0", Ok(Line::Seven)),
            ("7.17.29", Ok(Line::Seven)),
            ("8.0.0", Ok(Line::Eight)),
            ("9.1.0", Ok(Line::Eight)),
        ];
        for (version, line) in cases {
            assert_eq!(line_of(version), line, "{version}");
        }
        assert!(line_of("7.7.1").is_err() && line_of("").is_err());
    }
}
