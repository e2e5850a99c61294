//! Connectors and formats, one folder each
