//! The program as a user starts it: what it prints, how it ends, what it leaves behind.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod counters;
mod dag;
mod folders;
mod init;
mod jobs;
mod kibana;
mod pipeline;
mod program;
mod redrive;
mod secrets;
mod upgrade;
mod variables;
