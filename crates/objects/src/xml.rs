//! The little that is read out of answers: the texts of elements by name. The answers are flat lists, so no tree is needed.

/// The text of the first element of this name.
pub(crate) fn text(xml: &str, name: &str) -> Option<String> {
    elements(xml, name).next().map(unescape)
}

/// What stands inside each element of this name; elements of one name do not lie within each other here.
pub(crate) fn elements<'a>(xml: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{name}"), format!("</{name}>"));
    let mut rest = xml;
    std::iter::from_fn(move || {
        loop {
            let at = rest.find(&open)?;
            let behind = rest.get(at + open.len()..)?;
            let tag_end = behind.find('>')?;
            let (tag, inside) = (behind.get(..tag_end)?, behind.get(tag_end + 1..)?);
            rest = inside;
            // `<Key` is also the beginning of `<KeyCount>`.
            if !(tag.is_empty() || tag.starts_with([' ', '/'])) {
                continue;
            }
            if tag.ends_with('/') {
                return Some("");
            }
            let end = inside.find(&close)?;
            rest = inside.get(end + close.len()..)?;
            return inside.get(..end);
        }
    })
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let Some(end) = rest.find(';') else { break };
        let name = &rest[1..end];
        let number = name.strip_prefix('#').and_then(|n| match n.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => n.parse().ok(),
        });
        let known = match name {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => number.and_then(char::from_u32),
        };
        match known {
            Some(c) => out.push(c),
            None => out.push_str(&rest[..=end]),
        }
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    out
}

/// A text as it stands in XML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_by_name() {
        let xml = "<R><KeyCount>2</KeyCount><Key>a&amp;b&#38;</Key><Key/><Key x=\"1\">c</Key></R>";
        assert_eq!(text(xml, "Key").as_deref(), Some("a&b&"));
        assert_eq!(elements(xml, "Key").collect::<Vec<_>>(), ["a&amp;b&#38;", "", "c"]);
        assert_eq!(text(xml, "Missing"), None);
        for end in 0..xml.len() {
            assert!(elements(&xml[..end], "Key").count() <= 3, "{end}");
        }
        assert_eq!(unescape("&nbsp;&"), "&nbsp;&");
    }
}
