//! Which paths name an object store.

use std::path::Path;

use wiesel_core::{Error, Result};

/// The schemes that Flink's two S3 file systems take; they mean the same here.
const SCHEMES: [&str; 3] = ["s3", "s3a", "s3p"];

/// `s3://bucket/key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectUrl {
    /// The bucket.
    pub bucket: String,
    /// What follows, without slashes at its ends; empty for the whole bucket.
    pub key: String,
}

impl ObjectUrl {
    /// Whether a text is the URL of an object store.
    pub fn is_one(text: &str) -> bool {
        text.split_once("://").is_some_and(|(scheme, _)| SCHEMES.contains(&scheme))
    }

    /// The same of a path that carries a URL.
    pub fn is_path(path: &Path) -> bool {
        path.to_str().is_some_and(ObjectUrl::is_one)
    }

    /// Takes a URL apart.
    pub fn parse(text: &str) -> Result<ObjectUrl> {
        let wrong = |why: &str| {
            Error::config(format!("`{text}` does not name a place in an object store: {why}"))
                .hint("write it as `s3://bucket/folder`")
        };
        let (_, rest) =
            text.split_once("://").filter(|_| ObjectUrl::is_one(text)).ok_or_else(|| wrong("no `s3://`"))?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() || bucket.contains(['@', ':', '?', '#']) {
            return Err(wrong("the bucket's name stands behind `://`, alone"));
        }
        let key: Vec<&str> = key.split('/').filter(|part| !part.is_empty()).collect();
        if key.iter().any(|part| matches!(*part, "." | "..")) {
            return Err(wrong("a store has no `.` and `..`"));
        }
        Ok(ObjectUrl { bucket: bucket.to_owned(), key: key.join("/") })
    }

    /// The same of a path that carries a URL.
    pub fn of_path(path: &Path) -> Result<ObjectUrl> {
        ObjectUrl::parse(&path.to_string_lossy())
    }

    /// The key of something below it.
    pub fn below(&self, name: &str) -> String {
        match (self.key.as_str(), name) {
            ("", name) => name.to_owned(),
            (key, "") => key.to_owned(),
            (key, name) => format!("{key}/{name}"),
        }
    }

    /// What all keys below it begin with.
    pub fn prefix(&self) -> String {
        if self.key.is_empty() { String::new() } else { format!("{}/", self.key) }
    }
}

impl std::fmt::Display for ObjectUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_bucket_and_a_key() {
        let cases = [
            ("s3://b/a/c", Some(("b", "a/c"))),
            ("s3a://b/a//c/", Some(("b", "a/c"))),
            ("s3p://b", Some(("b", ""))),
            ("s3://", None),
            ("s3://key:secret@b/a", None),
            ("s3://b/../a", None),
            ("gs://b/a", None),
            ("/tmp/s3", None),
        ];
        for (text, expected) in cases {
            let found = ObjectUrl::parse(text).ok();
            let found = found.as_ref().map(|url| (url.bucket.as_str(), url.key.as_str()));
            assert_eq!(found, expected, "{text}");
        }
        let url = ObjectUrl::parse("s3://b/a").unwrap();
        assert_eq!((url.below("x"), url.prefix()), ("a/x".to_owned(), "a/".to_owned()));
    }
}
