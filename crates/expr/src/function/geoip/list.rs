//! Writes files that GEOIP reads, from a list of networks: for the addresses of an example, and for networks of one's own, which no file
//! that is sold knows.
//!
//! The format is MaxMind's: a binary tree over the bits of addresses (IPv4 lies below 96 zeros), the places that its leaves point to, the
//! metadata. Longer networks win over shorter ones that hold them, whatever their order in the list.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Lines of a list; what has more is no list of one's own.
const LINES_MAX: usize = 1_000_000;
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 280;
/// What a pointer of 32 bits reaches, with room.
const FILE_BYTES_MAX: usize = 1 << 30;
/// What the first line may be.
const HEAD: &str = "network,country,country_code,city,region,latitude,longitude";

/// Where a branch of the tree leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Branch {
    Nothing,
    Node(usize),
    Place(usize),
}

/// A network and the place of its addresses.
#[derive(Debug)]
struct Network {
    bits: u128,
    length: u32,
    place: usize,
}

/// The bytes of a file that knows the networks of the list, and how many they are. A line is `network,country,country_code,city,region,
/// latitude,longitude`; what is empty is left out, `#` begins a remark.
pub fn from_csv(text: &str) -> Result<(Vec<u8>, usize), String> {
    let mut places: Vec<u8> = Vec::new();
    let mut known: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let mut networks = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line == HEAD {
            continue;
        }
        if networks.len() >= LINES_MAX {
            return Err(format!("line {number}: more than {LINES_MAX} networks"));
        }
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let [network, country, code, city, region, latitude, longitude] = fields[..] else {
            return Err(format!("line {number}: {} fields, expected 7: {HEAD}", fields.len()));
        };
        let (bits, length) = parse_network(network).ok_or_else(|| {
            format!("line {number}: `{network}` is no network, expected one such as 203.0.113.0/24 or 2001:db8::/32")
        })?;
        if let Some(name) = [country, code, city, region].into_iter().find(|name| name.len() > NAME_BYTES_MAX) {
            return Err(format!("line {number}: a name of {} bytes, at most {NAME_BYTES_MAX}", name.len()));
        }
        let position = match (latitude, longitude) {
            ("", "") => None,
            _ => Some(degrees(latitude, 90.0).zip(degrees(longitude, 180.0)).ok_or_else(|| {
                format!("line {number}: `{latitude}`, `{longitude}` are no degrees of latitude and longitude")
            })?),
        };
        let mut place = Vec::new();
        write_place(&mut place, country, code, city, region, position);
        let next = places.len();
        let offset = *known.entry(place).or_insert_with_key(|place| {
            places.extend_from_slice(place);
            next
        });
        networks.push(Network { bits, length, place: offset });
    }
    if networks.is_empty() {
        return Err("no networks".to_owned());
    }
    // Short ones first: what comes later replaces a part of what is there.
    networks.sort_by_key(|network| network.length);
    let mut nodes = vec![[Branch::Nothing; 2]];
    for network in &networks {
        insert(&mut nodes, network);
    }
    if nodes.len() * 8 + places.len() > FILE_BYTES_MAX {
        return Err(format!("the file would be larger than {FILE_BYTES_MAX} bytes"));
    }
    Ok((file(&nodes, &places), networks.len()))
}

fn parse_network(text: &str) -> Option<(u128, u32)> {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        Some(length) => length.parse::<u32>().ok().filter(|length| (1..=most).contains(length))?,
        None => most,
    };
    Some(match address {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)), length + 96),
        IpAddr::V6(v6) => (u128::from(v6), length),
    })
}

fn degrees(text: &str, most: f64) -> Option<f64> {
    text.parse::<f64>().ok().filter(|degrees| degrees.abs() <= most)
}

fn insert(nodes: &mut Vec<[Branch; 2]>, network: &Network) {
    let mut node = 0;
    for depth in 0..network.length {
        let side = usize::from(network.bits >> (127 - depth) & 1 == 1);
        let next = nodes.len();
        let Some(branch) = nodes.get_mut(node).and_then(|sides| sides.get_mut(side)) else { return };
        if depth + 1 == network.length {
            *branch = Branch::Place(network.place);
            return;
        }
        match *branch {
            Branch::Node(below) => node = below,
            // Both halves of a place that is divided are that place, until one is written over.
            divided => {
                *branch = Branch::Node(next);
                nodes.push([divided; 2]);
                node = next;
            }
        }
    }
}

fn file(nodes: &[[Branch; 2]], places: &[u8]) -> Vec<u8> {
    let mut file = Vec::with_capacity(nodes.len() * 8 + places.len() + 300);
    for branch in nodes.iter().flatten() {
        let value = match branch {
            Branch::Nothing => nodes.len(),
            Branch::Node(node) => *node,
            Branch::Place(offset) => nodes.len() + 16 + offset,
        };
        file.extend_from_slice(&number(value));
    }
    file.extend_from_slice(&[0; 16]);
    file.extend_from_slice(places);
    file.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    control(&mut file, 7, 9);
    text(&mut file, "node_count");
    control(&mut file, 6, 4);
    file.extend_from_slice(&number(nodes.len()));
    for (key, value) in [("record_size", 32_u8), ("ip_version", 6), ("binary_format_major_version", 2)] {
        text(&mut file, key);
        control(&mut file, 5, 1);
        file.push(value);
    }
    text(&mut file, "binary_format_minor_version");
    control(&mut file, 5, 0);
    // No time: the same list gives the same file.
    text(&mut file, "build_epoch");
    control(&mut file, 9, 0);
    text(&mut file, "database_type");
    text(&mut file, "wiesel-City");
    text(&mut file, "languages");
    control(&mut file, 11, 1);
    text(&mut file, "en");
    // Readers ask for it.
    text(&mut file, "description");
    control(&mut file, 7, 1);
    text(&mut file, "en");
    text(&mut file, "networks and their places, made from a list");
    file
}

/// The bound on the file keeps numbers within 32 bits.
fn number(value: usize) -> [u8; 4] {
    u32::try_from(value).unwrap_or(u32::MAX).to_be_bytes()
}

fn write_place(out: &mut Vec<u8>, country: &str, code: &str, city: &str, region: &str, position: Option<(f64, f64)>) {
    let has = |text: &str| usize::from(!text.is_empty());
    let has_country = usize::from(!country.is_empty() || !code.is_empty());
    control(out, 7, has_country + has(city) + has(region) + usize::from(position.is_some()));
    if has_country == 1 {
        text(out, "country");
        control(out, 7, has(country) + has(code));
        if !code.is_empty() {
            text(out, "iso_code");
            text(out, code);
        }
        names(out, country);
    }
    if !city.is_empty() {
        text(out, "city");
        control(out, 7, 1);
        names(out, city);
    }
    if !region.is_empty() {
        text(out, "subdivisions");
        control(out, 11, 1);
        control(out, 7, 1);
        names(out, region);
    }
    if let Some((latitude, longitude)) = position {
        text(out, "location");
        control(out, 7, 2);
        for (key, degrees) in [("latitude", latitude), ("longitude", longitude)] {
            text(out, key);
            control(out, 3, 8);
            out.extend_from_slice(&degrees.to_be_bytes());
        }
    }
}

fn names(out: &mut Vec<u8>, name: &str) {
    if !name.is_empty() {
        text(out, "names");
        control(out, 7, 1);
        text(out, "en");
        text(out, name);
    }
}

fn text(out: &mut Vec<u8>, value: &str) {
    control(out, 2, value.len());
    out.extend_from_slice(value.as_bytes());
}

/// The bytes in front of a value: its type in the upper three bits (0 and one more byte for those above 7), its size in the lower five;
/// from 29 on the size has a byte of its own, which [`NAME_BYTES_MAX`] keeps to one.
fn control(out: &mut Vec<u8>, type_number: u8, size: usize) {
    let (own, more) = match u8::try_from(size) {
        Ok(size) if size < 29 => (size, None),
        _ => (29, Some(u8::try_from(size.saturating_sub(29)).unwrap_or(u8::MAX))),
    };
    if type_number <= 7 {
        out.push(type_number << 5 | own);
    } else {
        out.extend([own, type_number - 7]);
    }
    out.extend(more);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_wrong_is_told_with_its_number() {
        let cases = [
            ("", "no networks"),
            ("# only a remark", "no networks"),
            ("1.2.3.0/24,X", "line 1: 2 fields"),
            ("\n1.2.3/24,a,b,c,d,1,2", "line 2: `1.2.3/24` is no network"),
            ("1.2.3.0/33,a,b,c,d,1,2", "is no network"),
            ("1.2.3.0/0,a,b,c,d,1,2", "is no network"),
            ("1.2.3.0/24,a,b,c,d,91,2", "are no degrees"),
            ("1.2.3.0/24,a,b,c,d,,2", "are no degrees"),
        ];
        for (text, expected) in cases {
            let error = from_csv(text).expect_err(text);
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_longer_network_wins_wherever_it_stands() {
        let wide = "203.0.113.0/24,Germany,DE,Berlin,,,";
        let narrow = "203.0.113.64/26,Germany,DE,Hamburg,,,";
        let (one, count) = from_csv(&format!("{wide}\n{narrow}\n")).unwrap();
        let (other, _) = from_csv(&format!("{narrow}\n{wide}\n")).unwrap();
        assert_eq!((count, one.len()), (2, other.len()));
    }

    #[test]
    fn the_file_of_the_example_is_what_its_list_gives() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/web-traffic-to-postgresql");
        let list = std::fs::read_to_string(folder.join("places.csv")).unwrap();
        assert_eq!(std::fs::read(folder.join("places.mmdb")).unwrap(), from_csv(&list).unwrap().0);
    }
}
