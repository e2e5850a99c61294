//! Manifests, state run files and recovery.

pub(crate) mod run;
