//! A node made by hand: whatever HELLO a test wants, and what the control plane answers, message by message.

use crate::lab::Lab;
use model::Id;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use wire::dp::Identity;
use wire::frame::Decoder;
use wire::message::{CODEC_RAW, Have, KindVersion, Message};
use wire::{Hello, PluginVersion};

/// A node that knows all kinds and plugins of this build, and these features.
#[must_use]
pub fn identity(id: Id, hostname: &str, features: u64) -> Identity {
    let mut identity = Identity::of_this_build(id, hostname.to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    identity.features = features;
    identity
}

/// A connection of a member of the cluster that a test speaks on.
pub struct Node {
    stream: rustls::StreamOwned<rustls::ClientConnection, TcpStream>,
    decoder: Decoder,
    unread: Vec<u8>,
    /// Everything that came, as it came.
    pub received: Vec<u8>,
    /// Everything that was sent.
    pub sent: Vec<u8>,
}

impl Node {
    /// Connects with the lab's cluster certificate.
    ///
    /// # Panics
    /// When there is no control plane.
    #[must_use]
    pub fn connect(lab: &Lab, cluster: SocketAddr) -> Self {
        let path = |name: &str| lab.path().join(name).display().to_string();
        let identity = pki::ClusterIdentity::load(&path("cluster.crt"), &path("cluster.key")).expect("the certificate");
        let client = pki::ClusterClient::new(&identity, pki::Mtls::Shared, None).expect("a client");
        let name = client.server_name("localhost").expect("a name");
        let connection = rustls::ClientConnection::new(Arc::clone(client.config()), name).expect("a connection");
        let stream = TcpStream::connect(cluster).expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
        let stream = rustls::StreamOwned::new(connection, stream);
        Self { stream, decoder: Decoder::new(), unread: Vec::new(), received: Vec::new(), sent: Vec::new() }
    }

    /// Sends a message.
    ///
    /// # Panics
    /// When the connection has ended.
    pub fn send(&mut self, message: &Message) {
        self.send_bytes(&message.encode());
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// When the connection has ended.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).expect("the connection lives");
        self.sent.extend_from_slice(bytes);
    }

    /// The next message; none when the connection has ended.
    ///
    /// # Panics
    /// When what comes is no message, or nothing comes for a minute.
    pub fn receive(&mut self) -> Option<Message> {
        loop {
            let mut rest = self.unread.as_slice();
            let frame = self.decoder.next(&mut rest).expect("a frame");
            let used = self.unread.len() - rest.len();
            if let Some(frame) = frame {
                let message = Message::decode(frame).expect("a message");
                self.unread.drain(..used);
                match message {
                    Some(message) => return Some(message),
                    None => continue,
                }
            }
            self.unread.drain(..used);
            let mut bytes = [0; 4096];
            let count = match self.stream.read(&mut bytes) {
                Ok(count) => count,
                Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => 0,
                Err(error) => panic!("nothing came: {error}"),
            };
            if count == 0 {
                return None;
            }
            self.unread.extend_from_slice(&bytes[..count]);
            self.received.extend_from_slice(&bytes[..count]);
        }
    }
}

/// The HELLO of an empty node that knows and has what this build knows and has.
#[must_use]
pub fn hello(id: model::Id, software: &str) -> Hello {
    let kind = |def: &&model::kind::KindDef| KindVersion { kind: def.kind.code(), body: def.body_version };
    let plugin = |def: &&model::plugins::PluginDef| PluginVersion {
        name: def.name.to_owned(),
        version: Some(def.version.to_owned()),
    };
    Hello {
        proto_min: wire::PROTO,
        proto_max: wire::PROTO,
        node: id,
        hostname: "by-hand".to_owned(),
        software: software.to_owned(),
        kinds: model::kind::ALL.iter().map(kind).collect(),
        plugins: model::plugins::all().iter().map(plugin).collect(),
        labels: Vec::new(),
        have: Have::default(),
        incremental: true,
        codecs: vec![CODEC_RAW],
        heartbeat_s: 0,
        status: 0,
        partial: None,
        features: 0,
        term: 0,
    }
}
