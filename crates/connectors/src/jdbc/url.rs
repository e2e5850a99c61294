//! JDBC URLs: `jdbc:postgresql://host:port,host2:port2/database?name=value&name=value`. What stands in them differs by database and is read
//! by its [`Dialect`].

use std::collections::BTreeMap;
use std::time::Duration;

use wiesel_core::diagnostic::nearest;
use wiesel_core::{Error, Result};

use super::dialect::{DIALECTS, Dialect};
use crate::registry::unsupported;

/// A URL taken apart.
#[derive(Clone)]
pub(super) struct JdbcUrl {
    pub(super) dialect: &'static dyn Dialect,
    /// Tried in turn; none for a database that is a file.
    pub(super) hosts: Vec<(String, u16)>,
    /// The database's name, or its file.
    pub(super) database: Option<String>,
    pub(super) user: Option<String>,
    /// A secret.
    pub(super) password: Option<String>,
    pub(super) connect_timeout: Option<Duration>,
    /// Parameters that only the dialect knows.
    pub(super) settings: BTreeMap<String, String>,
    /// Parameters that mean something to the Java driver only.
    pub(super) without_effect: Vec<String>,
}

impl JdbcUrl {
    /// Reads a URL. Errors show it without its parameters, which may hold a password.
    pub(super) fn parse(text: &str) -> Result<JdbcUrl> {
        let shown = text.split(['?', ';']).next().unwrap_or_default();
        let shown = shown.rsplit('@').next().unwrap_or_default();
        let Some(rest) = text.strip_prefix("jdbc:") else {
            return Err(
                Error::config(format!("option 'url': `{shown}` is no JDBC URL")).hint(format!("write {}", examples()))
            );
        };
        let (scheme, rest) = rest.split_once(':').unwrap_or((rest, ""));
        let Some(dialect) = DIALECTS.iter().find(|dialect| dialect.schemes().contains(&scheme)) else {
            return Err(unsupported(format!("option 'url': databases of kind '{scheme}' are not supported yet"))
                .hint(format!("connector 'jdbc' knows {}", examples())));
        };
        let malformed = || {
            Error::config(format!("option 'url': cannot read `{shown}`")).hint(format!("write {}", dialect.example()))
        };
        let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let authority = place.strip_prefix("//").map(|place| place.split('/').next().unwrap_or_default());
        if authority.is_some_and(|hosts| hosts.contains('@')) {
            return Err(Error::config(format!("option 'url': `{shown}` has a user name in front of its host"))
                .hint("user and password go into 'username' and 'password'"));
        }
        let mut url = JdbcUrl {
            dialect: *dialect,
            hosts: Vec::new(),
            database: None,
            user: None,
            password: None,
            connect_timeout: None,
            settings: BTreeMap::new(),
            without_effect: Vec::new(),
        };
        dialect.read_place(place, &mut url).ok_or_else(malformed)?;
        for parameter in parameters.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = decode(value).ok_or_else(malformed)?;
            if dialect.read_parameter(name, &value, &mut url)? {
                continue;
            }
            let without_effect = dialect.parameters_without_effect();
            if without_effect.contains(&name) {
                url.without_effect.push(name.to_owned());
                continue;
            }
            let error = Error::config(format!("option 'url': unknown parameter '{name}'"));
            let names = dialect.parameters().iter().chain(without_effect).copied();
            return Err(match nearest(name, names) {
                Some(near) => error.hint(format!("did you mean '{near}'?")),
                None => error.hint(format!("known parameters: {}", dialect.parameters().join(", "))),
            });
        }
        Ok(url)
    }

    /// Reads `//host:port,host2:port2/database`, or a database alone.
    pub(super) fn read_servers(&mut self, place: &str, port_default: u16) -> Option<()> {
        let (hosts, database) = match place.strip_prefix("//") {
            None => ("", place),
            Some(place) => place.split_once('/').unwrap_or((place, "")),
        };
        self.database = decode(database).filter(|d| !d.is_empty());
        for host in hosts.split(',') {
            self.hosts.push(read_host(host, port_default)?);
        }
        Some(())
    }

    /// Reads a time to connect within, of which there are `per_second` in a second; 0 is none.
    pub(super) fn read_connect_timeout(&mut self, name: &str, value: &str, per_second: u64) -> Result<()> {
        let units = if per_second == 1 { "seconds" } else { "milliseconds" };
        let count: u64 = value
            .parse()
            .map_err(|_| Error::config(format!("option 'url': parameter '{name}' is a number of {units}")))?;
        self.connect_timeout = (count > 0).then(|| Duration::from_millis(count.saturating_mul(1000 / per_second)));
        Ok(())
    }
}

fn examples() -> String {
    DIALECTS.iter().map(|dialect| dialect.example()).collect::<Vec<_>>().join(", ")
}

fn read_host(text: &str, port_default: u16) -> Option<(String, u16)> {
    if text.is_empty() {
        return Some(("localhost".to_owned(), port_default));
    }
    // An IPv6 address stands in brackets.
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (name, port) = rest.split_once(']')?;
            (name, port.strip_prefix(':'))
        }
        None => text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port))),
    };
    let port = port.map_or(Some(port_default), |p| p.parse().ok())?;
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
        assert_eq!(url.settings.get("currentSchema").map(String::as_str), Some("s"));
        let short = JdbcUrl::parse("jdbc:postgresql:shop").unwrap();
        assert_eq!((short.hosts[0].0.as_str(), short.database.as_deref()), ("localhost", Some("shop")));
        assert_eq!(JdbcUrl::parse("jdbc:postgresql://db").unwrap().database, None);
    }

    #[test]
    fn every_database_has_its_own_form() {
        let mysql =
            JdbcUrl::parse("jdbc:mysql://a,b:3307/shop?useSSL=false&connectTimeout=1500&serverTimezone=UTC").unwrap();
        assert_eq!(mysql.dialect.name(), "MySQL");
        assert_eq!(mysql.hosts, [("a".to_owned(), 3306), ("b".to_owned(), 3307)]);
        assert_eq!(
            (mysql.database.as_deref(), mysql.connect_timeout),
            (Some("shop"), Some(Duration::from_millis(1500)))
        );
        assert_eq!(mysql.without_effect, ["serverTimezone"]);
        assert_eq!(JdbcUrl::parse("jdbc:mariadb://h/d").unwrap().dialect.name(), "MySQL");
        let sqlite = JdbcUrl::parse("jdbc:sqlite:/data/shop.db?foreign_keys=true").unwrap();
        assert_eq!((sqlite.dialect.name(), sqlite.hosts.len()), ("SQLite", 0));
        assert_eq!(sqlite.database.as_deref(), Some("/data/shop.db"));
    }

    #[test]
    fn other_urls_are_refused_by_name_and_without_their_secrets() {
        let cases = [
            ("jdbc:oracle://h/db?password=geheim", "databases of kind 'oracle'"),
            ("postgresql://u:geheim@h/db", "no JDBC URL"),
            ("jdbc:postgresql://u:geheim@h/db", "user name in front of its host"),
            ("jdbc:postgresql://h:port/db?password=geheim", "cannot read `jdbc:postgresql://h:port/db`"),
            ("jdbc:postgresql://h/db?sslmode=require&password=geheim", "encrypted connections"),
            ("jdbc:mysql://h/db?sslMode=REQUIRED&password=geheim", "encrypted connections to MySQL"),
            ("jdbc:sqlite::memory:", "cannot read `jdbc:sqlite::memory:`"),
            ("jdbc:sqlite:/a?foreign_key=geheim", "did you mean 'foreign_keys'?"),
            ("jdbc:postgresql://h/db?currentSchem=geheim", "did you mean 'currentSchema'?"),
        ];
        for (text, message) in cases {
            let Err(error) = JdbcUrl::parse(text) else { panic!("{text} was taken") };
            assert!(error.to_string().contains(message), "{error}");
            assert!(!error.to_string().contains("geheim"), "{error}");
        }
    }
}
