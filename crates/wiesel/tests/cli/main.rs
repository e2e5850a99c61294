//! The program as a user starts it: what it prints, how it ends, what it leaves behind.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod dag;
mod init;
mod jobs;
mod kibana;
mod pipeline;
mod program;
mod secrets;
mod upgrade;
mod variables;
