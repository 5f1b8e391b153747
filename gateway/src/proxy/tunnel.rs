//! After `101 Switching Protocols`: bytes both ways until one side is done or nothing has moved for too long.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};

/// Bytes buffered per direction.
const BUFFER_BYTES: usize = 8 * 1024;

/// Joins the two sides once both have switched. `idle_max` is how long nothing may move (Kong: the service's
/// `read_timeout`).
pub(super) async fn join<D: Future>(client: OnUpgrade, upstream: OnUpgrade, driver: Option<D>, idle_max: Duration) {
    let both = async {
        let (client, upstream) = tokio::try_join!(client, upstream).ok()?;
        let moved = Rc::new(Cell::new(0_u64));
        let mut client = Counted { io: TokioIo::new(client), moved: moved.clone() };
        let mut upstream = Counted { io: TokioIo::new(upstream), moved: moved.clone() };
        tokio::select! {
            ended = copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER_BYTES, BUFFER_BYTES) => ended.ok(),
            () = stands_still(&moved, idle_max) => None,
        }
    };
    let drive = async {
        if let Some(driver) = driver {
            driver.await;
        }
    };
    tokio::join!(drive, both);
}

/// Ends when nothing has moved for between once and twice `idle_max`.
async fn stands_still(moved: &Cell<u64>, idle_max: Duration) {
    loop {
        let before = moved.get();
        tokio::time::sleep(idle_max).await;
        if moved.get() == before {
            return;
        }
    }
}

/// Counts the bytes read from either side.
struct Counted<T> {
    io: T,
    moved: Rc<Cell<u64>>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.io).poll_read(cx, buf);
        self.moved.set(self.moved.get() + (buf.filled().len() - before) as u64);
        result
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
