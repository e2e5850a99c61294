//! Signature version 4, as S3 wants it: the request's parts in one fixed form, hashed, and signed with a key that is good for a day.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::settings::Settings;

/// A request as far as it is signed.
pub(crate) struct Unsigned<'a> {
    pub(crate) method: &'a str,
    pub(crate) host: &'a str,
    /// Escaped, from the first slash on.
    pub(crate) path: &'a str,
    /// Not escaped yet.
    pub(crate) query: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
    /// `20240102T030405Z`.
    pub(crate) time: &'a str,
}

/// The headers that prove who asks.
pub(crate) fn headers(request: &Unsigned<'_>, settings: &Settings) -> Vec<(&'static str, String)> {
    let hash = hex(&Sha256::digest(request.body));
    let mut headers = vec![("x-amz-content-sha256", hash.clone()), ("x-amz-date", request.time.to_owned())];
    if let Some(token) = &settings.credentials.session_token {
        headers.push(("x-amz-security-token", token.clone()));
    }
    let mut canonical =
        format!("{}\n{}\n{}\nhost:{}\n", request.method, request.path, query(request.query), request.host);
    let mut signed = "host".to_owned();
    for (name, value) in &headers {
        writeln!(canonical, "{name}:{value}").expect("a String takes everything");
        write!(signed, ";{name}").expect("a String takes everything");
    }
    write!(canonical, "\n{signed}\n{hash}").expect("a String takes everything");
    let day = request.time.get(..8).unwrap_or_default();
    let scope = format!("{day}/{}/s3/aws4_request", settings.region);
    let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", request.time, hex(&Sha256::digest(canonical.as_bytes())));
    let mut key = format!("AWS4{}", settings.credentials.secret_key).into_bytes();
    for part in [day, &settings.region, "s3", "aws4_request"] {
        key = mac(&key, part.as_bytes());
    }
    let signature = hex(&mac(&key, text.as_bytes()));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={signed},Signature={signature}",
        settings.credentials.access_key
    );
    headers.push(("authorization", authorization));
    headers
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("an HMAC takes a key of any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

/// The query in the order and form in which it is signed, and sent.
pub(crate) fn query(parameters: &[(&str, &str)]) -> String {
    let mut parts: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{}={}", escape(name, false), escape(value, false))).collect();
    parts.sort();
    parts.join("&")
}

/// Everything but letters, digits and `-._~` as `%` and two hexadecimal digits; slashes stay where they may.
pub(crate) fn escape(text: &str, keeps_slashes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            b'/' if keeps_slashes => out.push('/'),
            _ => write!(out, "%{byte:02X}").expect("a String takes everything"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Credentials;

    /// The examples of AWS's own documentation, "Signature Calculations for the Authorization Header".
    #[test]
    fn signatures_are_those_of_the_documentation() {
        let settings = Settings {
            endpoint: String::new(),
            region: "us-east-1".to_owned(),
            is_path_style: false,
            credentials: Credentials {
                access_key: "AKIAIOSFODNN7EXAMPLE".to_owned(),
                secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
                session_token: None,
            },
        };
        let cases: [(&[(&str, &str)], &str); 2] = [
            (&[("lifecycle", "")], "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
            (&[("max-keys", "2"), ("prefix", "J")], "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
        ];
        for (query, expected) in cases {
            let request = Unsigned {
                method: "GET",
                host: "examplebucket.s3.amazonaws.com",
                path: "/",
                query,
                body: b"",
                time: "20130524T000000Z",
            };
            let (_, authorization) = headers(&request, &settings).pop().unwrap();
            assert!(authorization.ends_with(&format!("Signature={expected}")), "{authorization}");
        }
    }

    #[test]
    fn names_are_escaped_byte_by_byte() {
        assert_eq!(escape("dt=1/a b%é", true), "dt%3D1/a%20b%25%C3%A9");
        assert_eq!(query(&[("b", "2/"), ("a", "")]), "a=&b=2%2F");
    }
}
