//! `config export`: the control plane's configuration as a signed snapshot bundle, for a data plane that has no control plane
//! to ask (platform/wire/BUNDLE.md).

use super::admin_client::AdminClient;
use super::{FILE_MODE, block_on, failed};
use os::exit::ExitError;
use os::file::Replacement;
use pki::Sha256;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;
use wire::bundle::{HEAD_BYTES_MAX, Header, ReadError, read_head};
use wire::limits::BLOB_BYTES_MAX;

/// How much is read at once.
const PIECE_BYTES: usize = 16 * 1024;

/// Writes a bundle of what the control plane at `admin_url` has, durably, and reads it back before it takes its name. Its
/// signature is checked by whoever takes it.
///
/// # Errors
/// The Admin API cannot be reached (69) or answers with an error, or the file cannot be written.
pub fn export(file: &Path, admin_url: &str) -> Result<String, ExitError> {
    let io = |error: io::Error| ExitError::from_io(file.display(), &error);
    let mut replacement = Replacement::begin(file, FILE_MODE).map_err(io)?;
    let client = AdminClient::new(admin_url)?;
    let bytes_max = BLOB_BYTES_MAX + HEAD_BYTES_MAX as u64;
    block_on(client.download("/config/bundle", bytes_max, replacement.file()))?;
    let header = read_back(replacement.file()).map_err(|error| match error {
        ReadError::Io(error) => io(error),
        damage => failed(format!("{}: {damage}", file.display())),
    })?;
    let header = header.ok_or_else(|| failed(format!("{}: what came is not what was signed", file.display())))?;
    let length = replacement.file().metadata().map_err(io)?.len();
    replacement.finish().map_err(io)?;
    Ok(format!(
        "{}: {} entities, version {} of epoch {:016x}, {length} bytes, signed with the cluster key. \
         It holds keys and secrets in the clear.\n",
        file.display(),
        header.count,
        header.version,
        header.epoch,
    ))
}

/// The header of a bundle whose content is what the header says; none if it is not.
fn read_back(file: &mut File) -> Result<Option<Header>, ReadError> {
    file.rewind().map_err(ReadError::Io)?;
    let header = read_head(file)?.header;
    let (mut hash, mut length, mut piece) = (Sha256::default(), 0, vec![0; PIECE_BYTES]);
    loop {
        let count = file.read(&mut piece).map_err(ReadError::Io)?;
        if count == 0 {
            break;
        }
        hash.update(piece.get(..count).unwrap_or_default());
        length += count as u64;
    }
    Ok(Some(header).filter(|header| length == header.bytes && hash.finish() == header.sha256))
}
