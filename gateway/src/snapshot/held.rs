//! Entities by id, in the form that requests use: what plugins that are told of a change look at.

use super::Snapshot;
use super::entities::{Consumer, Instance, JwtSecret, KeyauthCredential, Service, Sni, Target, Upstream};
use crate::router::CompiledRoute;
use model::{Id, Kind};
use pki::CertifiedKey;
use std::sync::Arc;

/// The form in which a snapshot holds entities of one kind.
pub trait Held: Sized + 'static {
    /// Which kind.
    const KIND: Kind;
    /// The entity, if it is held.
    fn of(snapshot: &Snapshot, id: Id) -> Option<&Self>;
}

macro_rules! held {
    ($($kind:ident: $form:ty = $field:ident,)*) => {$(
        impl Held for $form {
            const KIND: Kind = Kind::$kind;

            fn of(snapshot: &Snapshot, id: Id) -> Option<&Self> {
                snapshot.$field.get(id.0)
            }
        }
    )*};
}

held! {
    Service: Arc<Service> = services,
    Route: Arc<CompiledRoute> = routes,
    Consumer: Arc<Consumer> = consumers,
    Plugin: Arc<Instance> = instances,
    Upstream: Arc<Upstream> = upstreams,
    Target: Arc<Target> = targets,
    Certificate: Arc<CertifiedKey> = certificates,
    Sni: Sni = snis,
    CaCertificate: Arc<str> = ca_certificates,
    KeyauthCredential: Arc<KeyauthCredential> = keyauth,
    JwtSecret: Arc<JwtSecret> = jwt,
}
