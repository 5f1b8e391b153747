//! `config dump`: the control plane's whole configuration as a declarative file.

use super::admin_client::AdminClient;
use super::{block_on, deliver, layout, output_format};
use model::declarative::{Detail, Format, Preamble, Style, write};
use os::exit::ExitError;
use std::io::Write;
use std::path::Path;

/// What to dump, and how.
#[derive(Debug, Clone, Copy)]
pub struct Dump<'a> {
    /// Where the Admin API is.
    pub admin_url: &'a str,
    /// The file to write, readable by its owner only; the sink where there is none.
    pub output: Option<&'a Path>,
    /// The format to write; where not given, as `output` ends, else YAML.
    pub format: Option<Format>,
    /// One list per kind, in place of children below their parents.
    pub flat: bool,
    /// Without defaults, times, and ids that follow from names.
    pub terse: bool,
}

/// Dumps. All of it is of one version of the configuration.
///
/// # Errors
/// The Admin API cannot be reached (69) or answers with an error, or the file cannot be written.
pub fn dump(args: &Dump<'_>, out: &mut dyn Write) -> Result<(), ExitError> {
    let current = block_on(async { AdminClient::new(args.admin_url)?.configuration().await })?;
    let format = output_format(args.format, args.output, Format::Yaml);
    let detail = if args.terse { Detail::Terse } else { Detail::Complete };
    let style = Style { layout: layout(args.flat), format, detail };
    deliver(&write(current.entities, &Preamble::default(), style), args.output, out)
}
