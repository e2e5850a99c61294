//! The tables operators keep their state in: groups by hash, rows by order, windows by slice.
