//! Calls that are lost, or whose answer is: the caller waits in vain either way, and does not know which it was.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::body::Body;
use tower::{Layer, Service};

use super::{Fate, Network};

/// Lets a node's server feel the weather.
#[derive(Clone)]
pub(crate) struct WeatherLayer(pub(crate) Arc<Network>);

impl<S> Layer<S> for WeatherLayer {
    type Service = Weathered<S>;

    fn layer(&self, inner: S) -> Weathered<S> {
        Weathered { inner, network: Arc::clone(&self.0) }
    }
}

/// A server that feels the weather.
#[derive(Clone)]
pub(crate) struct Weathered<S> {
    inner: S,
    network: Arc<Network>,
}

impl<S> Service<http::Request<Body>> for Weathered<S>
where
    S: Service<http::Request<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Send,
    S::Error: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let fate = self.network.fate();
        // The clone takes the place of the one that was asked whether it is ready.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            if fate == Fate::RequestLost {
                std::future::pending::<()>().await;
            }
            let answer = inner.call(request).await;
            if fate == Fate::AnswerLost {
                std::future::pending::<()>().await;
            }
            answer
        })
    }
}
