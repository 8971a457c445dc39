//! Bodies of requests: bytes in memory, or a file that is read while it is sent, in bounded memory.

use std::{
    fs::File,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use blocking::Unblock;
use bytes::Bytes;
use futures_io::AsyncRead;
use hyper::body::{Body, Frame, SizeHint};

/// Bytes of a file that are read at once.
const PART: usize = 64 * 1024;
/// Bytes of a file that are read ahead.
const AHEAD: usize = 4 * PART;

/// The body of one request.
pub(crate) enum Outgoing {
    /// What is there is sent.
    Whole(Bytes),
    /// So many bytes of a file.
    File { file: Box<Unblock<File>>, left: u64, buffer: Box<[u8]> },
}

impl Outgoing {
    pub(crate) fn file(file: File, length: u64) -> Self {
        let file = Box::new(Unblock::with_capacity(AHEAD, file));
        Self::File { file, left: length, buffer: vec![0; PART].into_boxed_slice() }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::File { left: 0, .. } => Poll::Ready(None),
            Self::File { file, left, buffer } => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                let part = buffer.get_mut(..most).unwrap_or_default();
                let count = ready!(Pin::new(&mut **file).poll_read(cx, part))?;
                if count == 0 {
                    let reason = format!("the file ended {left} bytes before its length");
                    return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason))));
                }
                *left -= count as u64;
                let read = Bytes::copy_from_slice(part.get(..count).unwrap_or_default());
                Poll::Ready(Some(Ok(Frame::data(read))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::File { left, .. } => *left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::File { left, .. } => *left,
        })
    }
}
