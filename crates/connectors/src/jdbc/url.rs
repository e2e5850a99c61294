//! JDBC URLs of PostgreSQL: `jdbc:postgresql://host:port,host2:port2/database?name=value&name=value`.

use std::time::Duration;

use wiesel_core::diagnostic::nearest;
use wiesel_core::{Error, Result};

use crate::registry::unsupported;

/// PostgreSQL's port.
const PORT_DEFAULT: u16 = 5432;

/// A URL taken apart.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct JdbcUrl {
    /// Tried in turn.
    pub(super) hosts: Vec<(String, u16)>,
    /// `None`: the user's name, as the server decides.
    pub(super) database: Option<String>,
    pub(super) user: Option<String>,
    /// A secret.
    pub(super) password: Option<String>,
    /// `currentSchema`.
    pub(super) search_path: Option<String>,
    pub(super) application_name: Option<String>,
    pub(super) connect_timeout: Option<Duration>,
    /// Parameters that mean something to the Java driver only.
    pub(super) without_effect: Vec<String>,
}

/// Parameters of the Java driver that change how it works and not what it does.
const WITHOUT_EFFECT: &[&str] = &[
    "adaptiveFetch",
    "assumeMinServerVersion",
    "autosave",
    "binaryTransfer",
    "cleanupSavepoints",
    "databaseMetadataCacheFields",
    "defaultRowFetchSize",
    "disableColumnSanitiser",
    "loadBalanceHosts",
    "logUnclosedConnections",
    "loggerFile",
    "loggerLevel",
    "loginTimeout",
    "prepareThreshold",
    "preparedStatementCacheQueries",
    "preparedStatementCacheSizeMiB",
    "reWriteBatchedInserts",
    "socketTimeout",
    "stringtype",
    "tcpKeepAlive",
    "tcpNoDelay",
];

/// Parameters that are read.
const KNOWN: &[&str] =
    &["ApplicationName", "connectTimeout", "currentSchema", "password", "ssl", "sslmode", "targetServerType", "user"];

impl JdbcUrl {
    /// Reads a URL. Errors show it without its parameters, which may hold a password.
    pub(super) fn parse(text: &str) -> Result<JdbcUrl> {
        let shown = text.split(['?', ';']).next().unwrap_or_default();
        let shown = shown.rsplit('@').next().unwrap_or_default();
        let Some(rest) = text.strip_prefix("jdbc:") else {
            return Err(Error::config(format!("option 'url': `{shown}` is no JDBC URL"))
                .hint("write jdbc:postgresql://host:port/database"));
        };
        let Some(rest) = rest.strip_prefix("postgresql:") else {
            let name = rest.split(':').next().unwrap_or_default();
            return Err(unsupported(format!("option 'url': databases of kind '{name}' are not supported yet"))
                .hint("connector 'jdbc' writes to PostgreSQL: jdbc:postgresql://host:port/database"));
        };
        let malformed = || {
            Error::config(format!("option 'url': cannot read `{shown}`"))
                .hint("write jdbc:postgresql://host:port/database")
        };
        let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, database) = match place.strip_prefix("//") {
            None => ("", place),
            Some(place) => place.split_once('/').unwrap_or((place, "")),
        };
        if hosts.contains('@') {
            return Err(Error::config(format!("option 'url': `{shown}` has a user name in front of its host"))
                .hint("user and password go into 'username' and 'password'"));
        }
        let mut url = JdbcUrl {
            hosts: Vec::new(),
            database: decode(database).filter(|d| !d.is_empty()),
            user: None,
            password: None,
            search_path: None,
            application_name: None,
            connect_timeout: None,
            without_effect: Vec::new(),
        };
        for host in hosts.split(',') {
            url.hosts.push(read_host(host).ok_or_else(malformed)?);
        }
        for parameter in parameters.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = decode(value).ok_or_else(malformed)?;
            url.read_parameter(name, value)?;
        }
        Ok(url)
    }

    fn read_parameter(&mut self, name: &str, value: String) -> Result<()> {
        match name {
            "user" => self.user = Some(value),
            "password" => self.password = Some(value),
            "currentSchema" => self.search_path = Some(value),
            "ApplicationName" => self.application_name = Some(value),
            "connectTimeout" => {
                let seconds: u64 = value
                    .parse()
                    .map_err(|_| Error::config("option 'url': parameter 'connectTimeout' is a number of seconds"))?;
                self.connect_timeout = (seconds > 0).then(|| Duration::from_secs(seconds));
            }
            "sslmode" if matches!(value.as_str(), "disable" | "allow" | "prefer") => {}
            "ssl" if value == "false" => {}
            "ssl" | "sslmode" | "sslcert" | "sslkey" | "sslrootcert" | "sslpassword" | "sslfactory" => {
                return Err(unsupported(format!(
                    "option 'url': encrypted connections (parameter '{name}') are not supported yet"
                ))
                .hint("use sslmode=disable, or a local TLS proxy such as stunnel in between"));
            }
            "targetServerType" if value == "any" || value == "primary" || value == "master" => {}
            name if WITHOUT_EFFECT.contains(&name) => self.without_effect.push(name.to_owned()),
            name => {
                let error = Error::config(format!("option 'url': unknown parameter '{name}'"));
                let names = KNOWN.iter().chain(WITHOUT_EFFECT).copied();
                return Err(match nearest(name, names) {
                    Some(near) => error.hint(format!("did you mean '{near}'?")),
                    None => error.hint(format!("known parameters: {}", KNOWN.join(", "))),
                });
            }
        }
        Ok(())
    }
}

fn read_host(text: &str) -> Option<(String, u16)> {
    if text.is_empty() {
        return Some(("localhost".to_owned(), PORT_DEFAULT));
    }
    // An IPv6 address stands in brackets.
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (name, port) = rest.split_once(']')?;
            (name, port.strip_prefix(':'))
        }
        None => text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port))),
    };
    let port = port.map_or(Some(PORT_DEFAULT), |p| p.parse().ok())?;
    (!name.is_empty()).then(|| (name.to_owned(), port))
}

/// Resolves `%41` and `+`.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_the_java_driver_reads_them() {
        let url = JdbcUrl::parse(
            "jdbc:postgresql://db:5433,b,[::1]:6000/my%20db?user=u&password=p%26x&currentSchema=s&ApplicationName=a&reWriteBatchedInserts=true&connectTimeout=7",
        )
        .unwrap();
        let hosts = [("db", 5433), ("b", 5432), ("::1", 6000)].map(|(h, p)| (h.to_owned(), p));
        assert_eq!(url.hosts, hosts);
        assert_eq!(url.database.as_deref(), Some("my db"));
        assert_eq!((url.user.as_deref(), url.password.as_deref()), (Some("u"), Some("p&x")));
        assert_eq!(url.connect_timeout, Some(Duration::from_secs(7)));
        assert_eq!(url.without_effect, ["reWriteBatchedInserts"]);
        let short = JdbcUrl::parse("jdbc:postgresql:shop").unwrap();
        assert_eq!((short.hosts[0].0.as_str(), short.database.as_deref()), ("localhost", Some("shop")));
        assert_eq!(JdbcUrl::parse("jdbc:postgresql://db").unwrap().database, None);
    }

    #[test]
    fn other_urls_are_refused_by_name_and_without_their_secrets() {
        let cases = [
            ("jdbc:mysql://h/db?password=geheim", "databases of kind 'mysql'"),
            ("postgresql://u:geheim@h/db", "no JDBC URL"),
            ("jdbc:postgresql://u:geheim@h/db", "user name in front of its host"),
            ("jdbc:postgresql://h:port/db?password=geheim", "cannot read `jdbc:postgresql://h:port/db`"),
            ("jdbc:postgresql://h/db?sslmode=require&password=geheim", "encrypted connections"),
            ("jdbc:postgresql://h/db?currentSchem=geheim", "did you mean 'currentSchema'?"),
        ];
        for (text, message) in cases {
            let Err(error) = JdbcUrl::parse(text) else { panic!("{text} was taken") };
            assert!(error.to_string().contains(message), "{error}");
            assert!(!error.to_string().contains("geheim"), "{error}");
        }
    }
}
