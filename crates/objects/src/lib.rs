//! Object stores that speak S3: what checkpoints and the filesystem connector need of one, in blocking calls.
//!
//! An object appears whole or not at all, and there is no rename. So whatever must appear at one moment is one of two calls: a PUT, where
//! needed only if nothing is there ([`Bucket::put_new`]), or the completion of a multipart upload, whose parts nobody sees before.
//!
//! **Replies get lost**, so every call may be sent twice: a PUT of the same bytes changes nothing, a conditional one that meets its own
//! bytes has succeeded, a completion that finds its upload gone and the object there has succeeded too, a DELETE of nothing is one.
//! What may heal (no answer, 408, 429, 5xx) is tried again with growing pauses for [`PATIENCE`], then given to the caller as
//! `Unavailable`.
//!
//! WHY-NOT the object_store crate: it cannot list the multipart uploads that a killed process left, so they could never be cleaned up;
//! and it brings a second HTTP client and an async runtime for what are a dozen blocking calls.
//!
//! | file | idea |
//! |---|---|
//! | `url` | what a path names |
//! | `settings` | where the store is and who asks |
//! | `sign` | requests signed as AWS wants it |
//! | `client` | one request, sent until it is answered |
//! | `bucket` | the calls |
//! | `xml` | the little that is read out of answers |

mod bucket;
mod client;
mod settings;
mod sign;
mod url;
mod xml;

pub use bucket::{Bucket, Listing, ObjectInfo, ObjectReader, Upload};
pub use client::PATIENCE;
pub use settings::{SETTINGS, configure};
pub use url::ObjectUrl;
