//! PARSE_URL(url, part [, key]): one part of a URL, or one value of its query.

use arrow_array::ArrayRef;
use wiesel_core::{DataType, Result};

use crate::eval::EvalContext;
use crate::function::binding::{Param, accept, nullable};
use crate::function::define::Plain;
use crate::function::{Operand, Signature};
use crate::operand::TextBuilder;

pub(crate) static PARSE_URL: Plain = Plain::new(
    "PARSE_URL",
    "PARSE_URL(url, part [, key]): HOST, PATH, QUERY, REF, PROTOCOL, AUTHORITY, FILE or USERINFO of a URL; with a key the value of that key in QUERY; NULL when there is none",
    |args| {
        let types = accept(args, &[Param::Text; 3], 2, "PARSE_URL takes (STRING, part STRING [, key STRING])")?;
        Ok(nullable(types, DataType::string().kind))
    },
    parse_url,
)
.total();

fn parse_url(args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
    let (urls, parts) = (args[0].strings(), args[1].strings());
    let keys = args.get(2).map(Operand::strings);
    let mut out = TextBuilder::new(rows, urls.byte_count(rows));
    for row in 0..rows {
        let url = urls.get(row).and_then(Url::new);
        out.option(match (url, parts.get(row), keys.map(|k| k.get(row))) {
            (Some(url), Some(part), None) => url.part(part),
            (Some(url), Some("QUERY"), Some(Some(key))) => url.query.and_then(|query| {
                query.split('&').find_map(|pair| pair.split_once('=').filter(|(k, _)| *k == key).map(|(_, v)| v))
            }),
            _ => None,
        });
    }
    out.finish()
}

/// The parts of `protocol://userinfo@host:port/path?query#ref`.
struct Url<'a> {
    protocol: &'a str,
    authority: &'a str,
    file: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    reference: Option<&'a str>,
}

impl<'a> Url<'a> {
    fn new(text: &'a str) -> Option<Url<'a>> {
        let (protocol, rest) = text.split_once("://")?;
        let is_known =
            ["http", "https", "ftp", "file", "jar", "mailto"].contains(&protocol.to_ascii_lowercase().as_str());
        if !is_known {
            return None;
        }
        let (rest, reference) = match rest.split_once('#') {
            Some((rest, reference)) => (rest, Some(reference)),
            None => (rest, None),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, file) = rest.split_at(end);
        let (path, query) = match file.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (file, None),
        };
        Some(Url { protocol, authority, file, path, query, reference })
    }

    fn part(&self, name: &str) -> Option<&'a str> {
        let user_and_host = self.authority.rsplit_once('@');
        let host = user_and_host.map_or(self.authority, |(_, host)| host);
        match name {
            "HOST" => {
                // The colon of a port stands behind the bracket of an IPv6 address.
                let bracket = host.rfind(']').map_or(0, |at| at + 1);
                Some(host[bracket..].find(':').map_or(host, |at| &host[..bracket + at]))
            }
            "PATH" => Some(self.path),
            "QUERY" => self.query,
            "REF" => self.reference,
            "PROTOCOL" => Some(self.protocol),
            "FILE" => Some(self.file),
            "AUTHORITY" => Some(self.authority),
            "USERINFO" => user_and_host.map(|(user, _)| user),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, null_s, s};

    #[test]
    fn parts_of_urls_are_cut_out() {
        let url = || s("https://me@example.org:8080/p/a?k=v&x=1#top");
        check(&[
            ("PARSE_URL", vec![url(), s("HOST")], "example.org"),
            ("PARSE_URL", vec![url(), s("PATH")], "/p/a"),
            ("PARSE_URL", vec![url(), s("QUERY")], "k=v&x=1"),
            ("PARSE_URL", vec![url(), s("QUERY"), s("x")], "1"),
            ("PARSE_URL", vec![url(), s("QUERY"), s("y")], "NULL"),
            ("PARSE_URL", vec![url(), s("REF")], "top"),
            ("PARSE_URL", vec![url(), s("PROTOCOL")], "https"),
            ("PARSE_URL", vec![url(), s("FILE")], "/p/a?k=v&x=1"),
            ("PARSE_URL", vec![url(), s("AUTHORITY")], "me@example.org:8080"),
            ("PARSE_URL", vec![url(), s("USERINFO")], "me"),
            ("PARSE_URL", vec![s("nonsense"), s("HOST")], "NULL"),
            ("PARSE_URL", vec![null_s(), s("HOST")], "NULL"),
        ]);
    }
}
