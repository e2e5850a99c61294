//! The only crate with unsafe code: librdkafka's batch call
