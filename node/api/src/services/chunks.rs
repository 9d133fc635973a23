//! A file that is written in pieces of any size, as messages of bounded size.

use std::pin::Pin;

use comity_app::AppError;
use futures::stream::{BoxStream, try_unfold};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use tonic::Status;

use crate::connection::Lifetime;
use crate::status;

/// How much of a file goes into one message, in bytes.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;

/// What a streaming RPC answers.
pub(crate) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Gathers pieces into chunks of [`CHUNK_BYTES`], the last of which may be smaller.
pub(crate) fn chunks(
    pieces: impl Stream<Item = Result<Vec<u8>, AppError>> + Send + 'static,
) -> impl Stream<Item = Result<Vec<u8>, Status>> + Send {
    let pieces: BoxStream<'static, _> = pieces.boxed();
    try_unfold((pieces, Vec::new()), |(mut pieces, mut gathered)| async move {
        while gathered.len() < CHUNK_BYTES {
            match pieces.try_next().await? {
                Some(piece) => gathered.extend(piece),
                None if gathered.is_empty() => return Ok(None),
                None => break,
            }
        }
        let rest = gathered.split_off(gathered.len().min(CHUNK_BYTES));
        Ok(Some((gathered, (pieces, rest))))
    })
    .map_err(status::of)
}

/// A stream that ends when its connection does.
pub(crate) fn within<T: Send + 'static>(
    lifetime: Lifetime,
    stream: impl Stream<Item = Result<T, Status>> + Send + 'static,
) -> Answers<T> {
    Box::pin(stream.take_until(async move { lifetime.over().await }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_lost_between_pieces_and_chunks() {
        let sizes = [0, 10, CHUNK_BYTES, 1, 3 * CHUNK_BYTES + 7, 0, 5];
        let pieces: Vec<Vec<u8>> =
            sizes.iter().enumerate().map(|(n, size)| vec![u8::try_from(n).unwrap(); *size]).collect();
        let whole = pieces.concat();
        let stream = futures::stream::iter(pieces.into_iter().map(Ok));
        let got: Vec<Vec<u8>> = chunks(stream).try_collect().await.unwrap();
        assert_eq!(got.concat(), whole);
        assert!(got.iter().rev().skip(1).all(|chunk| chunk.len() == CHUNK_BYTES));
        let failing = futures::stream::iter([Ok(vec![1]), Err(AppError::NotFound("entry"))]);
        assert!(chunks(failing).try_collect::<Vec<_>>().await.is_err(), "half a file is no file");
    }
}
