//! One HTTP/1.1 connection and the future that drives it. Nobody spawns that future: whoever waits for an answer or for
//! more of its body drives it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use hyper::client::conn::http1::{Connection, SendRequest};

use crate::{
    outgoing::Outgoing,
    stamped::{SharedTape, Stamped},
};

/// A connection that can carry one request at a time.
pub(crate) struct Link {
    pub(crate) sender: SendRequest<Outgoing>,
    /// `None` when it has ended.
    driver: Option<Connection<Stamped, Outgoing>>,
    pub(crate) tape: SharedTape,
    /// Whether it carried a request before: the server may have closed it since.
    pub(crate) used: bool,
}

impl Link {
    pub(crate) async fn open(stamped: Stamped) -> hyper::Result<Self> {
        let tape = stamped.tape();
        let (sender, driver) = hyper::client::conn::http1::Builder::new()
            // A line of a hostile server may be long; the decoders have limits of their own.
            .max_buf_size(128 * 1024)
            .handshake(stamped)
            .await?;
        Ok(Self { sender, driver: Some(driver), tape, used: false })
    }

    /// Moves bytes. An error of the connection also reaches whoever waits for the answer, so it is not kept here.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && let Poll::Ready(_) = Pin::new(driver).poll(cx)
        {
            self.driver = None;
        }
    }

    /// Whether another request can be sent, as far as can be seen without waiting.
    pub(crate) fn is_usable(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.drive(&mut cx);
        self.driver.is_some() && self.sender.is_ready()
    }
}
