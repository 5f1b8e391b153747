//! A link that reads along: it ends TLS on both sides with the cluster's certificate and keeps every byte of the protocol.

use crate::lab::Lab;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What has passed over the one connection that a tap takes.
pub struct Tap {
    address: SocketAddr,
    to_cp: Arc<Mutex<Vec<u8>>>,
    to_dp: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    /// Listens for one data plane of the lab's cluster, on its way to the control plane there.
    ///
    /// # Panics
    /// When the lab has no certificate or the machine no port.
    #[must_use]
    pub fn to(lab: &Lab, cluster: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("an address");
        let path = |name: &str| lab.path().join(name).display().to_string();
        let identity = pki::ClusterIdentity::load(&path("cluster.crt"), &path("cluster.key")).expect("the certificate");
        let server = pki::ClusterServer::new(&identity, pki::Mtls::Shared).expect("a server");
        let client = pki::ClusterClient::new(&identity, pki::Mtls::Shared, None).expect("a client");
        let tap = Self { address, to_cp: Arc::default(), to_dp: Arc::default() };
        let (to_cp, to_dp) = (tap.to_cp.clone(), tap.to_dp.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                let (down, _) = listener.accept().await.expect("a data plane");
                let down = TlsAcceptor::from(server.config().clone()).accept(down).await.expect("TLS");
                let up = tokio::net::TcpStream::connect(cluster).await.expect("a control plane");
                let name = client.server_name("localhost").expect("a name");
                let up = TlsConnector::from(client.config().clone()).connect(name, up).await.expect("TLS");
                let ((down_in, down_out), (up_in, up_out)) = (tokio::io::split(down), tokio::io::split(up));
                tokio::join!(copy(down_in, up_out, to_cp), copy(up_in, down_out, to_dp));
            });
        });
        tap
    }

    /// Where the data plane has to connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the data plane has said so far.
    #[must_use]
    pub fn to_cp(&self) -> Vec<u8> {
        lock(&self.to_cp).clone()
    }

    /// What the control plane has said so far.
    #[must_use]
    pub fn to_dp(&self) -> Vec<u8> {
        lock(&self.to_dp).clone()
    }
}

async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, kept: Arc<Mutex<Vec<u8>>>) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count) = from.read(&mut bytes).await
        && count > 0
    {
        lock(&kept).extend_from_slice(&bytes[..count]);
        if to.write_all(&bytes[..count]).await.is_err() || to.flush().await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

fn lock(kept: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
