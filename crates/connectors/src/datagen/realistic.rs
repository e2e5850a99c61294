//! Values that look like those of real systems: names, addresses, choices with weights, keys of which few are frequent, event times.
//!
//! A text is made from a number, and the same number always makes the same text. So a column says how many different numbers it draws
//! (`distinct`) and how unevenly (`skew`), and each kind of text only has to turn a number into bytes. Nothing is kept between rows and
//! nothing is allocated for one.

use arrow_array::ArrayRef;

use super::generator::{below, random, share};

/// Apart from the numbers of a column: the parts of one text.
const PART_SALT: u64 = 0x7061_7274;

/// Which of its numbers a row draws.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pick {
    /// So many different ones; 0 = as many as there are rows.
    pub(super) distinct: u64,
    /// The n-th number is drawn as if it had the weight n^-skew; 0 = all alike.
    pub(super) skew: f64,
}

impl Pick {
    /// The number of a row, below `distinct`.
    pub(super) fn number(self, seed: u64, row: u64) -> u64 {
        let random = random(seed, row);
        if self.skew > 0.0 && self.distinct > 0 {
            rank(share(random), self.distinct, self.skew)
        } else {
            below(random, self.distinct)
        }
    }
}

/// The rank, from 0, that a share of all draws belongs to when the weight of ranks falls like a power: the inverse of the integral of
/// x^-skew, which takes one random number and no table.
pub(super) fn rank(share: f64, count: u64, skew: f64) -> u64 {
    let end = count as f64 + 1.0;
    let exponent = 1.0 - skew;
    let x = if exponent.abs() < 1e-9 {
        end.powf(share)
    } else {
        (1.0 + share * (end.powf(exponent) - 1.0)).powf(1.0 / exponent)
    };
    // A float to integer cast saturates, so rounding at the ends stays within the ranks.
    (x as u64).clamp(1, count) - 1
}

/// Values that are given, each with its part of the rows.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    /// The values, in the column's type.
    pub(super) values: ArrayRef,
    /// Up to which share of the draws each value reaches; the last one reaches 1.
    pub(super) ends: Vec<f64>,
}

impl PartialEq for Choice {
    fn eq(&self, other: &Self) -> bool {
        *self.values == *other.values && self.ends == other.ends
    }
}

impl Choice {
    /// The place of a row's value.
    pub(super) fn place(&self, seed: u64, row: u64) -> u64 {
        let share = share(random(seed, row));
        let place = self.ends.partition_point(|end| *end <= share);
        place.min(self.ends.len().saturating_sub(1)) as u64
    }
}

/// Times that go on with the rows, some of them late.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct EventTime {
    /// The time of row 0, microseconds since 1970.
    pub(super) start_us: i64,
    /// How far it goes on with each row.
    pub(super) step_us: i64,
    /// Share of rows that are late.
    pub(super) late: f64,
    /// How much at most.
    pub(super) late_us_max: u64,
}

impl EventTime {
    /// The time of a row, microseconds since 1970.
    pub(super) fn at(&self, seed: u64, row: u64) -> i64 {
        let passed = i64::try_from(row).unwrap_or(i64::MAX).saturating_mul(self.step_us);
        let time = self.start_us.saturating_add(passed);
        if self.late > 0.0 && share(random(seed, row)) < self.late {
            let by = 1 + below(random(seed ^ PART_SALT, row), self.late_us_max.max(1));
            return time.saturating_sub_unsigned(by);
        }
        time
    }
}

/// What a text is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Text {
    FirstName,
    LastName,
    Name,
    Email,
    City,
    Country,
    Word,
    Sentence,
    Ipv4,
    Uuid,
    Url,
    UserAgent,
    /// `#` is a digit, `?` a letter, everything else itself.
    Pattern(Vec<u8>),
}

/// The kinds that need no other option, by their names.
pub(super) const TEXT_KINDS: [(&str, Text); 12] = [
    ("first-name", Text::FirstName),
    ("last-name", Text::LastName),
    ("name", Text::Name),
    ("email", Text::Email),
    ("city", Text::City),
    ("country", Text::Country),
    ("word", Text::Word),
    ("sentence", Text::Sentence),
    ("ipv4", Text::Ipv4),
    ("uuid", Text::Uuid),
    ("url", Text::Url),
    ("user-agent", Text::UserAgent),
];

const FIRST_NAMES: [&str; 24] = [
    "Anna", "Ben", "Clara", "Daniel", "Emma", "Felix", "Grace", "Hugo", "Ida", "Jonas", "Kira", "Leo", "Maria", "Noah",
    "Olga", "Paul", "Rosa", "Samuel", "Tara", "Victor", "Wanda", "Xenia", "Yusuf", "Zoe",
];
const LAST_NAMES: [&str; 24] = [
    "Adams", "Baker", "Carter", "Dubois", "Evans", "Fischer", "Garcia", "Hansen", "Ivanov", "Jensen", "Keller",
    "Lopez", "Meyer", "Novak", "Olsen", "Petrov", "Rossi", "Silva", "Tanaka", "Vogel", "Walker", "Yilmaz", "Young",
    "Zimmer",
];
/// Cities and the countries that they lie in.
const CITIES: [(&str, &str); 24] = [
    ("Amsterdam", "Netherlands"),
    ("Athens", "Greece"),
    ("Bern", "Switzerland"),
    ("Bogota", "Colombia"),
    ("Cairo", "Egypt"),
    ("Chicago", "United States"),
    ("Copenhagen", "Denmark"),
    ("Dublin", "Ireland"),
    ("Hanoi", "Vietnam"),
    ("Helsinki", "Finland"),
    ("Istanbul", "Turkey"),
    ("Jakarta", "Indonesia"),
    ("Lagos", "Nigeria"),
    ("Lima", "Peru"),
    ("Lisbon", "Portugal"),
    ("Madrid", "Spain"),
    ("Mumbai", "India"),
    ("Nairobi", "Kenya"),
    ("Oslo", "Norway"),
    ("Prague", "Czechia"),
    ("Seoul", "South Korea"),
    ("Sydney", "Australia"),
    ("Tokyo", "Japan"),
    ("Toronto", "Canada"),
];
const WORDS: [&str; 32] = [
    "apple", "bridge", "cloud", "delta", "ember", "forest", "garden", "harbor", "island", "jungle", "kernel",
    "lantern", "meadow", "needle", "orchid", "pepper", "quartz", "river", "silver", "timber", "union", "valley",
    "window", "yellow", "zenith", "anchor", "basket", "candle", "desert", "engine", "falcon", "glacier",
];
const PATHS: [&str; 8] = ["cart", "search", "items", "account", "help", "orders", "news", "api"];
const USER_AGENTS: [&str; 6] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
    "curl/8.8.0",
];
/// Words of a sentence.
const SENTENCE_WORDS: [u64; 2] = [4, 9];
/// First parts of addresses that are not public, or that no host has.
const NOT_PUBLIC: [u64; 6] = [0, 10, 100, 127, 169, 172];
/// The first part above all that hosts have.
const MULTICAST: u64 = 224;

/// The random parts of one text.
struct Parts {
    number: u64,
    next: u64,
}

impl Parts {
    fn below(&mut self, count: u64) -> u64 {
        self.next += 1;
        below(random(self.number ^ PART_SALT, self.next), count)
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        let place = usize::try_from(self.below(list.len() as u64)).unwrap_or(0);
        // A list is never empty and `below` stays below its length.
        list.get(place).unwrap_or_else(|| &list[0])
    }

    fn word(&mut self, list: &[&str], out: &mut Vec<u8>) {
        out.extend_from_slice(self.of(list).as_bytes());
    }

    fn digits(&mut self, count: u64, out: &mut Vec<u8>) {
        let number = self.below(count);
        push_number(number, out);
    }
}

fn push_number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

impl Text {
    /// Appends the text of a number.
    pub(super) fn write(&self, number: u64, out: &mut Vec<u8>) {
        let mut parts = Parts { number, next: 0 };
        match self {
            Text::FirstName => parts.word(&FIRST_NAMES, out),
            Text::LastName => parts.word(&LAST_NAMES, out),
            Text::Name => {
                parts.word(&FIRST_NAMES, out);
                out.push(b' ');
                parts.word(&LAST_NAMES, out);
            }
            Text::Email => {
                let begin = out.len();
                parts.word(&FIRST_NAMES, out);
                out.push(b'.');
                parts.word(&LAST_NAMES, out);
                parts.digits(10_000, out);
                out[begin..].make_ascii_lowercase();
                out.push(b'@');
                parts.word(&WORDS, out);
                out.extend_from_slice(b".example");
            }
            Text::City => out.extend_from_slice(parts.of(&CITIES).0.as_bytes()),
            Text::Country => out.extend_from_slice(parts.of(&CITIES).1.as_bytes()),
            Text::Word => parts.word(&WORDS, out),
            Text::Sentence => {
                let begin = out.len();
                let [fewest, most] = SENTENCE_WORDS;
                for word in 0..fewest + parts.below(most - fewest + 1) {
                    if word > 0 {
                        out.push(b' ');
                    }
                    parts.word(&WORDS, out);
                }
                out[begin..=begin].make_ascii_uppercase();
                out.push(b'.');
            }
            Text::Ipv4 => {
                let mut first = parts.below(MULTICAST);
                while NOT_PUBLIC.contains(&first) || first == 192 || first == 198 {
                    first = (first + 1) % MULTICAST;
                }
                push_number(first, out);
                for _ in 0..3 {
                    out.push(b'.');
                    parts.digits(256, out);
                }
            }
            Text::Uuid => write_uuid(&mut parts, out),
            Text::Url => {
                out.extend_from_slice(b"https://www.");
                parts.word(&WORDS, out);
                out.extend_from_slice(b".example/");
                parts.word(&PATHS, out);
                out.push(b'/');
                parts.digits(1000, out);
            }
            Text::UserAgent => parts.word(&USER_AGENTS, out),
            Text::Pattern(pattern) => {
                for byte in pattern {
                    out.push(match byte {
                        b'#' => b'0' + parts.below(10) as u8,
                        b'?' => b'a' + parts.below(26) as u8,
                        other => *other,
                    });
                }
            }
        }
    }

    /// The most bytes that a text has.
    pub(super) fn length_max(&self) -> usize {
        let longest = |list: &[&str]| list.iter().map(|word| word.len()).max().unwrap_or(0);
        match self {
            Text::FirstName => longest(&FIRST_NAMES),
            Text::LastName => longest(&LAST_NAMES),
            Text::Name => longest(&FIRST_NAMES) + 1 + longest(&LAST_NAMES),
            Text::Email => longest(&FIRST_NAMES) + longest(&LAST_NAMES) + longest(&WORDS) + "._1234@.example".len(),
            Text::City => CITIES.iter().map(|(city, _)| city.len()).max().unwrap_or(0),
            Text::Country => CITIES.iter().map(|(_, country)| country.len()).max().unwrap_or(0),
            Text::Word => longest(&WORDS),
            Text::Sentence => (longest(&WORDS) + 1) * SENTENCE_WORDS[1] as usize,
            Text::Ipv4 => "255.255.255.255".len(),
            Text::Uuid => 36,
            Text::Url => "https://www..example//999".len() + longest(&WORDS) + longest(&PATHS),
            Text::UserAgent => longest(&USER_AGENTS),
            Text::Pattern(pattern) => pattern.len(),
        }
    }
}

/// Random bits in the form of version 4.
fn write_uuid(parts: &mut Parts, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let high = parts.below(0) & !0xF000 | 0x4000;
    let low = parts.below(0) & !(0b11 << 62) | 0b10 << 62;
    for place in 0..32_u32 {
        if [8, 12, 16, 20].contains(&place) {
            out.push(b'-');
        }
        let half = if place < 16 { high } else { low };
        let nibble = (half >> (60 - 4 * (place % 16))) & 0xF;
        out.push(DIGITS[nibble as usize]);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn texts(text: &Text, count: u64) -> Vec<String> {
        let text_of = |number| {
            let mut bytes = Vec::new();
            text.write(random(7, number), &mut bytes);
            String::from_utf8(bytes).unwrap()
        };
        (0..count).map(text_of).collect()
    }

    #[test]
    fn texts_have_their_form_and_keep_to_their_length() {
        let forms: &[(Text, &str)] = &[
            (Text::FirstName, r"^[A-Z][a-z]+$"),
            (Text::LastName, r"^[A-Z][a-z]+$"),
            (Text::Name, r"^[A-Z][a-z]+ [A-Z][a-z]+$"),
            (Text::Email, r"^[a-z]+\.[a-z]+[0-9]{1,4}@[a-z]+\.example$"),
            (Text::City, r"^[A-Z][a-z]+$"),
            (Text::Country, r"^[A-Z][A-Za-z ]+$"),
            (Text::Word, r"^[a-z]+$"),
            (Text::Sentence, r"^[A-Z][a-z]+( [a-z]+){3,8}\.$"),
            (
                Text::Ipv4,
                r"^([1-9]|[1-9][0-9]|1[0-9]{2}|2[01][0-9]|22[0-3])(\.(0|[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])){3}$",
            ),
            (Text::Uuid, r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"),
            (Text::Url, r"^https://www\.[a-z]+\.example/[a-z]+/[0-9]{1,3}$"),
            (Text::UserAgent, r"^(Mozilla/5\.0 \(.+|curl/8\.8\.0)$"),
            (Text::Pattern(b"ord-####-??".to_vec()), r"^ord-[0-9]{4}-[a-z]{2}$"),
        ];
        for (text, form) in forms {
            let form = regex::Regex::new(form).unwrap();
            let found = texts(text, 2000);
            for line in &found {
                assert!(form.is_match(line) && line.len() <= text.length_max(), "{text:?}: {line}");
            }
            assert_eq!(found, texts(text, 2000), "{text:?} is not the same for the same numbers");
            let different: BTreeSet<&String> = found.iter().collect();
            assert!(different.len() > 5, "{text:?}: {different:?}");
        }
        for address in texts(&Text::Ipv4, 5000) {
            let first: u64 = address.split('.').next().unwrap().parse().unwrap();
            assert!(!NOT_PUBLIC.contains(&first) && first != 192 && first != 198, "{address}");
        }
    }

    #[test]
    fn the_first_of_skewed_numbers_get_the_shares_of_a_power() {
        for (count, skew) in [(100, 1.0), (100, 0.5), (1000, 1.2), (1_000_000, 2.0), (1, 1.0)] {
            let pick = Pick { distinct: count, skew };
            let mut found: BTreeMap<u64, u32> = BTreeMap::new();
            let draws = 200_000;
            for row in 0..draws {
                *found.entry(pick.number(3, row)).or_default() += 1;
            }
            assert!(found.keys().all(|number| *number < count));
            // The area under x^-skew between two ranks.
            let area = |from: f64, to: f64| {
                if skew == 1.0 {
                    (to / from).ln()
                } else {
                    (to.powf(1.0 - skew) - from.powf(1.0 - skew)) / (1.0 - skew)
                }
            };
            for rank in 0..count.min(5) {
                let expected = area(rank as f64 + 1.0, rank as f64 + 2.0) / area(1.0, count as f64 + 1.0);
                let share = f64::from(found.get(&rank).copied().unwrap_or(0)) / draws as f64;
                assert!(
                    (share - expected).abs() < 0.01,
                    "{count} {skew}: rank {rank} has {share}, expected {expected}"
                );
            }
        }
    }

    #[test]
    fn numbers_without_skew_are_drawn_alike() {
        let pick = Pick { distinct: 10, skew: 0.0 };
        let mut found = [0_u32; 10];
        for row in 0..100_000 {
            found[usize::try_from(pick.number(3, row)).unwrap()] += 1;
        }
        assert!(found.iter().all(|count| (9_500..10_500).contains(count)), "{found:?}");
    }

    #[test]
    fn event_times_go_on_and_the_late_ones_lie_behind() {
        let times = EventTime { start_us: 1_000_000_000, step_us: 500, late: 0.1, late_us_max: 60_000 };
        let late: Vec<i64> = (0..10_000_u64)
            .map(|row| times.start_us + i64::try_from(row).unwrap() * 500 - times.at(5, row))
            .filter(|behind| *behind != 0)
            .collect();
        assert!((800..1200).contains(&late.len()), "{}", late.len());
        assert!(late.iter().all(|behind| (1..=60_000).contains(behind)), "{late:?}");
        let punctual = EventTime { late: 0.0, ..times };
        assert_eq!([punctual.at(5, 0), punctual.at(5, 3)], [1_000_000_000, 1_000_001_500]);
    }
}
