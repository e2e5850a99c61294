//! USER_AGENT(text): browser, operating system and kind of device out of a User-Agent header.
//!
//! A cluster of Flink needs a user function for this. The rules are a short table of our own and not a regular-expression list such as
//! uap-core's: a few searches per row instead of hundreds of patterns, at the price of names for rare browsers. What no rule knows is NULL.
//!
//! Browsers name those they descend from (`Chrome/120 Safari/537.36 Edg/120`), so the rules go from the particular to the general, and the
//! first that fits counts.

use std::sync::Arc;

use arrow_array::{ArrayRef, StructArray};
use arrow_schema::DataType as ArrowType;
use wiesel_core::{DataType, Error, Field, Result, TypeKind};

use crate::eval::EvalContext;
use crate::function::binding::{Param, accept};
use crate::function::define::Plain;
use crate::function::{Operand, Signature};
use crate::operand::TextBuilder;

pub(crate) static USER_AGENT: Plain = Plain::new(
    "USER_AGENT",
    "USER_AGENT(text): what a User-Agent header says, as ROW<browser, browser_version, os, os_version, device>; device is desktop, mobile, tablet, tv, console or bot; what is not known is NULL. `SELECT u.browser, u.device FROM (SELECT USER_AGENT(agent) AS u FROM clicks)`",
    |args| {
        let types = accept(args, &[Param::Text], 1, "USER_AGENT takes (STRING)")?;
        let fields = ["browser", "browser_version", "os", "os_version", "device"];
        let fields = fields.into_iter().map(|name| Field::new(name, DataType::string())).collect();
        Ok(Signature { args: types, returns: DataType::not_null(TypeKind::Row(fields)) })
    },
    user_agent,
)
.total();

fn user_agent(args: &[Operand], call: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
    let texts = args[0].strings();
    let mut out: [TextBuilder; 5] = std::array::from_fn(|_| TextBuilder::new(rows, rows * 8));
    for row in 0..rows {
        let agent = texts.get(row).map(Agent::new).unwrap_or_default();
        let found = [agent.browser, agent.browser_version, agent.os, agent.os_version, agent.device];
        for (builder, found) in out.iter_mut().zip(found) {
            let Some(text) = found else {
                builder.null();
                continue;
            };
            // Apple writes versions with `_`.
            for (index, part) in text.split('_').enumerate() {
                builder.push_str(if index == 0 { "" } else { "." });
                builder.push_str(part);
            }
            builder.end();
        }
    }
    let ArrowType::Struct(fields) = call.returns.to_arrow() else {
        return Err(Error::internal("the result of USER_AGENT is no ROW"));
    };
    let columns = out.into_iter().map(TextBuilder::finish).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(StructArray::try_new(fields, columns, None)?))
}

/// Product tokens of browsers, the particular before the general, and their names.
const BROWSERS: &[(&str, &str)] = &[
    ("EdgiOS/", "Edge"),
    ("EdgA/", "Edge"),
    ("Edg/", "Edge"),
    ("Edge/", "Edge"),
    ("OPiOS/", "Opera"),
    ("OPR/", "Opera"),
    ("Opera Mini/", "Opera Mini"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("YaBrowser/", "Yandex Browser"),
    ("Vivaldi/", "Vivaldi"),
    ("UCBrowser/", "UC Browser"),
    ("DuckDuckGo/", "DuckDuckGo"),
    ("Ddg/", "DuckDuckGo"),
    ("Whale/", "Whale"),
    ("MiuiBrowser/", "Miui Browser"),
    ("HuaweiBrowser/", "Huawei Browser"),
    ("Silk/", "Silk"),
    ("Electron/", "Electron"),
    ("FxiOS/", "Firefox"),
    ("SeaMonkey/", "SeaMonkey"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Headless Chrome"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("MSIE ", "Internet Explorer"),
];

/// Programs that are no browsers: the token their header begins with, and their name.
const PROGRAMS: &[(&str, &str)] = &[
    ("curl/", "curl"),
    ("Wget/", "Wget"),
    ("python-requests/", "Python Requests"),
    ("Python-urllib/", "Python urllib"),
    ("python-httpx/", "Python httpx"),
    ("Go-http-client/", "Go-http-client"),
    ("okhttp/", "okhttp"),
    ("Java/", "Java"),
    ("Apache-HttpClient/", "Apache HttpClient"),
    ("PostmanRuntime/", "Postman"),
    ("axios/", "axios"),
    ("Dalvik/", "Dalvik"),
];

/// What the names of bots hold, in small letters.
const BOT_WORDS: &[&str] = &["bot", "crawler", "spider", "slurp", "facebookexternalhit", "lighthouse", "mediapartners"];

/// What the header says.
#[derive(Debug, Default)]
struct Agent<'a> {
    browser: Option<&'a str>,
    browser_version: Option<&'a str>,
    os: Option<&'a str>,
    os_version: Option<&'a str>,
    device: Option<&'a str>,
}

impl<'a> Agent<'a> {
    fn new(text: &'a str) -> Agent<'a> {
        let (os, os_version) = system(text);
        let bot = bot(text);
        let (browser, browser_version) = bot.or_else(|| browser(text)).unzip();
        let device = if bot.is_some() { Some("bot") } else { device(text, os) };
        Agent { browser, browser_version: browser_version.flatten(), os, os_version, device }
    }
}

/// The version behind a token: digits, points and underscores.
fn version<'a>(text: &'a str, token: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(token)?;
    let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_')).unwrap_or(rest.len());
    let found = rest[..end].trim_end_matches(['.', '_']);
    (!found.is_empty()).then_some(found)
}

type Named<'a> = (&'a str, Option<&'a str>);

fn bot(text: &str) -> Option<Named<'_>> {
    let is_bot = |word: &str| BOT_WORDS.iter().any(|bot| contains_small(word, bot));
    if !is_bot(text) {
        return None;
    }
    let words = text.split([' ', ';', '(', ')', ',']);
    let word = words.filter(|w| !w.contains("://") && !w.contains('@') && !w.contains("www.")).find(|w| is_bot(w))?;
    let (name, _) = word.split_once('/').unwrap_or((word, ""));
    // A phone of the maker Cubot is no bot.
    (!name.eq_ignore_ascii_case("cubot")).then(|| (name, version(word, "/")))
}

/// Whether the text holds the word, whatever the case of the text's letters is.
fn contains_small(text: &str, word: &str) -> bool {
    text.as_bytes().windows(word.len()).any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
}

fn browser(text: &str) -> Option<Named<'_>> {
    if let Some((token, name)) = BROWSERS.iter().find(|(token, _)| text.contains(token)) {
        return Some((name, version(text, token)));
    }
    if text.contains("Trident/") {
        return Some(("Internet Explorer", version(text, "rv:")));
    }
    if text.starts_with("Opera/") {
        return Some(("Opera", version(text, "Version/").or_else(|| version(text, "Opera/"))));
    }
    if text.contains("Safari/") && text.contains("Version/") {
        let name = if text.contains("Android") { "Android Browser" } else { "Safari" };
        return Some((name, version(text, "Version/")));
    }
    let (token, name) = PROGRAMS.iter().find(|(token, _)| text.starts_with(token))?;
    Some((name, version(text, token)))
}

fn system(text: &str) -> (Option<&str>, Option<&str>) {
    let versioned = |name, token| (Some(name), version(text, token));
    if text.contains("Windows Phone") {
        return (Some("Windows Phone"), version(text, "Windows Phone OS ").or_else(|| version(text, "Windows Phone ")));
    }
    if text.contains("Windows") {
        let release = version(text, "Windows NT ").and_then(|number| match number {
            "10.0" => Some("10"),
            "6.3" => Some("8.1"),
            "6.2" => Some("8"),
            "6.1" => Some("7"),
            "6.0" => Some("Vista"),
            "5.1" | "5.2" => Some("XP"),
            _ => None,
        });
        return (Some("Windows"), release);
    }
    if text.contains("Tizen") {
        return versioned("Tizen", "Tizen ");
    }
    if text.contains("KAIOS/") {
        return versioned("KaiOS", "KAIOS/");
    }
    if text.contains("Android") {
        return versioned("Android", "Android ");
    }
    if text.contains("iPhone OS ") {
        return versioned("iOS", "iPhone OS ");
    }
    if text.contains("iPad") || text.contains("iPhone") || text.contains("iPod") {
        return versioned("iOS", "CPU OS ");
    }
    if text.contains("Mac OS X") || text.contains("Macintosh") {
        return versioned("macOS", "Mac OS X ");
    }
    if text.contains("CrOS") {
        return (Some("Chrome OS"), None);
    }
    if text.contains("Linux") || text.contains("Ubuntu") {
        return (Some("Linux"), None);
    }
    if text.contains("FreeBSD") {
        return (Some("FreeBSD"), None);
    }
    if text.contains("PlayStation") {
        return (Some("PlayStation"), None);
    }
    (None, None)
}

fn device(text: &str, os: Option<&str>) -> Option<&'static str> {
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if has(&[
        "SMART-TV", "SmartTV", "Smart-TV", "AppleTV", "Apple TV", "GoogleTV", "HbbTV", "BRAVIA", "CrKey", "AFTT",
        "Web0S",
    ]) {
        return Some("tv");
    }
    if has(&["PlayStation", "Xbox", "Nintendo"]) {
        return Some("console");
    }
    let is_android = os == Some("Android");
    if has(&["iPad", "Tablet", "Kindle", "Silk/"]) || is_android && !text.contains("Mobi") && text.contains("Mozilla") {
        return Some("tablet");
    }
    if is_android || has(&["Mobi", "iPhone", "iPod"]) || os == Some("Windows Phone") || os == Some("KaiOS") {
        return Some("mobile");
    }
    let is_desktop = matches!(os, Some("Windows" | "macOS" | "Linux" | "Chrome OS" | "FreeBSD"));
    is_desktop.then_some("desktop")
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, null_s, s};

    #[test]
    fn headers_of_browsers_programs_and_bots_are_told_apart() {
        let cases = [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
                "(Chrome, 120.0.0.0, Windows, 10, desktop)",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 Edg/120.0.2210.91",
                "(Edge, 120.0.2210.91, Windows, 10, desktop)",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.2 Safari/605.1.15",
                "(Safari, 17.2, macOS, 10.15.7, desktop)",
            ),
            (
                "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0",
                "(Firefox, 121.0, Linux, NULL, desktop)",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Mobile/15E148 Safari/604.1",
                "(Safari, 17.1, iOS, 17.1.2, mobile)",
            ),
            (
                "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/120.0.6099.50 Mobile/15E148 Safari/604.1",
                "(Chrome, 120.0.6099.50, iOS, 16.6, tablet)",
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.6099.43 Mobile Safari/537.36",
                "(Chrome, 120.0.6099.43, Android, 14, mobile)",
            ),
            (
                "Mozilla/5.0 (Linux; Android 13; SM-X700) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/23.0 Chrome/115.0.0.0 Safari/537.36",
                "(Samsung Internet, 23.0, Android, 13, tablet)",
            ),
            (
                "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko",
                "(Internet Explorer, 11.0, Windows, 7, desktop)",
            ),
            ("Opera/9.80 (Windows NT 6.0) Presto/2.12.388 Version/12.14", "(Opera, 12.14, Windows, Vista, desktop)"),
            (
                "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
                "(Googlebot, 2.1, NULL, NULL, bot)",
            ),
            (
                "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X) AppleWebKit/537.36 Chrome/99.0 Mobile Safari/537.36 (compatible; bingbot/2.0)",
                "(bingbot, 2.0, Android, 6.0.1, bot)",
            ),
            (
                "Mozilla/5.0 (PlayStation; PlayStation 5/2.26) AppleWebKit/605.1.15",
                "(NULL, NULL, PlayStation, NULL, console)",
            ),
            ("curl/8.4.0", "(curl, 8.4.0, NULL, NULL, NULL)"),
            (
                "Mozilla/5.0 (Linux; Android 9; CUBOT X19) Chrome/87.0 Mobile Safari/537.36",
                "(Chrome, 87.0, Android, 9, mobile)",
            ),
            ("", "(NULL, NULL, NULL, NULL, NULL)"),
            ("ü(;/ Chrome/", "(Chrome, NULL, NULL, NULL, NULL)"),
        ];
        let mut table: Vec<_> = cases.iter().map(|(text, expected)| ("USER_AGENT", vec![s(text)], *expected)).collect();
        table.push(("USER_AGENT", vec![null_s()], "(NULL, NULL, NULL, NULL, NULL)"));
        check(&table);
    }
}
