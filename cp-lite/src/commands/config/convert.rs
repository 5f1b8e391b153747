//! `config convert`: a declarative file of any format as 3.0, in YAML or JSON; a kong.conf as our settings.

use super::{deliver, failed, kong_conf, layout, load, output_format, print, read_text};
use model::declarative::{Detail, Format, Preamble, Style, write};
use os::exit::ExitError;
use std::io::Write;
use std::path::Path;

/// What to convert, and into what.
#[derive(Debug, Clone, Copy)]
pub struct Convert<'a> {
    /// The file to read; `-` for standard input.
    pub file: &'a Path,
    /// The file to write; the sink where there is none.
    pub output: Option<&'a Path>,
    /// The format to write; where not given, as `output` ends, else as the input is.
    pub format: Option<Format>,
    /// One list per kind, in place of children below their parents.
    pub flat: bool,
}

/// Converts. What cannot be carried over is named on `notes` (standard error), never dropped silently.
///
/// # Errors
/// The file has mistakes (78), holds settings only that are not to be had here (1), or cannot be read or written.
pub fn convert(args: &Convert<'_>, out: &mut dyn Write, notes: &mut dyn Write) -> Result<(), ExitError> {
    if args.file.extension().is_some_and(|extension| extension == "conf") {
        return convert_settings(args, out, notes);
    }
    let declared = load(args.file, notes)?;
    let own = Format::of_name(&args.file.to_string_lossy()).unwrap_or(Format::Yaml);
    let format = output_format(args.format, args.output, own);
    let mut entities = Vec::with_capacity(declared.entities.len());
    for entity in &declared.entities {
        let json = entity.json().map_err(|error| ExitError::internal(error.to_string()))?;
        entities.push((entity.kind, without_made(json, &entity.made)));
    }
    let preamble = Preamble { comment: declared.comment.as_deref(), select_tags: &declared.select_tags };
    let text = write(entities, &preamble, Style { layout: layout(args.flat), format, detail: Detail::Explicit });
    deliver(&text, args.output, out)
}

/// Without keys that were made up for this reading only.
fn without_made(mut json: model::body::Object, made: &[&str]) -> model::body::Object {
    json.retain(|name, _| name == "id" || !made.contains(&name.as_str()));
    json
}

fn convert_settings(args: &Convert<'_>, out: &mut dyn Write, notes: &mut dyn Write) -> Result<(), ExitError> {
    let converted = kong_conf::convert(&read_text(args.file)?);
    for note in &converted.notes {
        print(notes, format_args!("{}:{}: {}: {}\n", args.file.display(), note.line, note.key, note.message))?;
    }
    if converted.carried == 0 {
        return Err(failed(format!("{}: no setting in it has a meaning here", args.file.display())));
    }
    deliver(&converted.toml, args.output, out)
}
