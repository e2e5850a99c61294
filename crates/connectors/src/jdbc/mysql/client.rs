//! A client of MySQL's protocol, as far as the connector needs it: login, statements without an answer, and prepared statements with bound
//! values, whose rows come in the binary form. Blocking, on one TCP connection; dropping it ends whatever the server was answering.
//!
//! The drivers that there are bring some forty crates with them; this is the part of the protocol that has not changed since MySQL 4.1.
//!
//! ```text
//! packet:  u24 length | u8 sequence | payload            a payload of 2^24 - 1 bytes goes on in the next packet
//! execute: 0x17 | u32 statement | 0 | u32 1 | NULL bits | 1 | { type, flags }* | { value }*
//! answer:  OK 0x00, ERR 0xff, or: column count | { column }* | EOF | { 0x00 | NULL bits, two in front | { value }* }* | EOF
//! ```

use std::collections::HashMap;
use std::io::{self, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// What a packet holds at most.
const PACKET_BYTES_MAX: usize = (1 << 24) - 1;
/// A row, or a statement, of more bytes is taken for a broken connection.
const PAYLOAD_BYTES_MAX: usize = 1 << 30;
/// Prepared statements that are kept.
const STATEMENTS_MAX: usize = 64;
/// A server that says nothing for so long is away.
const READ_TIMEOUT: Duration = Duration::from_secs(600);
/// A server that takes nothing for so long is away.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// What is read from the connection at once.
const READ_BYTES: usize = 64 << 10;

/// CLIENT_LONG_PASSWORD, LONG_FLAG, CONNECT_WITH_DB, PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION, PLUGIN_AUTH.
const CAPABILITIES: u32 = 1 | 4 | 8 | 1 << 9 | 1 << 13 | 1 << 15 | 1 << 19;
const SECURE_CONNECTION: u32 = 1 << 15;
/// utf8mb4_general_ci.
const CHARACTER_SET: u8 = 45;
const QUERY: u8 = 0x03;
const PREPARE: u8 = 0x16;
const EXECUTE: u8 = 0x17;
const CLOSE: u8 = 0x19;
const UNSIGNED: u16 = 0x20;

/// Types of values on their way.
mod kind {
    pub(super) const TINY: u8 = 1;
    pub(super) const SHORT: u8 = 2;
    pub(super) const LONG: u8 = 3;
    pub(super) const FLOAT: u8 = 4;
    pub(super) const DOUBLE: u8 = 5;
    pub(super) const NULL: u8 = 6;
    pub(super) const TIMESTAMP: u8 = 7;
    pub(super) const LONGLONG: u8 = 8;
    pub(super) const INT24: u8 = 9;
    pub(super) const DATE: u8 = 10;
    pub(super) const TIME: u8 = 11;
    pub(super) const DATETIME: u8 = 12;
    pub(super) const YEAR: u8 = 13;
    pub(super) const VAR_STRING: u8 = 253;
}

/// A value on its way.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sent {
    Null,
    Bytes(Vec<u8>),
    Int(i64),
    UInt(u64),
    Float(f32),
    Double(f64),
    /// Year, month, day, hour, minute, second, microseconds.
    Date(u16, u8, u8, u8, u8, u8, u32),
    /// Whether it is negative, days, hours, minutes, seconds, microseconds.
    Time(bool, u32, u8, u8, u8, u32),
}

impl From<&str> for Sent {
    fn from(text: &str) -> Sent {
        Sent::Bytes(text.as_bytes().to_vec())
    }
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// The connection.
    #[error("{0}")]
    Connection(#[from] io::Error),
    /// The server's own words.
    #[error("{message} [{code}]")]
    Server { code: u16, state: String, message: String },
    /// The server asks for a login that is not supported.
    #[error("{0}")]
    Login(String),
}

fn broken(what: &str) -> ClientError {
    ClientError::Connection(io::Error::new(io::ErrorKind::InvalidData, format!("the server sent {what}")))
}

type Outcome<T> = Result<T, ClientError>;

/// Whom to log in as, and where.
pub(super) struct Login<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) user: &'a str,
    /// A secret.
    pub(super) password: &'a str,
    pub(super) database: &'a str,
    pub(super) connect_timeout: Duration,
}

/// A prepared statement.
#[derive(Debug, Clone, Copy)]
struct Statement {
    id: u32,
    parameters: usize,
}

/// A column of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Column {
    kind: u8,
    is_unsigned: bool,
}

/// A connection.
pub(super) struct Client {
    stream: BufReader<TcpStream>,
    sequence: u8,
    statements: HashMap<String, Statement>,
    /// The columns of the answer whose rows are being read.
    columns: Vec<Column>,
    is_broken: bool,
}

impl Client {
    /// Connects and logs in.
    pub(super) fn connect(login: &Login<'_>) -> Outcome<Client> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in (login.host, login.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, login.connect_timeout) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(login.connect_timeout.min(READ_TIMEOUT)))?;
                    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
                    let mut client = Client {
                        stream: BufReader::with_capacity(READ_BYTES, stream),
                        sequence: 0,
                        statements: HashMap::new(),
                        columns: Vec::new(),
                        is_broken: false,
                    };
                    client.log_in(login)?;
                    client.stream.get_ref().set_read_timeout(Some(READ_TIMEOUT))?;
                    return Ok(client);
                }
                Err(error) => last = error,
            }
        }
        Err(last.into())
    }

    /// Whether the connection is known to be gone.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Runs a statement that answers nothing.
    pub(super) fn run(&mut self, sql: &str) -> Outcome<()> {
        self.command(QUERY, &[sql.as_bytes()])?;
        self.read_ok()
    }

    /// Runs a prepared statement that answers nothing.
    pub(super) fn execute(&mut self, sql: &str, values: &[Sent]) -> Outcome<()> {
        match self.ask(sql, values)? {
            true => Err(broken("rows where none were expected")),
            false => Ok(()),
        }
    }

    /// Runs a prepared statement; its rows are to be read to their end before anything else is run.
    pub(super) fn query(&mut self, sql: &str, values: &[Sent]) -> Outcome<()> {
        match self.ask(sql, values)? {
            true => Ok(()),
            false => Err(broken("no rows where some were expected")),
        }
    }

    /// The next row of the answer.
    pub(super) fn next_row(&mut self) -> Outcome<Option<Vec<Sent>>> {
        let packet = self.read_packet()?;
        if is_eof(&packet) {
            return Ok(None);
        }
        read_row(&packet, &self.columns).map(Some).ok_or_else(|| broken("a row that cannot be read"))
    }

    /// All rows of a query of few rows.
    pub(super) fn rows(&mut self, sql: &str, values: &[Sent]) -> Outcome<Vec<Vec<Sent>>> {
        self.query(sql, values)?;
        let mut rows = Vec::new();
        while let Some(row) = self.next_row()? {
            rows.push(row);
        }
        Ok(rows)
    }

    /// Has the server look at a statement.
    pub(super) fn prepare(&mut self, sql: &str) -> Outcome<()> {
        self.statement(sql).map(|_| ())
    }

    fn statement(&mut self, sql: &str) -> Outcome<Statement> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(*statement);
        }
        if self.statements.len() >= STATEMENTS_MAX {
            for (_, statement) in std::mem::take(&mut self.statements) {
                self.command(CLOSE, &[&statement.id.to_le_bytes()])?;
            }
        }
        self.command(PREPARE, &[sql.as_bytes()])?;
        let packet = self.read_packet()?;
        let mut reader = Reader(&packet);
        let header = (reader.u8(), reader.u32(), reader.u16(), reader.u16());
        let (Some(0), Some(id), Some(columns), Some(parameters)) = header else {
            return Err(broken("an answer to a statement that cannot be read"));
        };
        for count in [parameters, columns] {
            if count > 0 {
                self.read_columns(count.into())?;
            }
        }
        let statement = Statement { id, parameters: parameters.into() };
        self.statements.insert(sql.to_owned(), statement);
        Ok(statement)
    }

    /// Runs a prepared statement; says whether rows follow.
    fn ask(&mut self, sql: &str, values: &[Sent]) -> Outcome<bool> {
        let statement = self.statement(sql)?;
        if statement.parameters != values.len() {
            let (found, expected) = (values.len(), statement.parameters);
            return Err(broken(&format!("a statement of {expected} values, and there are {found}")));
        }
        let mut body = Vec::new();
        body.extend(statement.id.to_le_bytes());
        body.push(0);
        body.extend(1_u32.to_le_bytes());
        append_values(&mut body, values);
        self.command(EXECUTE, &[&body])?;
        let packet = self.read_packet()?;
        let mut reader = Reader(&packet);
        match packet.first() {
            Some(0) => Ok(false),
            Some(_) => {
                let count = reader.length().ok_or_else(|| broken("an answer that cannot be read"))?;
                self.columns = self.read_columns(count)?;
                Ok(true)
            }
            None => Err(broken("an empty answer")),
        }
    }

    fn read_columns(&mut self, count: usize) -> Outcome<Vec<Column>> {
        let mut columns = Vec::new();
        for _ in 0..count {
            let packet = self.read_packet()?;
            columns.push(read_column(&packet).ok_or_else(|| broken("a column that cannot be read"))?);
        }
        match is_eof(&self.read_packet()?) {
            true => Ok(columns),
            false => Err(broken("more columns than it had said")),
        }
    }

    fn read_ok(&mut self) -> Outcome<()> {
        match self.read_packet()?.first() {
            Some(0) => Ok(()),
            _ => Err(broken("rows where none were expected")),
        }
    }

    fn log_in(&mut self, login: &Login<'_>) -> Outcome<()> {
        let packet = self.read_packet()?;
        let (nonce, plugin, can) = read_greeting(&packet).ok_or_else(|| broken("a greeting that cannot be read"))?;
        if can & SECURE_CONNECTION == 0 {
            return Err(ClientError::Login("the server is older than MySQL 4.1".to_owned()));
        }
        let proof = prove(&plugin, login.password, &nonce)?;
        let mut body = Vec::new();
        body.extend(CAPABILITIES.to_le_bytes());
        body.extend((1_u32 << 30).to_le_bytes());
        body.push(CHARACTER_SET);
        body.extend([0; 23]);
        body.extend(login.user.bytes().filter(|b| *b != 0));
        body.push(0);
        body.push(u8::try_from(proof.len()).unwrap_or(0));
        body.extend(&proof);
        body.extend(login.database.bytes().filter(|b| *b != 0));
        body.push(0);
        body.extend(plugin.bytes());
        body.push(0);
        self.write_packet(&[&body])?;
        loop {
            let packet = self.read_packet()?;
            match packet.split_first() {
                Some((0, _)) => return Ok(()),
                Some((0xfe, rest)) => {
                    let mut reader = Reader(rest);
                    let plugin = reader.text().ok_or_else(|| broken("a login that cannot be read"))?;
                    let nonce = reader.0.strip_suffix(&[0]).unwrap_or(reader.0);
                    self.write_packet(&[&prove(&plugin, login.password, nonce)?])?;
                }
                // The server knows the password's hash: an OK follows.
                Some((1, [3])) => {}
                Some((1, _)) => {
                    return Err(ClientError::Login(
                        "caching_sha2_password wants the password itself, which is not sent over an unencrypted connection"
                            .to_owned(),
                    ));
                }
                _ => return Err(broken("a login that cannot be read")),
            }
        }
    }

    fn command(&mut self, command: u8, body: &[&[u8]]) -> Outcome<()> {
        self.sequence = 0;
        let mut parts: Vec<&[u8]> = vec![std::slice::from_ref(&command)];
        parts.extend(body);
        self.write_packet(&parts)
    }

    fn write_packet(&mut self, parts: &[&[u8]]) -> Outcome<()> {
        let payload = parts.concat();
        let mut framed = Vec::with_capacity(payload.len() + 4);
        let mut rest = payload.as_slice();
        loop {
            let (part, after) = rest.split_at(rest.len().min(PACKET_BYTES_MAX));
            let length = u32::try_from(part.len()).unwrap_or(0).to_le_bytes();
            framed.extend(length.iter().take(3));
            framed.push(self.sequence);
            framed.extend(part);
            self.sequence = self.sequence.wrapping_add(1);
            rest = after;
            if part.len() < PACKET_BYTES_MAX {
                break;
            }
        }
        let outcome = self.stream.get_mut().write_all(&framed);
        self.is_broken |= outcome.is_err();
        Ok(outcome?)
    }

    /// The next packet; what the server refuses is an error.
    fn read_packet(&mut self) -> Outcome<Vec<u8>> {
        let payload = self.read_payload().inspect_err(|_| self.is_broken = true)?;
        if payload.first() == Some(&0xff) {
            return Err(read_error(&payload));
        }
        Ok(payload)
    }

    fn read_payload(&mut self) -> Outcome<Vec<u8>> {
        let mut payload = Vec::new();
        loop {
            let mut header = [0; 4];
            self.stream.read_exact(&mut header)?;
            let [a, b, c, sequence] = header;
            self.sequence = sequence.wrapping_add(1);
            let length = u32::from_le_bytes([a, b, c, 0]) as usize;
            let start = payload.len();
            if start + length > PAYLOAD_BYTES_MAX {
                return Err(broken("more than a gigabyte at once"));
            }
            payload.resize(start + length, 0);
            self.stream.read_exact(payload.get_mut(start..).unwrap_or_default())?;
            if length < PACKET_BYTES_MAX {
                return Ok(payload);
            }
        }
    }
}

/// What proves that the password is known, which it does not show.
fn prove(plugin: &str, password: &str, nonce: &[u8]) -> Outcome<Vec<u8>> {
    let xor = |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| a ^ b).collect();
    match plugin {
        "mysql_native_password" | "caching_sha2_password" if password.is_empty() => Ok(Vec::new()),
        "mysql_native_password" => {
            let once = Sha1::digest(password);
            let of_both = Sha1::new().chain_update(nonce).chain_update(Sha1::digest(once)).finalize();
            Ok(xor(&once, &of_both))
        }
        "caching_sha2_password" => {
            let once = Sha256::digest(password);
            let of_both = Sha256::new().chain_update(Sha256::digest(once)).chain_update(nonce).finalize();
            Ok(xor(&once, &of_both))
        }
        other => Err(ClientError::Login(format!("the login {other} is not supported"))),
    }
}

/// The nonce, the name of the login, and what the server can.
fn read_greeting(packet: &[u8]) -> Option<(Vec<u8>, String, u32)> {
    let mut reader = Reader(packet);
    if reader.u8()? != 10 {
        return None;
    }
    reader.text()?;
    reader.u32()?;
    let mut nonce = reader.take(8)?.to_vec();
    reader.u8()?;
    let low = reader.u16()?;
    reader.take(3)?;
    let high = reader.u16()?;
    let length = usize::from(reader.u8()?);
    reader.take(10)?;
    let rest = reader.take(length.saturating_sub(8).max(13))?;
    nonce.extend(rest.strip_suffix(&[0]).unwrap_or(rest));
    let plugin = reader.text().unwrap_or_else(|| "mysql_native_password".to_owned());
    Some((nonce, plugin, u32::from(high) << 16 | u32::from(low)))
}

fn read_error(packet: &[u8]) -> ClientError {
    let mut reader = Reader(packet);
    reader.u8();
    let code = reader.u16().unwrap_or(0);
    let text = String::from_utf8_lossy(reader.0);
    match text.strip_prefix('#').and_then(|text| text.split_at_checked(5)) {
        Some((state, message)) => ClientError::Server { code, state: state.to_owned(), message: message.to_owned() },
        None => ClientError::Server { code, state: String::new(), message: text.into_owned() },
    }
}

fn is_eof(packet: &[u8]) -> bool {
    packet.first() == Some(&0xfe) && packet.len() < 9
}

fn read_column(packet: &[u8]) -> Option<Column> {
    let mut reader = Reader(packet);
    // Catalog, database, table, its own name, column, its own name, and the length of what follows.
    for _ in 0..6 {
        let length = reader.length()?;
        reader.take(length)?;
    }
    reader.length()?;
    reader.take(6)?;
    let kind = reader.u8()?;
    Some(Column { kind, is_unsigned: reader.u16()? & UNSIGNED != 0 })
}

fn read_row(packet: &[u8], columns: &[Column]) -> Option<Vec<Sent>> {
    let mut reader = Reader(packet);
    reader.u8()?;
    let nulls = reader.take((columns.len() + 9) / 8)?;
    let mut row = Vec::with_capacity(columns.len());
    for (place, column) in columns.iter().enumerate() {
        let bit = place + 2;
        let is_null = nulls.get(bit / 8)? >> (bit % 8) & 1 == 1;
        row.push(if is_null { Sent::Null } else { read_value(&mut reader, *column)? });
    }
    Some(row)
}

fn read_value(reader: &mut Reader<'_>, column: Column) -> Option<Sent> {
    let is_unsigned = column.is_unsigned;
    Some(match column.kind {
        kind::TINY if is_unsigned => Sent::Int(reader.u8()?.into()),
        kind::TINY => Sent::Int(reader.u8()?.cast_signed().into()),
        kind::SHORT | kind::YEAR if is_unsigned => Sent::Int(reader.u16()?.into()),
        kind::SHORT | kind::YEAR => Sent::Int(reader.u16()?.cast_signed().into()),
        kind::LONG | kind::INT24 if is_unsigned => Sent::Int(reader.u32()?.into()),
        kind::LONG | kind::INT24 => Sent::Int(reader.u32()?.cast_signed().into()),
        kind::LONGLONG if is_unsigned => Sent::UInt(reader.u64()?),
        kind::LONGLONG => Sent::Int(reader.u64()?.cast_signed()),
        kind::FLOAT => Sent::Float(f32::from_bits(reader.u32()?)),
        kind::DOUBLE => Sent::Double(f64::from_bits(reader.u64()?)),
        kind::NULL => Sent::Null,
        kind::DATE | kind::DATETIME | kind::TIMESTAMP => {
            // What is zero at the end is left out.
            let length = usize::from(reader.u8()?);
            let mut part = Reader(reader.take(length)?);
            let day = (part.u16().unwrap_or(0), part.u8().unwrap_or(0), part.u8().unwrap_or(0));
            let clock = (part.u8().unwrap_or(0), part.u8().unwrap_or(0), part.u8().unwrap_or(0));
            Sent::Date(day.0, day.1, day.2, clock.0, clock.1, clock.2, part.u32().unwrap_or(0))
        }
        kind::TIME => {
            let length = usize::from(reader.u8()?);
            let mut part = Reader(reader.take(length)?);
            let (is_negative, days) = (part.u8().unwrap_or(0) != 0, part.u32().unwrap_or(0));
            let clock = (part.u8().unwrap_or(0), part.u8().unwrap_or(0), part.u8().unwrap_or(0));
            Sent::Time(is_negative, days, clock.0, clock.1, clock.2, part.u32().unwrap_or(0))
        }
        _ => {
            let length = reader.length()?;
            Sent::Bytes(reader.take(length)?.to_vec())
        }
    })
}

/// The values of an execution: which are NULL, their types, and they themselves.
fn append_values(out: &mut Vec<u8>, values: &[Sent]) {
    if values.is_empty() {
        return;
    }
    let nulls_at = out.len();
    out.resize(nulls_at + values.len().div_ceil(8), 0);
    out.push(1);
    for (place, value) in values.iter().enumerate() {
        let (kind, flags) = match value {
            Sent::Null => (kind::NULL, 0),
            Sent::Bytes(_) => (kind::VAR_STRING, 0),
            Sent::Int(_) => (kind::LONGLONG, 0),
            Sent::UInt(_) => (kind::LONGLONG, 0x80),
            Sent::Float(_) => (kind::FLOAT, 0),
            Sent::Double(_) => (kind::DOUBLE, 0),
            Sent::Date(..) => (kind::DATETIME, 0),
            Sent::Time(..) => (kind::TIME, 0),
        };
        out.extend([kind, flags]);
        if let (Sent::Null, Some(byte)) = (value, out.get_mut(nulls_at + place / 8)) {
            *byte |= 1 << (place % 8);
        }
    }
    for value in values {
        match value {
            Sent::Null => {}
            Sent::Bytes(bytes) => {
                append_length(out, bytes.len());
                out.extend(bytes);
            }
            Sent::Int(n) => out.extend(n.to_le_bytes()),
            Sent::UInt(n) => out.extend(n.to_le_bytes()),
            Sent::Float(n) => out.extend(n.to_le_bytes()),
            Sent::Double(n) => out.extend(n.to_le_bytes()),
            Sent::Date(year, month, day, hour, minute, second, micros) => {
                out.push(11);
                out.extend(year.to_le_bytes());
                out.extend([month, day, hour, minute, second].map(|part| *part));
                out.extend(micros.to_le_bytes());
            }
            Sent::Time(is_negative, days, hour, minute, second, micros) => {
                out.extend([12, u8::from(*is_negative)]);
                out.extend(days.to_le_bytes());
                out.extend([hour, minute, second].map(|part| *part));
                out.extend(micros.to_le_bytes());
            }
        }
    }
}

fn append_length(out: &mut Vec<u8>, length: usize) {
    let bytes = (length as u64).to_le_bytes();
    let (mark, count) = match length {
        0..=250 => (None, 1),
        251..=0xffff => (Some(0xfc), 2),
        0x1_0000..=0xff_ffff => (Some(0xfd), 3),
        _ => (Some(0xfe), 8),
    };
    out.extend(mark);
    out.extend(bytes.iter().take(count));
}

/// Takes a packet apart; `None` where it ends too early.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (part, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(part)
    }

    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.number().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.number().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.number().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.number().map(u64::from_le_bytes)
    }

    /// A number whose first byte says how long it is.
    fn length(&mut self) -> Option<usize> {
        let length = match self.u8()? {
            0xfc => self.u16()?.into(),
            0xfd => {
                let [a, b, c] = self.number()?;
                u32::from_le_bytes([a, b, c, 0]).into()
            }
            0xfe => self.u64()?,
            short => short.into(),
        };
        usize::try_from(length).ok()
    }

    /// A text that ends at a zero.
    fn text(&mut self) -> Option<String> {
        let end = self.0.iter().position(|b| *b == 0)?;
        let text = self.take(end)?;
        self.u8();
        Some(String::from_utf8_lossy(text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_proved_and_not_shown() {
        let nonce: Vec<u8> = (1..=20).collect();
        let hex = |bytes: Vec<u8>| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert!(prove("mysql_native_password", "", &nonce).unwrap().is_empty());
        // SHA1(password) XOR SHA1(nonce, SHA1(SHA1(password))), computed with Python's hashlib.
        assert_eq!(
            hex(prove("mysql_native_password", "secret", &nonce).unwrap()),
            "b32bb3a583e1340c0a1108d58b1be49781ad8c2f"
        );
        assert_eq!(
            hex(prove("caching_sha2_password", "secret", &nonce).unwrap()),
            "746ebe205d56a0707acb3e796e834e0dd7b1d61743b26bd5202c7a623230c7c9"
        );
        assert!(prove("dialog", "secret", &nonce).is_err());
    }

    #[test]
    fn values_are_sent_with_their_types_in_front() {
        let mut out = Vec::new();
        append_values(&mut out, &[Sent::Int(-2), Sent::Null, Sent::from("ab")]);
        let expected: &[u8] = &[
            0b010, 1, 8, 0, 6, 0, 253, 0, // NULL bits, types follow, types
            0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, b'a', b'b',
        ];
        assert_eq!(out, expected);
    }

    #[test]
    fn a_row_is_read_by_its_columns() {
        let column = |kind| Column { kind, is_unsigned: false };
        let columns = [column(kind::TINY), column(kind::LONG), column(kind::DATETIME), column(kind::VAR_STRING)];
        let packet = [0, 0b1000, 0xff, 4, 0xe8, 7, 2, 29, 2, b'h', b'i'];
        let row = read_row(&packet, &columns).unwrap();
        let expected = [Sent::Int(-1), Sent::Null, Sent::Date(2024, 2, 29, 0, 0, 0, 0), Sent::from("hi")];
        assert_eq!(row, expected);
        for end in 0..packet.len() {
            assert!(read_row(&packet[..end], &columns).is_none(), "{end} bytes of a row");
        }
    }

    #[test]
    fn lengths_are_as_long_as_they_have_to_be() {
        for length in [0, 250, 251, 65_535, 65_536, 16_777_215, 16_777_216] {
            let mut out = Vec::new();
            append_length(&mut out, length);
            let mut reader = Reader(&out);
            assert_eq!((reader.length(), reader.0.len()), (Some(length), 0));
        }
    }
}
