//! A writer of small files in MaxMind's format, for tests: a binary tree over the bits of addresses, then the data its leaves point to,
//! then the metadata.

use std::net::IpAddr;

/// A place to write; empty texts and a missing position are left out of the file.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct WrittenPlace<'a> {
    /// Its country.
    pub(super) country: &'a str,
    /// The country's code.
    pub(super) country_code: &'a str,
    /// Its city.
    pub(super) city: &'a str,
    /// Its region.
    pub(super) region: &'a str,
    /// Latitude and longitude.
    pub(super) position: Option<(f64, f64)>,
}

#[derive(Clone, Copy)]
enum Record {
    Nothing,
    Node(usize),
    Data(usize),
}

/// The bytes of a file that knows these networks, written as `192.0.2.0/24`.
pub(super) fn write(networks: &[(&str, WrittenPlace<'_>)]) -> Vec<u8> {
    let mut nodes = vec![[Record::Nothing; 2]];
    let mut data = Vec::new();
    for (network, place) in networks {
        let offset = data.len();
        place.write(&mut data);
        let (address, length) = network.split_once('/').expect("a network has a length");
        let length: u32 = length.parse().expect("a length");
        // IPv4 is the part of the tree below 96 zeros.
        let (bits, length) = match address.parse::<IpAddr>().expect("an address") {
            IpAddr::V4(v4) => (u128::from(u32::from(v4)), length + 96),
            IpAddr::V6(v6) => (u128::from(v6), length),
        };
        let mut node = 0;
        for depth in 0..length {
            let side = usize::from(bits >> (127 - depth) & 1 == 1);
            if depth + 1 == length {
                nodes[node][side] = Record::Data(offset);
                break;
            }
            node = match nodes[node][side] {
                Record::Node(next) => next,
                _ => {
                    nodes.push([Record::Nothing; 2]);
                    let next = nodes.len() - 1;
                    nodes[node][side] = Record::Node(next);
                    next
                }
            };
        }
    }
    let mut file = Vec::new();
    for record in nodes.iter().flatten() {
        let value = match record {
            Record::Nothing => nodes.len(),
            Record::Node(node) => *node,
            Record::Data(offset) => nodes.len() + 16 + offset,
        };
        let value = u32::try_from(value).expect("a small file");
        file.extend_from_slice(&value.to_be_bytes());
    }
    file.extend_from_slice(&[0; 16]);
    file.extend_from_slice(&data);
    file.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    map(&mut file, 9);
    for (key, type_number, value) in [
        ("node_count", 6, nodes.len()),
        ("record_size", 5, 32),
        ("ip_version", 5, 6),
        ("binary_format_major_version", 5, 2),
        ("binary_format_minor_version", 5, 0),
        ("build_epoch", 9, 1_700_000_000),
    ] {
        text(&mut file, key);
        let bytes = u32::try_from(value).expect("a small file").to_be_bytes();
        let bytes = if type_number == 5 { &bytes[2..] } else { &bytes[..] };
        control(&mut file, type_number, bytes.len());
        file.extend_from_slice(bytes);
    }
    text(&mut file, "database_type");
    text(&mut file, "Test-City");
    text(&mut file, "description");
    map(&mut file, 1);
    text(&mut file, "en");
    text(&mut file, "places of a test");
    text(&mut file, "languages");
    control(&mut file, 11, 1);
    text(&mut file, "en");
    file
}

impl WrittenPlace<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let has = |text: &str| usize::from(!text.is_empty());
        let has_country = usize::from(!self.country.is_empty() || !self.country_code.is_empty());
        map(out, has_country + has(self.city) + has(self.region) + usize::from(self.position.is_some()));
        if has_country == 1 {
            text(out, "country");
            map(out, has(self.country) + has(self.country_code));
            if !self.country_code.is_empty() {
                text(out, "iso_code");
                text(out, self.country_code);
            }
            names(out, self.country);
        }
        if !self.city.is_empty() {
            text(out, "city");
            map(out, 1);
            names(out, self.city);
        }
        if !self.region.is_empty() {
            text(out, "subdivisions");
            control(out, 11, 1);
            map(out, 1);
            names(out, self.region);
        }
        if let Some((latitude, longitude)) = self.position {
            text(out, "location");
            map(out, 2);
            for (key, degrees) in [("latitude", latitude), ("longitude", longitude)] {
                text(out, key);
                control(out, 3, 8);
                out.extend_from_slice(&degrees.to_be_bytes());
            }
        }
    }
}

fn names(out: &mut Vec<u8>, name: &str) {
    if !name.is_empty() {
        text(out, "names");
        map(out, 1);
        text(out, "en");
        text(out, name);
    }
}

fn map(out: &mut Vec<u8>, entries: usize) {
    control(out, 7, entries);
}

fn text(out: &mut Vec<u8>, value: &str) {
    control(out, 2, value.len());
    out.extend_from_slice(value.as_bytes());
}

/// The byte in front of a value: its type in the upper three bits (0 and one more byte for those above 7), its size in the lower five.
fn control(out: &mut Vec<u8>, type_number: u8, size: usize) {
    let size = u8::try_from(size).expect("a small value");
    let (own, more) = if size < 29 { (size, None) } else { (29, Some(size - 29)) };
    match type_number {
        0..=7 => out.push(type_number << 5 | own),
        _ => out.extend([own, type_number - 7]),
    }
    out.extend(more);
}
