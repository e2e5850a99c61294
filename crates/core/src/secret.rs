//! What must never be shown: which keys hold secrets, and a net under everything that wiesel says.
//!
//! Two layers, because one alone has holes. A *key* that sounds like a secret hides its value wherever options are listed (SHOW CREATE,
//! SET). And every secret *value* is remembered here when the file is read, so that whatever comes along later, an error of a server, a
//! source line under a caret, a panic, passes [`redacted`] on its way out and loses it. The list is one for the process: a secret of one
//! job is no other job's business either. It is bounded, and a value too short to be told from ordinary text is not looked for.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

/// What stands for a value that must not be shown.
pub const HIDDEN: &str = "******";

/// A key with one of these in it holds a secret: Flink's list (`GlobalConfiguration`), and what its connectors and object stores have
/// beyond it.
const SECRET_WORDS: [&str; 15] = [
    "password",
    "passwd",
    "secret",
    "token",
    "apikey",
    "api-key",
    "jaas.config",
    "basic-auth",
    "auth-params",
    "service-key",
    "http-headers",
    "fs.azure.account.key",
    "authorization",
    "credential",
    "keystore.key",
];

/// Values that are looked for at most; more than a file can hold by any measure.
const SECRETS_MAX: usize = 10_000;

/// A shorter value is part of too many words to be looked for.
const LOOKED_FOR_BYTES_MIN: usize = 4;

/// A value from this length on is looked for inside of words as well.
const INSIDE_WORDS_BYTES_MIN: usize = 8;

static KEPT: RwLock<BTreeSet<String>> = RwLock::new(BTreeSet::new());

/// Whether the value of this option or setting is a secret.
pub fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

/// The value as it may be listed beside its key: hidden for a secret key and for anything of SASL, user and password of a URL hidden in
/// all others.
pub fn shown<'a>(key: &str, value: &'a str) -> Cow<'a, str> {
    // A variable names its secret without showing it.
    let is_variable = value.starts_with("${") && value.find('}') == Some(value.len() - 1) && !value.contains(":-");
    if is_variable {
        return Cow::Borrowed(value);
    }
    if is_secret_key(key) || key.to_ascii_lowercase().contains("sasl.") {
        return Cow::Borrowed(HIDDEN);
    }
    let mut places: Vec<(usize, usize)> = user_infos(value).chain(url_parameters(value)).collect();
    if places.is_empty() {
        return Cow::Borrowed(value);
    }
    places.sort_unstable();
    let mut text = String::new();
    let mut at = 0;
    for (start, end) in places {
        if start >= at {
            text.push_str(&value[at..start]);
            text.push_str(HIDDEN);
            at = end;
        }
    }
    text.push_str(&value[at..]);
    Cow::Owned(text)
}

/// Remembers what of an option's value must never be shown. Variables in it are passed over, their defaults are not.
pub fn keep_option(key: &str, value: &str) {
    if let Some(at) = value.find("${") {
        let length = value[at..].find('}').map_or(value.len() - at, |length| length + 1);
        let (variable, behind) = value[at..].split_at(length);
        if let Some((_, default)) = variable.trim_end_matches('}').split_once(":-") {
            keep_option(key, default);
        }
        // What stands around a variable is kept part by part.
        keep_option(key, value[..at].trim_end_matches('$'));
        keep_option(key, behind);
        return;
    }
    if is_secret_key(key) {
        keep(value);
        for part in value.split_ascii_whitespace().flat_map(|part| part.split([';', ','])) {
            let (name, part) = part.split_once(['=', ':']).unwrap_or(("", part));
            let part = part.trim_matches(['"', '\'']);
            // JAAS names its password; a header or `user:password` stands alone, and only its long parts are told from words.
            if is_secret_key(name) || (!key.contains("jaas") && part.len() >= INSIDE_WORDS_BYTES_MIN) {
                keep(part);
            }
        }
    }
    for (start, end) in user_infos(value).chain(url_parameters(value)) {
        let part = &value[start..end];
        keep(part.split_once(':').map_or(part, |(_, password)| password));
    }
}

/// Remembers a secret value.
pub fn keep(value: &str) {
    let value = value.trim();
    if value.len() < LOOKED_FOR_BYTES_MIN {
        return;
    }
    let mut kept = KEPT.write().unwrap_or_else(PoisonError::into_inner);
    if kept.len() < SECRETS_MAX {
        kept.insert(value.to_owned());
    }
}

/// Remembers the secrets of a SQL text before it is parsed, so that an error in the text itself does not show them under its caret:
/// every `'key' = 'value'` counts, closed or not.
pub fn keep_from_text(text: &str) {
    let mut rest = text;
    let mut before: Option<&str> = None;
    while let Some(at) = rest.find('\'') {
        // An apostrophe in a comment opens nothing.
        if let Some(behind) = behind_comment(&rest[..at], rest) {
            rest = behind;
            before = None;
            continue;
        }
        // What stands between two quoted texts decides whether they are a pair.
        if rest[..at].trim() != "=" {
            before = None;
        }
        let (quoted, behind) = quoted(&rest[at + 1..]);
        match before.take() {
            Some(key) => keep_option(key, &quoted.replace("''", "'")),
            None => before = Some(quoted),
        }
        rest = behind;
    }
}

/// What follows the comment that begins in `head`, the text up to the next quote.
fn behind_comment<'a>(head: &str, text: &'a str) -> Option<&'a str> {
    let line = head.find("--").map(|at| (at, "\n"));
    let block = head.find("/*").map(|at| (at, "*/"));
    let (at, end) = line.into_iter().chain(block).min()?;
    Some(text[at..].find(end).map_or("", |found| &text[at + found + end.len()..]))
}

/// The text up to its closing quote (a doubled one stands for itself), and what follows. An unclosed one ends with its line.
fn quoted(text: &str) -> (&str, &str) {
    let mut from = 0;
    while let Some(at) = text[from..].find('\'').map(|at| from + at) {
        if !text[at + 1..].starts_with('\'') {
            return (&text[..at], &text[at + 1..]);
        }
        from = at + 2;
    }
    let end = text.find('\n').unwrap_or(text.len());
    (&text[..end], &text[end..])
}

/// The text without any secret that was kept.
pub fn redacted(text: &str) -> Cow<'_, str> {
    let kept = KEPT.read().unwrap_or_else(PoisonError::into_inner);
    let mut text = Cow::Borrowed(text);
    // Longer ones first: a secret may be the beginning of another one.
    let mut found: Vec<&String> = kept.iter().filter(|secret| text.contains(secret.as_str())).collect();
    found.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in found {
        text = Cow::Owned(without(&text, secret));
    }
    text
}

fn without(text: &str, secret: &str) -> String {
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut last: Option<char> = None;
    while let Some(at) = rest.find(secret) {
        let behind = &rest[at + secret.len()..];
        let before = rest[..at].chars().next_back().or(last);
        let is_inside = is_word(before) || is_word(behind.chars().next());
        out.push_str(&rest[..at]);
        out.push_str(if is_inside && secret.len() < INSIDE_WORDS_BYTES_MIN { secret } else { HIDDEN });
        last = secret.chars().next_back();
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// The places of `user:password` in `scheme://user:password@host`.
fn user_infos(value: &str) -> impl Iterator<Item = (usize, usize)> {
    value.match_indices("://").filter_map(|(at, _)| {
        let start = at + 3;
        let authority = value[start..].split(['/', '?', '#', ',', ' ', '"', '\'']).next()?;
        let end = start + authority.rfind('@')?;
        (end > start).then_some((start, end))
    })
}

/// The places of the values of secret parameters: `?password=...`.
fn url_parameters(value: &str) -> impl Iterator<Item = (usize, usize)> {
    let is_url = value.contains("://");
    value.match_indices(['?', '&']).filter_map(move |(at, _)| {
        let (name, behind) = value[at + 1..].split_once('=')?;
        if !is_url || name.contains(['&', '?']) || !is_secret_key(name) {
            return None;
        }
        let start = at + 1 + name.len() + 1;
        let end = start + behind.find('&').unwrap_or(behind.len());
        (end > start).then_some((start, end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_sound_like_secrets_are_known() {
        let secret = [
            "password",
            "properties.sasl.jaas.config",
            "properties.ssl.truststore.password",
            "properties.ssl.keystore.key",
            "s3.secret-key",
            "fs.azure.account.key.x",
            "connection.api-key",
            "http-headers",
            "Authorization",
            "my.apikey",
            "value.avro-confluent.basic-auth.user-info",
        ];
        for key in secret {
            assert!(is_secret_key(key), "{key}");
        }
        for key in ["username", "key.fields", "topic", "sink.flush-on-checkpoint", "properties.group.id"] {
            assert!(!is_secret_key(key), "{key}");
        }
    }

    #[test]
    fn a_listed_value_hides_what_is_secret_in_it() {
        let cases = [
            ("password", "p", HIDDEN),
            ("properties.sasl.mechanism", "PLAIN", HIDDEN),
            (
                "url",
                "jdbc:postgresql://h/db?user=u&password=p%26x&ssl=no",
                "jdbc:postgresql://h/db?user=u&password=******&ssl=no",
            ),
            ("hosts", "http://u:p@a:9200;http://b:9200", "http://******@a:9200;http://b:9200"),
            ("path", "s3://bucket/a@b/c", "s3://bucket/a@b/c"),
            ("pattern", "a?password=b", "a?password=b"),
            ("topic", "t", "t"),
            ("password", "${DB_PASSWORD}", "${DB_PASSWORD}"),
            ("password", "x${DB_PASSWORD}", HIDDEN),
            ("password", "${DB_PASSWORD:-x}", HIDDEN),
            ("url", "http://${U}:${P}@h", "http://******@h"),
        ];
        for (key, value, expected) in cases {
            assert_eq!(shown(key, value), expected, "{key} = {value}");
        }
    }

    #[test]
    fn a_kept_value_is_taken_out_of_any_text() {
        keep("kanarienvogel-1");
        keep("kurz");
        keep("ab");
        keep_option("url", "http://someone:vogelfutter@host/");
        keep_option(
            "properties.sasl.jaas.config",
            "x.PlainLoginModule required username=\"u\" password=\"zwitscher-9\";",
        );
        let cases = [
            ("login of xkanarienvogel-1x failed", "login of x******x failed"),
            ("kurz, kurzum", "******, kurzum"),
            ("ab", "ab"),
            ("no host for vogelfutter@", "no host for ******@"),
            ("SASL: zwitscher-9 required", "SASL: ****** required"),
        ];
        for (text, expected) in cases {
            assert_eq!(redacted(text), expected);
        }
    }

    #[test]
    fn defaults_of_variables_are_kept_and_their_names_are_not() {
        keep_option("password", "vor-dem-namen-${ENV_WORD:-hinter-dem-namen}");
        assert_eq!(redacted("vor-dem-namen- ENV_WORD hinter-dem-namen"), "****** ENV_WORD ******");
    }

    #[test]
    fn secrets_of_a_text_are_kept_before_it_is_parsed() {
        keep_from_text(
            "CREATE TABLE t (a STRING COMMENT 'it''s') WITH ('a' = 'b', -- don't\n /* it's */ 'password' = 'ver''steckt-1',\n 'token'='offen-geblieben\nSELECT",
        );
        assert_eq!(redacted("x ver'steckt-1 y offen-geblieben"), "x ****** y ******");
    }
}
