//! The whole configuration as a file, for `cp-lite config export` and `cp-lite backup`. Not Kong's. Both are of one version,
//! whatever is written meanwhile: a view does not change, and nobody waits for whoever reads it.

use super::App;
use super::problem::Problem;
use super::reply::Reply;
use crate::backup;

/// `GET /config/bundle`: a signed snapshot bundle (platform/wire/BUNDLE.md).
pub(super) async fn bundle(app: &App) -> Result<Reply, Problem> {
    let Some(bundles) = &app.bundles else { return Err(Problem::NotFound) };
    let made = bundles.make(u64::try_from(app.now_s()).unwrap_or(0)).await;
    let bundle = made.map_err(|error| Problem::BadRequest(error.to_string()))?;
    let length = bundle.head.len() + bundle.blob.len();
    Ok(Reply::file(Box::new([bundle.head, bundle.blob].into_iter()), Some(length)))
}

/// `GET /config/backup`: all entities, for `cp-lite restore`.
pub(super) fn backup(app: &App) -> Reply {
    Reply::file(Box::new(backup::Pieces::of(app.changelog.view())), None)
}
