//! Files of an object store as the source sees them: found by listing, read in ranges.
//!
//! A path carries the URL, so that everything above handles one kind of path; here it is told apart.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use wiesel_core::{Error, Result};
use wiesel_objects::{Bucket, ObjectReader, ObjectUrl};

use super::scan::{ScannedFile, is_hidden, read_error};

/// The files below a prefix, or the one object of this name. Hidden names are left out as [`super::scan`] says.
pub(super) fn files(root: &Path, searches_hidden: bool) -> Result<Vec<ScannedFile>> {
    let url = ObjectUrl::of_path(root)?;
    let bucket = Bucket::open(&url)?;
    let file = |name: &str, object: &wiesel_objects::ObjectInfo| ScannedFile {
        name: name.to_owned(),
        path: PathBuf::from(format!("s3://{}/{}", url.bucket, object.key)),
        size: object.bytes,
        modified_ms: object.modified_ms,
    };
    if !url.key.is_empty()
        && let Some(object) = bucket.head(&url.key)?
    {
        let name = url.key.rsplit('/').next().unwrap_or_default();
        return Ok(vec![file(name, &object)]);
    }
    let prefix = url.prefix();
    let objects = bucket.list(&prefix, false)?.objects;
    if objects.is_empty() {
        return Err(Error::config(format!("cannot read `{}`: nothing lies there", root.display()))
            .hint("the option 'path' names an object, or what the names of some begin with"));
    }
    let mut files = Vec::new();
    for object in &objects {
        let Some(name) = object.key.strip_prefix(&prefix).filter(|name| !name.is_empty() && !name.ends_with('/'))
        else {
            // What some programs make to stand for a folder.
            continue;
        };
        let (folders, last) = name.rsplit_once('/').unwrap_or(("", name));
        let is_in_hidden = !searches_hidden && folders.split('/').any(is_hidden);
        if !is_hidden(last) && !is_in_hidden {
            files.push(file(name, object));
        }
    }
    Ok(files)
}

/// Checks that there is something to read, or that an object can be made.
pub(super) fn probe(path: &Path, as_sink: bool) -> Result<()> {
    if !as_sink {
        return files(path, true).map(drop);
    }
    let url = ObjectUrl::of_path(path)?;
    let bucket = Bucket::open(&url)?;
    let trial = url.below(&format!(".wiesel-check-{}", std::process::id()));
    bucket.put(&trial, b"")?;
    bucket.delete(&trial)
}

/// A file or an object, at a byte; `None` when it is shorter.
pub(super) fn reader_at(path: &Path, start: u64) -> Result<Option<Box<dyn Read + Send>>> {
    let url = ObjectUrl::of_path(path)?;
    let bucket = Bucket::open(&url)?;
    let object = bucket.head(&url.key)?.ok_or_else(|| read_error(path, &io::Error::from(io::ErrorKind::NotFound)))?;
    Ok((object.bytes >= start).then(|| Box::new(bucket.reader(&url.key, start)) as Box<dyn Read + Send>))
}

/// What Parquet files are read from.
#[derive(Debug)]
pub(super) enum Input {
    File(File),
    Object(ObjectInput),
}

/// An object, read in ranges.
#[derive(Debug, Clone)]
pub(super) struct ObjectInput {
    bucket: Bucket,
    key: String,
    length: u64,
    /// Why a range could not be read: on its way through the reader the error loses who must act.
    failure: Failure,
}

/// The last failure of an [`ObjectInput`].
#[derive(Debug, Clone, Default)]
pub(super) struct Failure(Arc<Mutex<Option<Error>>>);

impl Failure {
    pub(super) fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn keep(&self, error: Error) -> ParquetError {
        let text = error.to_string();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        ParquetError::General(text)
    }
}

impl Input {
    pub(super) fn open(path: &Path) -> Result<(Input, Failure)> {
        if !ObjectUrl::is_path(path) {
            return Ok((Input::File(File::open(path).map_err(|e| read_error(path, &e))?), Failure::default()));
        }
        let url = ObjectUrl::of_path(path)?;
        let bucket = Bucket::open(&url)?;
        let object =
            bucket.head(&url.key)?.ok_or_else(|| read_error(path, &io::Error::from(io::ErrorKind::NotFound)))?;
        let failure = Failure::default();
        let input = ObjectInput { bucket, key: url.key, length: object.bytes, failure: failure.clone() };
        Ok((Input::Object(input), failure))
    }
}

impl Length for Input {
    fn len(&self) -> u64 {
        match self {
            Input::File(file) => Length::len(file),
            Input::Object(object) => object.length,
        }
    }
}

/// The bytes of an input from a place on.
pub(super) enum InputRead {
    File(<File as ChunkReader>::T),
    Object(ObjectReader),
}

impl Read for InputRead {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            InputRead::File(file) => file.read(out),
            InputRead::Object(object) => object.read(out),
        }
    }
}

impl ChunkReader for Input {
    type T = InputRead;

    fn get_read(&self, start: u64) -> parquet::errors::Result<InputRead> {
        match self {
            Input::File(file) => Ok(InputRead::File(file.get_read(start)?)),
            Input::Object(object) => Ok(InputRead::Object(object.bucket.reader(&object.key, start))),
        }
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        match self {
            Input::File(file) => file.get_bytes(start, length),
            Input::Object(object) => {
                let found = object.bucket.get_range(&object.key, start, length as u64);
                match found.map_err(|error| object.failure.keep(error))? {
                    Some(bytes) if bytes.len() == length => Ok(bytes),
                    Some(_) => Err(ParquetError::EOF("the object is shorter than it was".to_owned())),
                    None => Err(ParquetError::General("the object is gone".to_owned())),
                }
            }
        }
    }
}
