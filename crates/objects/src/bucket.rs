//! The calls on a bucket.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use wiesel_core::{Error, ErrorKind, Result};

use crate::client::{Answer, Client, Request};
use crate::settings::Settings;
use crate::url::ObjectUrl;
use crate::xml;

/// An object is read in pieces of this size.
const PIECE_BYTES: u64 = 4 << 20;

/// Buckets that clients are kept for; a job names a few.
const BUCKETS_MAX: usize = 64;

/// A bucket; cheap to clone.
#[derive(Debug, Clone)]
pub struct Bucket {
    client: Arc<Client>,
}

/// An object in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its key.
    pub key: String,
    /// Its length.
    pub bytes: u64,
    /// When it was made, ms since 1970.
    pub modified_ms: i64,
}

/// What lies below a prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The objects, by key.
    pub objects: Vec<ObjectInfo>,
    /// With a delimiter: what the others begin with, up to the next slash.
    pub folders: Vec<String>,
}

/// A multipart upload that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The key of the object to be.
    pub key: String,
    /// The store's name for the upload.
    pub id: String,
}

static CLIENTS: Mutex<BTreeMap<String, Arc<Client>>> = Mutex::new(BTreeMap::new());

impl Bucket {
    /// The bucket of a URL, with the settings of the process. Nothing is sent.
    pub fn open(url: &ObjectUrl) -> Result<Bucket> {
        let settings = Settings::read()?;
        // Settings may change between two uses (tests, several files), and connections are worth keeping.
        let name = format!("{settings:?} {} {}", settings.credentials.access_key, url.bucket);
        let mut clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&name) {
            return Ok(Bucket { client: Arc::clone(client) });
        }
        let client = Arc::new(Client::new(settings, &url.bucket)?);
        if clients.len() < BUCKETS_MAX {
            clients.insert(name, Arc::clone(&client));
        }
        Ok(Bucket { client })
    }

    fn success(&self, request: &Request<'_>) -> Result<Answer> {
        let answer = self.client.send(request)?;
        if answer.is_success() { Ok(answer) } else { Err(self.client.unexpected(request, &answer)) }
    }

    /// Nothing there is an answer; a bucket that is not there is none.
    fn optional(&self, request: &Request<'_>) -> Result<Option<Answer>> {
        let answer = self.client.send(request)?;
        match answer.status {
            404 if answer.code() != "NoSuchBucket" => Ok(None),
            _ if answer.is_success() => Ok(Some(answer)),
            _ => Err(self.client.unexpected(request, &answer)),
        }
    }

    /// Writes an object; what was there is replaced.
    pub fn put(&self, key: &str, body: &[u8]) -> Result<()> {
        self.success(&Request { method: "PUT", key, body, ..Request::default() }).map(drop)
    }

    /// Writes an object where none is; `false` when another one is there. One that is there with the same bytes is its own, from a
    /// request whose reply was lost.
    pub fn put_new(&self, key: &str, body: &[u8]) -> Result<bool> {
        let headers = [("if-none-match", "*".to_owned())];
        let request = Request { method: "PUT", key, body, headers: &headers, ..Request::default() };
        let answer = self.client.send(&request)?;
        match answer.status {
            412 if answer.was_repeated => Ok(self.get(key)?.is_some_and(|found| found == body)),
            412 => Ok(false),
            _ if answer.is_success() => Ok(true),
            _ => Err(self.client.unexpected(&request, &answer)),
        }
    }

    /// Reads an object; `None` when there is none.
    pub fn get(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.optional(&Request { method: "GET", key, ..Request::default() })?.map(|answer| answer.body))
    }

    /// Reads a part of an object, less of it where the object ends; `None` when there is no object.
    pub fn get_range(&self, key: &str, start: u64, length: u64) -> Result<Option<Bytes>> {
        if length == 0 {
            return Ok(Some(Bytes::new()));
        }
        let headers = [("range", format!("bytes={start}-{}", start.saturating_add(length - 1)))];
        let request = Request { method: "GET", key, headers: &headers, ..Request::default() };
        let answer = self.client.send(&request)?;
        match answer.status {
            404 if answer.code() != "NoSuchBucket" => Ok(None),
            // It ends before the range begins.
            416 => Ok(Some(Bytes::new())),
            206 => Ok(Some(answer.body)),
            // A store that knows no ranges sends all of it.
            200 => {
                let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(answer.body.len());
                Ok(Some(answer.body.slice(place(start)..place(start.saturating_add(length)))))
            }
            _ => Err(self.client.unexpected(&request, &answer)),
        }
    }

    /// What is known of an object; `None` when there is none.
    pub fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        let answer = self.optional(&Request { method: "HEAD", key, ..Request::default() })?;
        Ok(answer.map(|answer| {
            let modified = jiff::fmt::rfc2822::parse(&answer.modified).map_or(0, |t| t.timestamp().as_millisecond());
            ObjectInfo { key: key.to_owned(), bytes: answer.length.unwrap_or(0), modified_ms: modified }
        }))
    }

    /// Removes an object; that there is none is no error.
    pub fn delete(&self, key: &str) -> Result<()> {
        self.optional(&Request { method: "DELETE", key, ..Request::default() }).map(drop)
    }

    /// What lies below a prefix: everything, or with `is_flat` what has no slash behind it, and the folders.
    pub fn list(&self, prefix: &str, is_flat: bool) -> Result<Listing> {
        let mut listing = Listing::default();
        let mut token: Option<String> = None;
        loop {
            let mut query = vec![("list-type", "2"), ("prefix", prefix)];
            if is_flat {
                query.push(("delimiter", "/"));
            }
            if let Some(token) = &token {
                query.push(("continuation-token", token));
            }
            let request = Request { method: "GET", query: &query, ..Request::default() };
            let text = self.success(&request)?.text();
            for entry in xml::elements(&text, "Contents") {
                let (Some(key), Some(bytes)) =
                    (xml::text(entry, "Key"), xml::text(entry, "Size").and_then(|n| n.parse().ok()))
                else {
                    return Err(Error::data(format!("a list of s3://{} cannot be read", self.client.bucket)));
                };
                let modified = xml::text(entry, "LastModified").and_then(|t| t.parse::<jiff::Timestamp>().ok());
                let modified_ms = modified.map_or(0, jiff::Timestamp::as_millisecond);
                listing.objects.push(ObjectInfo { key, bytes, modified_ms });
            }
            let folders = xml::elements(&text, "CommonPrefixes").filter_map(|entry| xml::text(entry, "Prefix"));
            listing.folders.extend(folders);
            token = xml::text(&text, "NextContinuationToken").filter(|token| !token.is_empty());
            if token.is_none() || xml::text(&text, "IsTruncated").as_deref() != Some("true") {
                return Ok(listing);
            }
        }
    }

    /// Begins an upload in parts; nobody sees anything of it before [`Bucket::complete`]. A key has one upload at a time.
    pub fn begin(&self, key: &str) -> Result<Upload> {
        let request = Request { method: "POST", key, query: &[("uploads", "")], ..Request::default() };
        let answer = self.success(&request)?;
        let id = xml::text(&answer.text(), "UploadId");
        let id =
            id.ok_or_else(|| Error::data(format!("s3://{}/{key}: an upload without a name", self.client.bucket)))?;
        if answer.was_repeated {
            // A request whose reply was lost has begun one that nobody knows.
            for other in self.uploads(key)?.iter().filter(|other| other.key == key && other.id != id) {
                self.abort(other)?;
            }
        }
        Ok(Upload { key: key.to_owned(), id })
    }

    /// Uploads a part, numbered from 1 on; all but the last must have 5 MiB. Gives its tag.
    pub fn put_part(&self, upload: &Upload, number: usize, body: &[u8]) -> Result<String> {
        let number = number.to_string();
        let query = [("partNumber", number.as_str()), ("uploadId", upload.id.as_str())];
        Ok(self.success(&Request { method: "PUT", key: &upload.key, query: &query, body, ..Request::default() })?.etag)
    }

    /// Makes the object out of its parts. Repeated when it was done already, it changes nothing.
    pub fn complete(&self, upload: &Upload, tags: &[String]) -> Result<()> {
        let mut body = "<CompleteMultipartUpload>".to_owned();
        for (index, tag) in tags.iter().enumerate() {
            let (number, tag) = (index + 1, xml::escape(tag));
            body.push_str(&format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>"));
        }
        body.push_str("</CompleteMultipartUpload>");
        let query = [("uploadId", upload.id.as_str())];
        let request =
            Request { method: "POST", key: &upload.key, query: &query, body: body.as_bytes(), ..Request::default() };
        let answer = self.client.send(&request)?;
        if answer.is_success() && answer.code().is_empty() {
            return Ok(());
        }
        if answer.status == 404 && self.head(&upload.key)?.is_some() {
            return Ok(());
        }
        Err(self.client.unexpected(&request, &answer))
    }

    /// Gives an upload up; that it is gone is no error.
    pub fn abort(&self, upload: &Upload) -> Result<()> {
        let query = [("uploadId", upload.id.as_str())];
        self.optional(&Request { method: "DELETE", key: &upload.key, query: &query, ..Request::default() }).map(drop)
    }

    /// The uploads below a prefix that were begun and neither completed nor given up.
    pub fn uploads(&self, prefix: &str) -> Result<Vec<Upload>> {
        let mut uploads = Vec::new();
        let mut marker: Option<Upload> = None;
        loop {
            let mut query = vec![("uploads", ""), ("prefix", prefix)];
            if let Some(marker) = &marker {
                query.extend([("key-marker", marker.key.as_str()), ("upload-id-marker", marker.id.as_str())]);
            }
            let request = Request { method: "GET", query: &query, ..Request::default() };
            let text = self.success(&request)?.text();
            for entry in xml::elements(&text, "Upload") {
                if let (Some(key), Some(id)) = (xml::text(entry, "Key"), xml::text(entry, "UploadId")) {
                    uploads.push(Upload { key, id });
                }
            }
            let next = (xml::text(&text, "NextKeyMarker"), xml::text(&text, "NextUploadIdMarker"));
            marker = match next {
                (Some(key), Some(id)) if xml::text(&text, "IsTruncated").as_deref() == Some("true") => {
                    Some(Upload { key, id })
                }
                _ => return Ok(uploads),
            };
        }
    }

    /// Reads an object from a place on, piece by piece.
    pub fn reader(&self, key: &str, start: u64) -> ObjectReader {
        ObjectReader { bucket: self.clone(), key: key.to_owned(), next: start, piece: Bytes::new(), is_at_end: false }
    }
}

/// Reads an object piece by piece.
#[derive(Debug)]
pub struct ObjectReader {
    bucket: Bucket,
    key: String,
    next: u64,
    piece: Bytes,
    is_at_end: bool,
}

impl Read for ObjectReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() && !self.is_at_end {
            let piece = self.bucket.get_range(&self.key, self.next, PIECE_BYTES).map_err(io_error)?;
            self.piece = piece.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            self.next += self.piece.len() as u64;
            self.is_at_end = (self.piece.len() as u64) < PIECE_BYTES;
        }
        let count = out.len().min(self.piece.len());
        let taken = self.piece.split_to(count);
        out.get_mut(..count).unwrap_or_default().copy_from_slice(&taken);
        Ok(count)
    }
}

/// An error of the store where an I/O error is wanted. One that may heal is a time-out: `Interrupted` would be repeated for ever by
/// std's own loops.
fn io_error(error: Error) -> io::Error {
    let kind = match error.kind() {
        ErrorKind::Unavailable => io::ErrorKind::TimedOut,
        ErrorKind::Permission => io::ErrorKind::PermissionDenied,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error.to_string())
}
