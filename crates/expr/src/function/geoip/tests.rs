//! GEOIP over files that the tests write.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch, StringArray};
use wiesel_core::{DataType, Field, Schema, Value};

use super::from_csv;
use crate::cast::print::write_value;
use crate::function::testing::context;
use crate::function::{Argument, lookup};
use crate::time::zone::Zone;
use crate::{Evaluator, ScalarExpr};

fn call(path: &str) -> Result<ScalarExpr, String> {
    let function = lookup("geoip").expect("GEOIP is registered");
    let (text, file) = (DataType::string(), Value::String(path.to_owned()));
    let args = [Argument { data_type: &text, literal: None }, Argument { data_type: &text, literal: Some(&file) }];
    let signature = function.bind(&args).map_err(|e| e.expected)?;
    function.open(&args).map_err(|e| e.message().to_owned())?;
    let args = vec![
        ScalarExpr::Column { index: 0, data_type: text.clone() },
        ScalarExpr::Literal { value: file, data_type: text },
    ];
    Ok(ScalarExpr::Call { function, args, data_type: signature.returns })
}

fn evaluate(path: &str, addresses: &[Option<&str>]) -> Result<Vec<String>, String> {
    let expr = call(path)?;
    let schema = Schema::new(vec![Field::new("ip", DataType::string())]);
    let column = Arc::new(StringArray::from(addresses.to_vec()));
    let batch = RecordBatch::try_new(schema.arrow().clone(), vec![column]).expect("a batch");
    let kind = expr.data_type().kind;
    let array = Evaluator::new(expr).evaluate(&batch, &context()).map_err(|e| e.to_string())?;
    assert_eq!(array.as_struct().null_count(), 0, "the row itself is never NULL");
    let text = |row| {
        let mut out = String::new();
        write_value(&mut out, &array, &kind, row, &Zone::utc()).expect("text");
        out
    };
    Ok((0..addresses.len()).map(text).collect())
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("wiesel-geoip-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.join(name);
        fs::write(&path, bytes).expect("the file is written");
        path.to_str().expect("UTF-8").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

#[test]
fn addresses_have_places_and_all_others_have_null_fields() {
    let long_name = "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch";
    let folder = Folder::new("places");
    let list = format!(
        "203.0.113.0/24,Germany,DE,Berlin,Land Berlin,52.52,13.405\n\
         198.51.100.128/25,Japan,JP,,,,\n\
         2001:db8:1::/48,United Kingdom,GB,{long_name},,,\n\
         10.0.0.0/8,Germany,DE,Berlin,Land Berlin,52.52,13.405\n\
         fc00::/7,Germany,DE,Berlin,Land Berlin,52.52,13.405\n\
         192.0.2.0/24,,,,,,\n"
    );
    let (file, _) = from_csv(&list).expect("a list");
    let path = folder.write("places.mmdb", &file);
    let berlin = "(Germany, DE, Berlin, Land Berlin, 52.52, 13.405)";
    let japan = "(Japan, JP, NULL, NULL, NULL, NULL)";
    let wales = format!("(United Kingdom, GB, {long_name}, NULL, NULL, NULL)");
    let nowhere = "(NULL, NULL, NULL, NULL, NULL, NULL)";
    let cases = [
        (Some("203.0.113.7"), berlin),
        (Some("203.0.113.255"), berlin),
        (Some("203.0.114.0"), nowhere),
        (Some("::ffff:203.0.113.7"), berlin),
        (Some("198.51.100.200"), japan),
        (Some("198.51.100.1"), nowhere),
        (Some("2001:db8:1::42"), wales.as_str()),
        (Some("2001:db8:2::42"), nowhere),
        (Some("192.0.2.1"), nowhere),
        (Some("10.1.2.3"), nowhere),
        (Some("fd00::1"), nowhere),
        (Some("127.0.0.1"), nowhere),
        (Some("::1"), nowhere),
        (Some("100.64.0.1"), nowhere),
        (Some("203.0.113"), nowhere),
        (Some("203.0.113.7 "), nowhere),
        (Some("203.0.113.999"), nowhere),
        (Some("unknown"), nowhere),
        (Some(""), nowhere),
        (None, nowhere),
    ];
    let addresses: Vec<Option<&str>> = cases.iter().map(|(address, _)| *address).collect();
    let found = evaluate(&path, &addresses).expect("places");
    for ((address, expected), found) in cases.iter().zip(&found) {
        assert_eq!(found, expected, "{address:?}");
    }
}

#[test]
fn a_file_that_is_missing_or_broken_is_one_clear_error() {
    let folder = Folder::new("broken");
    let broken = folder.write("broken.mmdb", b"no database");
    let here = folder.0.to_str().expect("UTF-8").to_owned();
    let missing = format!("{here}/none.mmdb");
    for (path, expected) in
        [(missing, "cannot be read"), (broken, "is no database in MaxMind's format"), (here, "it is no file")]
    {
        let error = call(&path).expect_err("no database");
        assert!(error.contains(expected) && error.contains("of GEOIP"), "{error}");
    }
}

#[test]
fn a_file_with_damage_inside_fails_the_row_and_never_the_process() {
    let (whole, _) = from_csv("203.0.113.0/24,Germany,DE,Berlin,,,").expect("a list");
    let folder = Folder::new("damage");
    let tree_end = whole.windows(16).position(|w| w == [0; 16]).expect("the tree ends") + 16;
    // Few files may be open in one process, so a few places of damage stand for all.
    for (number, at) in [tree_end, tree_end + 1, tree_end + 9].into_iter().enumerate() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        let path = folder.write(&format!("{number}.mmdb"), &bytes);
        if let Err(error) = evaluate(&path, &[Some("203.0.113.7")]) {
            assert!(error.contains("of GEOIP"), "{error}");
        }
    }
}

#[test]
fn the_file_is_a_literal() {
    let function = lookup("GEOIP").expect("GEOIP is registered");
    let text = DataType::string();
    let column = || Argument { data_type: &text, literal: None };
    assert!(function.bind(&[column(), column()]).is_err());
    assert!(function.bind(&[column()]).is_err());
}
