//! Files in MaxMind's format: opened once per process, and places decoded once per call.

use std::cell::RefCell;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use maxminddb::{PathElement, Reader};
use std::collections::HashMap;
use wiesel_core::{Error, Result};

/// The most files that the calls of one process may name.
const DATABASES_MAX: usize = 16;
/// The largest file. The largest that are sold take some 2 GB.
const FILE_BYTES_MAX: u64 = 4 << 30;
/// The places a call remembers; then it begins anew.
const PLACES_MAX: usize = 50_000;

/// The languages of names, in the order they are asked for.
const NAMES: [&str; 2] = ["en", "de"];

/// An opened file.
#[derive(Debug)]
pub(super) struct Database {
    path: String,
    reader: Reader<Vec<u8>>,
}

static OPENED: Mutex<Vec<Arc<Database>>> = Mutex::new(Vec::new());

/// The file, opened at its first use.
pub(super) fn opened(path: &str) -> Result<Arc<Database>> {
    let mut all = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = all.iter().find(|d| d.path == path) {
        return Ok(Arc::clone(known));
    }
    if all.len() >= DATABASES_MAX {
        return Err(Error::config(format!("GEOIP of more than {DATABASES_MAX} files in one process")));
    }
    let database = Arc::new(Database { path: path.to_owned(), reader: open(path)? });
    all.push(Arc::clone(&database));
    Ok(database)
}

thread_local! {
    /// Where the SQL file lies whose statements this thread plans.
    static BESIDE: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
}

/// From now on files that this thread's plans name are looked for in this folder, too, where the working directory does not have them.
/// A file is opened while the plan is made and known by its name from then on, so that this is the only time a folder is asked for.
pub fn look_beside(folder: &Path) {
    BESIDE.set(Some(folder.to_owned()));
}

fn placed(path: &str) -> PathBuf {
    let own = PathBuf::from(path);
    let beside = BESIDE.with_borrow(|folder| folder.as_ref().map(|folder| folder.join(&own)));
    match beside {
        Some(beside) if !own.exists() && beside.exists() => beside,
        _ => own,
    }
}

fn open(path: &str) -> Result<Reader<Vec<u8>>> {
    let place = placed(path);
    let unreadable = |reason: &dyn std::fmt::Display| {
        Error::config(format!("the file `{path}` of GEOIP cannot be read: {reason}")).hint(
            "the path counts from the working directory, then from the SQL file's folder; the file is one in MaxMind's format with cities, such as GeoLite2-City.mmdb or \
             dbip-city-lite.mmdb",
        )
    };
    let metadata = fs::metadata(&place).map_err(|e| unreadable(&e))?;
    if !metadata.is_file() {
        return Err(unreadable(&"it is no file"));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(unreadable(&format!("it has {} bytes, more than {FILE_BYTES_MAX}", metadata.len())));
    }
    let bytes = fs::read(&place).map_err(|e| unreadable(&e))?;
    Reader::from_source(bytes).map_err(|e| {
        Error::config(format!("the file `{path}` of GEOIP is no database in MaxMind's format: {e}"))
            .hint("GEOIP reads .mmdb files; one that came packed (.gz, .tar.gz) has to be unpacked first")
    })
}

/// A place as the file describes it.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// Country, its code, city, region.
    pub(super) texts: [Option<Box<str>>; 4],
    /// Latitude and longitude in degrees.
    pub(super) position: [Option<f64>; 2],
}

/// The places that were decoded, by their position in the file.
#[derive(Debug, Default)]
pub(super) struct Places {
    by_offset: HashMap<usize, Place>,
}

impl Places {
    /// The place of an address; `None` when it has none.
    #[inline]
    pub(super) fn find(&mut self, database: &Database, address: &str) -> Result<Option<&Place>> {
        let Ok(address) = address.parse::<IpAddr>() else { return Ok(None) };
        let address = address.to_canonical();
        if !is_public(address) || (address.is_ipv6() && database.reader.metadata().ip_version == 4) {
            return Ok(None);
        }
        let broken = |e: maxminddb::MaxMindDbError| {
            Error::data(format!("the entry of {address} in the file `{}` of GEOIP cannot be read: {e}", database.path))
        };
        let found = database.reader.lookup(address).map_err(broken)?;
        let Some(offset) = found.offset() else { return Ok(None) };
        if !self.by_offset.contains_key(&offset) {
            if self.by_offset.len() >= PLACES_MAX {
                self.by_offset.clear();
            }
            let text = |path: &[PathElement<'_>]| -> Result<Option<Box<str>>> {
                Ok(found.decode_path::<&str>(path).map_err(broken)?.map(Into::into))
            };
            let name = |path: &[PathElement<'_>]| -> Result<Option<Box<str>>> {
                for language in NAMES {
                    let mut path = path.to_vec();
                    path.extend([PathElement::Key("names"), PathElement::Key(language)]);
                    if let Some(name) = text(&path)? {
                        return Ok(Some(name));
                    }
                }
                Ok(None)
            };
            let degrees = |key: &str| {
                found.decode_path::<f64>(&[PathElement::Key("location"), PathElement::Key(key)]).map_err(broken)
            };
            let country = [PathElement::Key("country")];
            let place = Place {
                texts: [
                    name(&country)?,
                    text(&[PathElement::Key("country"), PathElement::Key("iso_code")])?,
                    name(&[PathElement::Key("city")])?,
                    name(&[PathElement::Key("subdivisions"), PathElement::Index(0)])?,
                ],
                position: [degrees("latitude")?, degrees("longitude")?],
            };
            self.by_offset.insert(offset, place);
        }
        Ok(self.by_offset.get(&offset))
    }
}

/// Whether an address may be somewhere: not in a private or local network.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    // 100.64.0.0/10 is what providers use between themselves and their customers.
    let is_shared = a == 100 && b & 0xc0 == 64;
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_multicast()
        || a == 0
        || is_shared)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    !(address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_unique_local()
        || address.is_unicast_link_local())
}
