//! How old what a node answered is: it says so with answers that it gave from what it had at hand.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tonic::codegen::{Service, http};

/// How long ago the node last knew that its list was the newest.
const AGE_HEADER: &str = "comity-list-age-ms";

/// The oldest answer of one run of the command.
#[derive(Debug, Clone, Default)]
pub(crate) struct Freshness(Arc<AtomicU64>);

impl Freshness {
    /// How old it was; nothing where every answer was the newest.
    pub(crate) fn oldest(&self) -> Option<Duration> {
        let age_ms = self.0.load(Ordering::Relaxed);
        (age_ms > 0).then(|| Duration::from_millis(age_ms))
    }

    fn note(&self, headers: &http::HeaderMap) {
        let age = headers.get(AGE_HEADER).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
        self.0.fetch_max(age.unwrap_or(0), Ordering::Relaxed);
    }
}

/// Calls whose answers' age is noted.
#[derive(Debug, Clone)]
pub(crate) struct Observed<S> {
    calls: S,
    freshness: Freshness,
}

impl<S> Observed<S> {
    pub(crate) fn new(calls: S, freshness: Freshness) -> Self {
        Self { calls, freshness }
    }
}

impl<S, B, R> Service<http::Request<B>> for Observed<S>
where
    S: Service<http::Request<B>, Response = http::Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.calls.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let (answer, freshness) = (self.calls.call(request), self.freshness.clone());
        Box::pin(async move {
            let answer = answer.await;
            if let Ok(response) = &answer {
                freshness.note(response.headers());
            }
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_answer_counts() {
        let freshness = Freshness::default();
        assert_eq!(freshness.oldest(), None);
        for (age, expected) in [("0", None), ("1500", Some(1_500)), ("20", Some(1_500)), ("soon", Some(1_500))] {
            let mut headers = http::HeaderMap::new();
            headers.insert(AGE_HEADER, age.parse().unwrap());
            freshness.note(&headers);
            assert_eq!(freshness.oldest(), expected.map(Duration::from_millis), "{age}");
        }
    }
}
