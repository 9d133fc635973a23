//! Reads of the list: certain by default, and what this node knew where the caller will have that.

use comity_app::Node;
use http::{HeaderMap, HeaderValue, Response};
use tonic::Status;
use tonic::body::Body;

use crate::status;

/// The metadata by which a caller asks for what this node knew: `comity-read: stale`.
pub const READ_HEADER: &str = "comity-read";
/// The header that says how old what was read may be, in milliseconds: 0 where it is certain, and left out where this node never
/// knew of a quorum.
pub const AGE_HEADER: &str = "comity-list-age-ms";

/// How certain a reader will have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Everything that was acknowledged before.
    Linearizable,
    /// What this node knows.
    Stale,
}

/// What a call asks for.
pub(crate) fn asked(headers: &HeaderMap) -> Result<Reading, Status> {
    match headers.get(READ_HEADER).map(HeaderValue::as_bytes) {
        None => Ok(Reading::Linearizable),
        Some(b"stale") => Ok(Reading::Stale),
        Some(_) => Err(status::field(READ_HEADER, "expected `stale`, or nothing for what is certain")),
    }
}

/// Waits until it is certain what is current, where that was asked for; answers how old what is read may be.
pub(crate) async fn begin(node: &Node, reading: Reading) -> Result<Option<u64>, Status> {
    match reading {
        Reading::Linearizable => node.read_barrier().await.map(|()| Some(0)).map_err(status::of),
        // Asked before anything is read: what is read is at least as new.
        Reading::Stale => Ok(node.list_age_ms()),
    }
}

/// Says it in the answer.
pub(crate) fn tell(answer: &mut Response<Body>, age_ms: Option<u64>) {
    if let Some(age_ms) = age_ms {
        answer.headers_mut().insert(AGE_HEADER, HeaderValue::from(age_ms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_stale_asks_for_less_than_certainty() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(READ_HEADER, HeaderValue::from_static(value));
            asked(&headers)
        };
        assert_eq!(asked(&HeaderMap::new()).unwrap(), Reading::Linearizable);
        assert_eq!(with("stale").unwrap(), Reading::Stale);
        assert_eq!(with("anything").unwrap_err().code(), tonic::Code::InvalidArgument);
    }

    #[test]
    fn the_age_is_told_where_it_is_known() {
        let mut answer = Response::new(Body::empty());
        tell(&mut answer, None);
        assert!(answer.headers().get(AGE_HEADER).is_none());
        tell(&mut answer, Some(250));
        assert_eq!(answer.headers()[AGE_HEADER], "250");
    }
}
