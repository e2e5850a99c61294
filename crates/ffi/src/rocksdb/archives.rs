//! What a program needs that holds RocksDB itself: the archives that librocksdb.a refers to, and one function of a newer C library.
//!
//! zstd is asked for by its crate, so that one zstd is in the program; zlib comes with librdkafka, which always brings its own.

use zstd as _;

#[link(name = "snappy", kind = "static")]
#[link(name = "lz4", kind = "static")]
#[link(name = "bz2", kind = "static")]
#[link(name = "stdc++", kind = "static")]
unsafe extern "C" {}

/// The random number that libstdc++'s `random_device` asks for. glibc has the function since 2.36 only; with this one in its place the
/// program runs where glibc is 2.34.
#[unsafe(no_mangle)]
extern "C" fn arc4random() -> u32 {
    let mut bytes = [0_u8; 4];
    // SAFETY: the buffer is as long as it is said to be, and the call keeps nothing of it.
    let filled = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    // Up to 256 bytes the call is never cut short, and it fails on no kernel since 3.17. The caller cannot take an error.
    if filled != 4 {
        std::process::abort();
    }
    u32::from_ne_bytes(bytes)
}
