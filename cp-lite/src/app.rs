//! The control plane put together: everything is bound and opened before anything is served, in the order of this file.
//!
//! The main thread serves the Admin API and waits for signals; the cluster port has a thread of its own, so that a
//! thousand nodes and a large import do not wait for each other; the changelog brings its committer's thread.

use crate::admin::{self, App, Counters, NodeInfo, X509};
use crate::changelog::{self, Changelog, Local, Opened, Role, Surprise};
use crate::config::Config;
use crate::expiry::{self, Ends};
use crate::fleet::Fleet;
use crate::planes::Planes;
use crate::sync::admission::Admission;
use crate::sync::{Bundles, Cluster, Sources, follow};
use model::Id;
use os::{Exit, ExitError};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::LocalSet;

/// How often nodes that have been away for too long are forgotten.
const PURGE_EVERY: Duration = Duration::from_secs(60);

/// Runs the control plane until it is told to stop.
///
/// # Errors
/// Whatever keeps it from starting, with the exit code that says what sort of thing that is.
pub fn run(config: Config) -> Result<(), ExitError> {
    let _log = os::log::init("cp-lite", config.log_level).map_err(|error| ExitError::from_io("log", &error))?;
    if let Err(error) = os::host::raise_open_files() {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    let admin = bind("admin_listen", "admin", &config.admin_listen)?;
    let cluster = bind("cluster_listen", "cluster", &config.cluster_listen)?;
    std::fs::create_dir_all(&config.prefix)
        .map_err(|error| ExitError::from_io(format!("prefix: {}", config.prefix.display()), &error))?;
    let node = os::node_id::load_or_create(&config.prefix)
        .map_err(|error| ExitError::from_io(format!("prefix: {}", error.path.display()), &error.error))?;
    let opened = Local::open_as(&config.store_dir(), config.store_options(), &config.writers);
    let Opened { changelog, nodes: rows, surprise } = opened.map_err(|error| unopened(&error))?;
    tell(surprise, &config.writers);
    let changelog: Arc<dyn Changelog> = Arc::new(changelog);
    let planes = Arc::new(Planes::called(config.writers.clone(), config.address.clone()));
    let fleet = Arc::new(Fleet::new(config.purge_delay_s));
    fleet.restore(rows);

    let (stop, stopping) = watch::channel(false);
    let view = changelog.view();
    tracing::info!(
        epoch = format!("{:016x}", view.epoch),
        version = view.version,
        entities = view.catalog.len(),
        role = view.role.name(),
        "configuration loaded"
    );
    let following = match view.role {
        Role::Writer => None,
        Role::Follower => Some(start_following(&config, Id(node), &changelog, &planes, stopping.clone())?),
    };
    let sessions = sessions(&config, Id(node), &changelog, (&fleet, &planes))?;
    let bundles = Bundles::new(sessions.sources.clone(), config.identity.clone(), cluster_id(&config));
    let cluster = std::thread::Builder::new()
        .name("cluster".to_owned())
        .spawn(move || serve_cluster(sessions, cluster, stopping))
        .map_err(|error| ExitError::from_io("cluster thread", &error))?;
    let app = Arc::new(App {
        changelog: changelog.clone(),
        fleet: fleet.clone(),
        planes,
        node: NodeInfo {
            id: Id(node),
            hostname: os::host::hostname(),
            version: env!("CARGO_PKG_VERSION"),
            configuration: config.shown.clone(),
        },
        certificates: Some(Box::new(X509)),
        bundles: Some(bundles),
        now_ms,
        counters: Counters::default(),
    });
    let served = runtime("admin").and_then(|runtime| runtime.block_on(serve_admin(app, admin, stop.clone())));
    stop.send_replace(true);
    if cluster.join().is_err() {
        return Err(ExitError::internal("the thread of the cluster port panicked"));
    }
    if following.is_some_and(|following| following.join().is_err()) {
        return Err(ExitError::internal("the thread that follows the writer panicked"));
    }
    served
}

/// Says why the role is another one than the settings suggest, or than it was.
fn tell(surprise: Option<Surprise>, writers: &[String]) {
    let writers = writers.join(", ");
    match surprise {
        None => {}
        Some(Surprise::Promoted) => tracing::warn!(
            cluster_control_plane = writers,
            "this control plane was promoted over the writers in its settings, and stays the writer until they change"
        ),
        Some(Surprise::Demoted) => tracing::warn!(
            cluster_control_plane = writers,
            "this control plane was the writer and follows now; what nobody else has of its configuration will be gone"
        ),
        Some(Surprise::Orphaned) => tracing::warn!(
            "this control plane has followed another one, and cluster_control_plane names none: it takes no changes; \
             \"cp-lite promote\" makes it the writer"
        ),
    }
}

/// Follows the writer on a thread of its own: taking over a large configuration keeps no data plane waiting.
fn start_following(
    config: &Config,
    node: Id,
    changelog: &Arc<dyn Changelog>,
    planes: &Arc<Planes>,
    stop: watch::Receiver<bool>,
) -> Result<std::thread::JoinHandle<()>, ExitError> {
    let settings = follow::Settings {
        client: config.client.clone(),
        identity: follow::identity(node, os::host::hostname(), config.incremental),
        changelog: changelog.clone(),
        planes: planes.clone(),
        limit: config.shrink_limit,
    };
    let follow = move || {
        let Ok(runtime) = runtime("follow") else { return };
        if let Err(error) = runtime.block_on(follow::run(settings, stop)) {
            tracing::error!(%error, "cannot follow: what this machine says of itself breaks the protocol");
        }
    };
    let thread = std::thread::Builder::new().name("follow".to_owned()).spawn(follow);
    thread.map_err(|error| ExitError::from_io("follow thread", &error))
}

/// Everything that a session needs, made on the main thread so that mistakes end the start.
struct Sessions {
    sources: Arc<Sources>,
    fleet: Arc<Fleet>,
    planes: Arc<Planes>,
    id: Id,
    server: pki::ClusterServer,
    config: Arc<wire::cp::Config>,
    admission: Admission,
}

fn sessions(
    config: &Config,
    node: Id,
    changelog: &Arc<dyn Changelog>,
    (fleet, planes): (&Arc<Fleet>, &Arc<Planes>),
) -> Result<Sessions, ExitError> {
    let server = pki::ClusterServer::new(&config.identity, config.mtls.clone());
    let server = server.map_err(|error| ExitError::config(format!("cluster_cert: {error}")))?;
    let mut cluster = wire::cp::Config::new(cluster_id(config), env!("CARGO_PKG_VERSION").to_owned());
    cluster.incremental = config.incremental;
    Ok(Sessions {
        sources: Arc::new(Sources::new(changelog.clone(), resting_place(config))),
        fleet: fleet.clone(),
        planes: planes.clone(),
        id: node,
        server,
        config: Arc::new(cluster),
        admission: Admission::new(config.bounds.0, config.bounds.1),
    })
}

/// Where what is only for a while may be in files: nowhere, if what is on disk has to be encrypted.
fn resting_place(config: &Config) -> Option<PathBuf> {
    let is_plain = config.store_options().encryption.mode == store::Mode::Off;
    is_plain.then(|| config.prefix.clone())
}

/// Whoever shares the certificate is of one cluster: the certificate names it.
fn cluster_id(config: &Config) -> Id {
    Id::from_bytes(config.identity.cluster())
}

fn serve_cluster(sessions: Sessions, listeners: Vec<TcpListener>, stop: watch::Receiver<bool>) {
    let Ok(runtime) = runtime("cluster") else { return };
    let Sessions { sources, fleet, planes, id, server, config, admission } = sessions;
    let cluster = Rc::new(Cluster::new(sources, (fleet, planes), id, server, config, admission));
    LocalSet::new().block_on(&runtime, async move {
        let mut tasks = vec![tokio::task::spawn_local(cluster.clone().balance(stop.clone()))];
        for listener in listeners.into_iter().filter_map(attached) {
            tasks.push(tokio::task::spawn_local(cluster.clone().run(listener, stop.clone())));
        }
        for task in tasks {
            let _ = task.await;
        }
        cluster.drained().await;
    });
}

async fn serve_admin(app: Arc<App>, listeners: Vec<TcpListener>, stop: watch::Sender<bool>) -> Result<(), ExitError> {
    let mut signals = os::signals::Signals::listen().map_err(|error| ExitError::from_io("signals", &error))?;
    let mut tasks = Vec::new();
    for listener in listeners.into_iter().filter_map(attached) {
        let mut stopped = stop.subscribe();
        let shutdown = async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        tasks.push(tokio::spawn(admin::serve(app.clone(), listener, shutdown)));
    }
    os::notify::ready();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "control plane ready");
    let scrub = tokio::spawn(scrub(app.changelog.clone()));
    let (mut purge, begun) = (tokio::time::interval(PURGE_EVERY), Instant::now());
    let (mut ended, mut ends) = (tokio::time::interval(expiry::EVERY), Ends::default());
    let watchdog = os::notify::watchdog_interval();
    loop {
        tokio::select! {
            signal = signals.stop() => {
                tracing::info!(?signal, "stopping");
                break;
            }
            _ = purge.tick() => forget_old_nodes(&app, begun.elapsed()).await,
            _ = ended.tick(), if app.changelog.view().role == Role::Writer => expiry::sweep(&mut ends, &*app.changelog, (app.now_ms)().div_euclid(1000)).await,
            () = pause(watchdog) => os::notify::alive(),
        }
    }
    os::notify::stopping();
    scrub.abort();
    stop.send_replace(true);
    for task in tasks {
        let _ = task.await;
    }
    Ok(())
}

/// Has the database looked through, piece by piece, for as long as this control plane runs.
async fn scrub(changelog: Arc<dyn Changelog>) {
    while let Some(due) = changelog.scrub().await {
        tokio::time::sleep_until(due.into()).await;
    }
}

async fn forget_old_nodes(app: &App, passed: Duration) {
    for node in app.fleet.purge((app.now_ms)().div_euclid(1000), passed) {
        tracing::info!(%node, "node forgotten: not heard of for longer than cluster_data_plane_purge_delay");
        let _ = app.changelog.note(node, None).await;
    }
}

async fn pause(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

fn bind(key: &str, listener: &'static str, addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, ExitError> {
    let bind = |address: &SocketAddr| {
        let bound = TcpListener::bind(address).and_then(|bound| {
            bound.set_nonblocking(true)?;
            os::host::deepen_backlog(&bound)?;
            let address = bound.local_addr()?;
            tracing::info!(listener, %address, "listening");
            Ok(bound)
        });
        bound.map_err(|error| ExitError::from_io(format!("{key}: cannot listen on {address}"), &error))
    };
    addresses.iter().map(bind).collect()
}

/// A listener within the runtime that calls this.
fn attached(listener: TcpListener) -> Option<tokio::net::TcpListener> {
    tokio::net::TcpListener::from_std(listener).inspect_err(|error| tracing::error!(%error, "a listener is lost")).ok()
}

fn runtime(name: &str) -> Result<Runtime, ExitError> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ExitError::from_io(format!("{name} runtime"), &error))
}

/// The error of a store that cannot be opened, with the exit code that fits.
pub(crate) fn unopened(error: &changelog::OpenError) -> ExitError {
    let exit = match error {
        changelog::OpenError::Store(store::OpenError::Permission(_)) => Exit::Permission,
        changelog::OpenError::Store(store::OpenError::Locked(_)) => Exit::Unavailable,
        changelog::OpenError::Store(store::OpenError::NoKey(_) | store::OpenError::WrongKey(_)) => Exit::Config,
        _ => Exit::Io,
    };
    ExitError::new(exit, format!("prefix: {error}"))
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis());
    i64::try_from(now).unwrap_or(i64::MAX)
}
