//! A zip file, written the same way each time: entries in the order given, all of one date, deflated.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use flate2::Compression;
use flate2::write::DeflateEncoder;

/// 1980-01-01, the first date a zip file knows.
const DATE: u16 = (1 << 5) | 1;
const VERSION: u16 = 20;
/// Made by a Unix, so that the rights count.
const MADE_BY: u16 = (3 << 8) | VERSION;
const DEFLATED: u16 = 8;
/// Names are UTF-8.
const FLAGS: u16 = 1 << 11;

/// A zip file under construction.
#[derive(Default)]
pub(super) struct Zip {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    count: u16,
}

impl Zip {
    /// Adds a file.
    pub(super) fn add(&mut self, name: &str, content: &[u8], is_executable: bool) -> Result<()> {
        let offset = number(self.bytes.len())?;
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content)?;
        let packed = encoder.finish()?;
        // Both headers share this part.
        let mut shared = Vec::new();
        for field in [VERSION, FLAGS, DEFLATED, 0, DATE] {
            shared.extend(field.to_le_bytes());
        }
        for field in [crc32fast::hash(content), number(packed.len())?, number(content.len())?] {
            shared.extend(field.to_le_bytes());
        }
        shared.extend(u16::try_from(name.len()).context("a long name")?.to_le_bytes());
        shared.extend([0, 0]);
        self.bytes.extend(b"PK\x03\x04");
        self.bytes.extend(&shared);
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(packed);
        let mode: u32 = if is_executable { 0o100_755 } else { 0o100_644 };
        self.directory.extend(b"PK\x01\x02");
        self.directory.extend(MADE_BY.to_le_bytes());
        self.directory.extend(&shared);
        // No remark, first disk, no inner attributes.
        self.directory.extend([0; 6]);
        self.directory.extend((mode << 16).to_le_bytes());
        self.directory.extend(offset.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.count = self.count.checked_add(1).context("too many files for a zip file")?;
        Ok(())
    }

    /// The whole file.
    pub(super) fn finish(mut self) -> Result<Vec<u8>> {
        let (offset, size) = (number(self.bytes.len())?, number(self.directory.len())?);
        self.bytes.extend(&self.directory);
        self.bytes.extend(b"PK\x05\x06\0\0\0\0");
        self.bytes.extend(self.count.to_le_bytes());
        self.bytes.extend(self.count.to_le_bytes());
        self.bytes.extend(size.to_le_bytes());
        self.bytes.extend(offset.to_le_bytes());
        self.bytes.extend([0, 0]);
        Ok(self.bytes)
    }
}

fn number(length: usize) -> Result<u32> {
    u32::try_from(length).context("too large for a zip file")
}

#[cfg(test)]
mod tests {
    use super::Zip;
    use std::process::Command;

    #[test]
    fn another_program_reads_what_was_written() {
        let mut zip = Zip::default();
        zip.add("a/one.txt", b"hello", false).unwrap();
        zip.add("two", &[7; 100_000], true).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("z.zip");
        std::fs::write(&path, zip.finish().unwrap()).unwrap();
        let script = "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\nassert z.testzip() is None\n\
            print([(i.filename, i.file_size, oct(i.external_attr >> 16)) for i in z.infolist()])";
        let output = Command::new("python3").args(["-c", script]).arg(&path).output().unwrap();
        let expected = "[('a/one.txt', 5, '0o100644'), ('two', 100000, '0o100755')]\n";
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{}", String::from_utf8_lossy(&output.stderr));
    }
}
