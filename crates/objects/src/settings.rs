//! Where the store is and who asks: Flink's settings of its S3 file systems, and where they are silent the environment variables of AWS.
//!
//! They are one for the process, as they are one for a Flink cluster: a bucket is not another one because another job reads it.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use wiesel_core::{Error, Result, secret};

/// The settings that are read, sorted.
pub const SETTINGS: &[&str] = &[
    "s3.access-key",
    "s3.endpoint",
    "s3.endpoint.region",
    "s3.path-style-access",
    "s3.path.style.access",
    "s3.region",
    "s3.secret-key",
    "s3.session-token",
];

/// The region of a store that knows none.
const REGION: &str = "us-east-1";

static VALUES: RwLock<BTreeMap<String, String>> = RwLock::new(BTreeMap::new());

/// Takes the values of a file's settings; keys of other things are passed over.
pub fn configure<'a>(values: impl IntoIterator<Item = (&'a str, &'a str)>) {
    let mut all = VALUES.write().unwrap_or_else(PoisonError::into_inner);
    for (key, value) in values {
        if SETTINGS.contains(&key) {
            all.insert(key.to_owned(), value.to_owned());
        }
    }
}

/// Who asks.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    pub(crate) session_token: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(secret::HIDDEN)
    }
}

/// What a client is made of.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// `http://host:port`, without a bucket.
    pub(crate) endpoint: String,
    pub(crate) region: String,
    /// The bucket stands in the path and not in the host's name.
    pub(crate) is_path_style: bool,
    pub(crate) credentials: Credentials,
}

impl Settings {
    pub(crate) fn read() -> Result<Settings> {
        let values = VALUES.read().unwrap_or_else(PoisonError::into_inner);
        let set = |keys: &[&str]| keys.iter().find_map(|key| values.get(*key).filter(|v| !v.is_empty()).cloned());
        let from = |keys: &[&str], variables: &[&str]| {
            set(keys).or_else(|| variables.iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty())))
        };
        let access_key = from(&["s3.access-key"], &["AWS_ACCESS_KEY_ID"]);
        let secret_key = from(&["s3.secret-key"], &["AWS_SECRET_ACCESS_KEY"]);
        let (Some(access_key), Some(secret_key)) = (access_key, secret_key) else {
            return Err(Error::config("an object store is named, and nothing says who asks for it").hint(
                "SET 's3.access-key' and 's3.secret-key', or give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment",
            ));
        };
        let session_token = from(&["s3.session-token"], &["AWS_SESSION_TOKEN"]);
        secret::keep(&secret_key);
        session_token.iter().for_each(|token| secret::keep(token));
        let region = from(&["s3.endpoint.region", "s3.region"], &["AWS_REGION", "AWS_DEFAULT_REGION"]);
        let region = region.unwrap_or_else(|| REGION.to_owned());
        let endpoint = from(&["s3.endpoint"], &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]);
        let endpoint = endpoint.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        let endpoint = if endpoint.contains("://") { endpoint } else { format!("https://{endpoint}") };
        let path_style = set(&["s3.path.style.access", "s3.path-style-access"]);
        let is_path_style = match path_style.as_deref() {
            Some(text) if text.eq_ignore_ascii_case("true") => true,
            Some(text) if text.eq_ignore_ascii_case("false") => false,
            Some(text) => {
                return Err(Error::config(format!(
                    "setting 's3.path.style.access' cannot be '{text}': expected true or false"
                )));
            }
            None => has_no_subdomains(&endpoint),
        };
        let credentials = Credentials { access_key, secret_key, session_token };
        Ok(Settings { endpoint, region, is_path_style, credentials })
    }
}

/// Whether a host is an address, or this machine: a bucket's name cannot stand in front of it.
fn has_no_subdomains(endpoint: &str) -> bool {
    let host = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost" || name.starts_with('[') || name.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_stands_in_front_of_names_only() {
        let cases = [
            ("http://127.0.0.1:9000", true),
            ("http://localhost:9000", true),
            ("http://[::1]:9000", true),
            ("https://s3.eu-central-1.amazonaws.com", false),
            ("https://minio.example.org:9000", false),
        ];
        for (endpoint, expected) in cases {
            assert_eq!(has_no_subdomains(endpoint), expected, "{endpoint}");
        }
    }

    #[test]
    fn credentials_are_not_shown() {
        let credentials = Credentials {
            access_key: "who".to_owned(),
            secret_key: "canary-secret".to_owned(),
            session_token: Some("canary-token".to_owned()),
        };
        assert_eq!(format!("{credentials:?}"), "******");
    }
}
