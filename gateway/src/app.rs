//! The data plane put together: bind early, serve late, in the order of this file.
//!
//! Listeners are bound and the store is opened before anything is promised; workers serve whatever the store held from
//! their first moment; sync, store and status live on a thread of their own, and no request ever waits for them.

use crate::access_log::AccessLog;
use crate::bundle::{self, take::TakeError};
use crate::config::{self, Config};
use crate::counters::Counters;
use crate::declarative;
use crate::dns::{Resolver, Ttl};
use crate::listen::{self, Bound, Limits, Workers};
use crate::opening::{Place, Tried};
use crate::proxy::Shared;
use crate::snapshot::{Live, Snapshot};
use crate::state::{self, Meta, Source};
use crate::status::{self, Facts, StoreFacts};
use crate::sync::apply::Applier;
use crate::sync::staging::Staging;
use crate::sync::status::Reporter;
use crate::sync::task;
use model::Id;
use os::{Exit, ExitError};
use pki::ServerConfig;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use store::{CommitError, Deadlines, OpenError, Store};
use tokio::sync::watch;
use tokio::task::LocalSet;
use wire::dp::Identity;

/// Runs the data plane until it is told to stop.
///
/// # Errors
/// Whatever keeps it from starting, with the exit code that says what sort of thing that is.
pub fn run(config: Config) -> Result<(), ExitError> {
    let _log = os::log::init("edge-gateway", config.log_level).map_err(|error| ExitError::from_io("log", &error))?;
    if let Err(error) = os::host::raise_open_files() {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    let proxies = bind_proxy(&config)?;
    let statuses = bind_status(&config.status_listen)?;
    let prefix = |path: &Path, error: &std::io::Error| ExitError::from_io(format!("prefix: {}", path.display()), error);
    let node = match std::fs::create_dir_all(&config.prefix) {
        Ok(()) => os::node_id::load_or_create(&config.prefix),
        Err(error) if os::file::is_of_the_disk(&error) => os::node_id::for_this_run(&config.prefix, &error),
        Err(error) => return Err(prefix(&config.prefix, &error)),
    };
    let node = node.map_err(|error| prefix(&error.path, &error.error))?;
    let content = content(&config)?;

    let live = Arc::new(Live::new(content.snapshot));
    let snapshot = live.snapshot();
    tracing::info!(
        epoch = format!("{:016x}", snapshot.epoch),
        version = snapshot.version,
        entities = snapshot.catalog().len(),
        "configuration loaded"
    );
    let (stop, stopping) = watch::channel(false);
    let access_log = access_log(&config.access_log)?;
    let counters = Arc::new(Counters::default());
    let shared = Arc::new(Shared::new(
        live.clone(),
        config.proxy.clone(),
        Resolver::new(Ttl::default()),
        access_log,
        counters.clone(),
    ));
    let tls = tls(&live, &proxies)?;
    let workers = Workers::start(config.workers, &proxies, &shared, tls, Limits::default(), &stopping)
        .map_err(|error| ExitError::from_io("worker", &error))?;

    let Content { store, place, durable, trouble, facts, .. } = content;
    // Here, for what an earlier encryption mode left has to go even where no control plane is set.
    let staging = Staging::open(config.prefix.clone(), config.store_options().encryption);
    let side = Side { node: Id(node), staging, live, counters, content: facts, store, place, durable, trouble };
    side.run(config.cluster, statuses, workers, stop, stopping)
}

/// What a data plane starts from.
struct Content {
    snapshot: Snapshot,
    store: Option<Store>,
    place: Place,
    durable: (u64, u64),
    /// Why what is served is not in the store.
    trouble: Option<String>,
    facts: StoreFacts,
}

/// The store's content; else the declarative file's; else the snapshot bundle's; else nothing. What a control plane sent
/// stays, whatever the file says; what a file brought is replaced when the file has changed. A file that is gone or wrong meanwhile is no reason
/// to stop serving what the store kept of it: it is reported, and what is here serves on.
fn content(config: &Config) -> Result<Content, ExitError> {
    let place = store_place(config);
    let Tried { opened, damage, mut trouble } = place.open().map_err(|error| unopened(&error))?;
    if let Some(error) = &trouble {
        tracing::error!(
            error,
            "the store cannot be opened: what comes is served and not kept; make room on that file system or look after \
             the disk, and the store is opened without a restart"
        );
    }
    let lost = damage.is_some();
    // A content that this version cannot serve may be served by another one: it is not to be replaced by a bundle.
    let holds_nothing = opened.as_ref().is_none_or(|opened| opened.content.is_none() && opened.unserved.is_none());
    let (mut snapshot, mut source) = (Snapshot::empty(), None);
    let (mut store, mut damage) = (None, damage);
    if let Some(opened) = opened {
        damage = damage.or(opened.unserved.map(|why| why.to_string()));
        store = Some(opened.store);
        if let Some((kept, meta)) = opened.content {
            (snapshot, source) = (kept, Some(meta.source));
        }
    }
    if store.as_ref().is_some_and(Store::is_read_only) {
        trouble = Some(CommitError::ReadOnly.to_string());
    }
    let reports = place.options.reports.clone();
    let mut facts = StoreFacts { source, damage, lost, file: None, reports };
    let mut durable = (snapshot.epoch, snapshot.version);
    if let Some(path) = &config.declarative_config
        && source != Some(Source::ControlPlane)
    {
        match changed_file(path, source) {
            Ok(None) => {}
            Ok(Some(file)) => {
                let kept = store.as_mut().map(|store| keep_file(store, &file));
                (snapshot, facts.source) = (file.snapshot, Some(file.source));
                durable = if let Some(Ok(())) = kept { (snapshot.epoch, snapshot.version) } else { (0, 0) };
                if let Some(Err(error)) = kept {
                    tracing::error!(%error, "the declarative file is served but not durable");
                    trouble = Some(error.to_string());
                }
            }
            Err(error) if source.is_none() => return Err(ExitError::config(error.to_string())),
            Err(error) => {
                tracing::error!(%error, "the declarative file is not taken; what the store kept of it serves on");
                facts.file = Some(error.to_string());
            }
        }
    }
    if let Some(path) = &config.snapshot_bundle
        && facts.source.is_none()
        && holds_nothing
        && let Some((taken, failed)) = first_bundle(path, config, store.as_mut())
    {
        (snapshot, facts.source) = (taken, Some(Source::ControlPlane));
        let kept = store.is_some() && failed.is_none();
        durable = if kept { (snapshot.epoch, snapshot.version) } else { (0, 0) };
        trouble = trouble.or(failed);
    }
    Ok(Content { snapshot, store, place, durable, trouble, facts })
}

/// The bundle that the settings name, compiled, and why the store does not have it. One that cannot be taken is reported and
/// keeps nobody from starting: a control plane may have something better.
fn first_bundle(path: &Path, config: &Config, store: Option<&mut Store>) -> Option<(Snapshot, Option<String>)> {
    let failed = |error: &dyn std::fmt::Display| {
        tracing::error!(bundle = %path.display(), %error, "the snapshot bundle is not taken");
    };
    let checked = bundle::check(path, config.membership.as_ref()?, now_s());
    let mut checked = checked.inspect_err(|error| failed(error)).ok()?;
    let taken = match store {
        Some(store) => checked.take(store),
        None => checked.load(&mut |_| Ok(())),
    };
    let (snapshot, why) = match taken {
        Ok(snapshot) => (snapshot, None),
        Err(TakeError::Store(error)) => {
            tracing::error!(%error, "the snapshot bundle is served but not durable");
            let snapshot = checked.load(&mut |_| Ok(())).inspect_err(|error| failed(error)).ok()?;
            (snapshot, Some(error.to_string()))
        }
        Err(error) => {
            failed(&error);
            return None;
        }
    };
    let vouched = bundle::vouched(&checked.header, &checked.proof);
    tracing::info!(bundle = %path.display(), %vouched, "begun with a snapshot bundle");
    Some((snapshot, why))
}

/// The declarative file, compiled, unless it is the one that the store's content came from.
fn changed_file(path: &Path, kept: Option<Source>) -> Result<Option<declarative::File>, declarative::FileError> {
    let bytes = declarative::bytes(path)?;
    if kept == Some(declarative::source(&bytes)) {
        return Ok(None);
    }
    declarative::compile(path, bytes).map(Some)
}

fn store_place(config: &Config) -> Place {
    let options = store::Options {
        // What is lost comes again: the control plane sees at hello that this node has fallen behind.
        salvage: true,
        progress: store::Progress::new(|records, of| {
            tracing::info!(records, of, "reading the store");
            os::notify::status(&format!("reading the store: {records} of {of} records"));
        }),
        ..config.store_options()
    };
    Place { dir: config.store_dir(), options }
}

fn unopened(error: &OpenError) -> ExitError {
    let exit = match error {
        OpenError::Permission(_) => Exit::Permission,
        OpenError::Locked(_) => Exit::Unavailable,
        OpenError::NoKey(_) | OpenError::WrongKey(_) => Exit::Config,
        _ => Exit::Io,
    };
    ExitError::new(exit, format!("prefix: {error}"))
}

fn keep_file(store: &mut Store, file: &declarative::File) -> Result<(), store::CommitError> {
    let mut replacement = store.replace()?;
    for record in &file.records {
        replacement.put(state::key(record.kind, record.id), &state::value(record))?;
    }
    replacement.finish(&Meta::of(&file.snapshot, file.source).to_bytes())
}

fn bind_proxy(config: &Config) -> Result<Vec<Bound>, ExitError> {
    let bound = listen::bind(&config.proxy_listen);
    let bound = bound.map_err(|error| ExitError {
        message: format!("proxy_listen: {error}"),
        ..ExitError::from_io("", &error.source)
    })?;
    for bound in &bound {
        let listener = if bound.over_tls { "proxy_ssl" } else { "proxy" };
        tracing::info!(listener, address = %bound.address, "listening");
    }
    Ok(bound)
}

fn bind_status(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, ExitError> {
    let bind = |address: &SocketAddr| {
        let bound = TcpListener::bind(address).and_then(|bound| {
            bound.set_nonblocking(true)?;
            let address = bound.local_addr()?;
            tracing::info!(listener = "status", %address, "listening");
            Ok(bound)
        });
        bound.map_err(|error| ExitError::from_io(format!("status_listen: cannot listen on {address}"), &error))
    };
    addresses.iter().map(bind).collect()
}

fn access_log(setting: &config::AccessLog) -> Result<Option<AccessLog>, ExitError> {
    let opened = match setting {
        config::AccessLog::Off => return Ok(None),
        config::AccessLog::Stdout => AccessLog::to(std::io::stdout()).map(Some),
        config::AccessLog::File(path) => AccessLog::open(&path.display().to_string()),
    };
    opened.map_err(|error| ExitError::from_io("proxy_access_log", &error))
}

/// TLS towards clients, if any listener wants it: certificates by SNI from whatever is served at that moment, and one
/// of our own making where none fits.
fn tls(live: &Arc<Live>, listeners: &[Bound]) -> Result<Option<Arc<ServerConfig>>, ExitError> {
    if !listeners.iter().any(|listener| listener.over_tls) {
        return Ok(None);
    }
    let failed = |error: pki::PkiError| ExitError::internal(format!("TLS: {error}"));
    let fallback = pki::issue::fallback(now_s()).map_err(failed)?;
    let live = live.clone();
    let resolve = move |name: Option<&str>| {
        let snapshot = live.load();
        let found = name.and_then(|name| snapshot.certificate_for(name).cloned());
        Some(found.unwrap_or_else(|| fallback.clone()))
    };
    pki::proxy_server(resolve, &[b"http/1.1"]).map(Some).map_err(failed)
}

/// Everything beside the request path: sync, store and status.
struct Side {
    node: Id,
    staging: Staging,
    live: Arc<Live>,
    counters: Arc<Counters>,
    content: StoreFacts,
    store: Option<Store>,
    place: Place,
    durable: (u64, u64),
    trouble: Option<String>,
}

impl Side {
    /// Runs on the calling thread until a signal comes.
    fn run(
        self,
        cluster: Option<config::Cluster>,
        statuses: Vec<TcpListener>,
        workers: Workers,
        stop: watch::Sender<bool>,
        stopping: watch::Receiver<bool>,
    ) -> Result<(), ExitError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| ExitError::from_io("runtime", &error))?;
        LocalSet::new().block_on(&runtime, self.serve(cluster, statuses, workers, stop, stopping))
    }

    async fn serve(
        self,
        cluster: Option<config::Cluster>,
        statuses: Vec<TcpListener>,
        workers: Workers,
        stop: watch::Sender<bool>,
        stopping: watch::Receiver<bool>,
    ) -> Result<(), ExitError> {
        let mut signals = os::signals::Signals::listen().map_err(|error| ExitError::from_io("signals", &error))?;
        let reporter = Reporter::default();
        let facts = Rc::new(Facts {
            live: self.live.clone(),
            reporter: reporter.clone(),
            node: self.node,
            hostname: os::host::hostname(),
            has_control_plane: cluster.is_some(),
            certificate_expires_at: cluster.as_ref().map(|cluster| cluster.identity.validity().not_after),
            store: self.content,
            draining: AtomicBool::new(false),
            counters: self.counters,
        });
        // The Status API says "draining" for as long as workers finish what they have begun.
        let drained = watch::Sender::new(false);
        for listener in statuses {
            let listener = tokio::net::TcpListener::from_std(listener);
            let listener = listener.map_err(|error| ExitError::from_io("status_listen", &error))?;
            tokio::task::spawn_local(status::serve(listener, facts.clone(), drained.subscribe()));
        }
        let store = self.store.map(|store| store::Thread::start(store, Deadlines::default())).transpose();
        let store = store.map_err(|error| ExitError::from_io("store thread", &error))?;
        let limit = cluster.as_ref().map(|cluster| cluster.shrink_limit).unwrap_or_default();
        let applier = Applier::new(self.live.clone(), store, self.durable).with_limit(limit).with_place(self.place);
        let applier = applier.in_trouble_from_the_start(self.trouble).after_a_loss(facts.store.lost);
        applier.tell(&reporter);
        let sync = match cluster {
            None => {
                tokio::task::spawn_local(task::recover(applier, reporter, stopping));
                None
            }
            Some(cluster) => {
                let settings = sync_settings(self.node, self.staging, cluster);
                Some(tokio::task::spawn_local(task::run(settings, applier, reporter, stopping)))
            }
        };
        os::notify::ready();
        tracing::info!(version = env!("CARGO_PKG_VERSION"), node = %self.node, "data plane ready");
        let watchdog = os::notify::watchdog_interval();
        loop {
            tokio::select! {
                signal = signals.stop() => {
                    tracing::info!(?signal, "stopping");
                    break;
                }
                () = pause(watchdog) => os::notify::alive(),
            }
        }
        os::notify::stopping();
        facts.draining.store(true, Ordering::Relaxed);
        stop.send_replace(true);
        let ended = match sync {
            None => Ok(()),
            Some(sync) => match sync.await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(ExitError::config(format!("this node's settings break the protocol: {error}"))),
                Err(error) => Err(ExitError::internal(format!("sync: {error}"))),
            },
        };
        let joined = tokio::task::spawn_blocking(move || workers.join()).await;
        drained.send_replace(true);
        joined.map_err(|error| ExitError::internal(format!("workers: {error}"))).and(ended)
    }
}

fn sync_settings(node: Id, staging: Staging, cluster: config::Cluster) -> task::Settings {
    let mut identity = Identity::of_this_build(node, os::host::hostname(), env!("CARGO_PKG_VERSION").to_owned());
    identity.labels = cluster.labels;
    identity.incremental = cluster.incremental;
    identity.features |= wire::Hello::CONFIRM | wire::Hello::RECONCILE | wire::Hello::OVERTAKE;
    task::Settings {
        control_planes: cluster.control_planes,
        proxy: cluster.proxy,
        heartbeat: cluster.heartbeat,
        client: cluster.client,
        identity,
        staging,
    }
}

async fn pause(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Seconds since 1970, by this machine's clock.
pub(crate) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}
