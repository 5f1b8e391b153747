//! Gathers settings from everywhere, in order, each layer over the one before.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::file::{self, Said};
use crate::key::{Key, Kind, Value};
use crate::mistake::{Mistake, Origin};
use crate::nearest;
use crate::settings::Settings;

/// The most drop-in files that are read.
pub const DROP_INS_MAX: usize = 256;
/// The largest credential that is read as a value.
const CREDENTIAL_BYTES_MAX: u64 = 64 * 1024;

/// Where a program's settings come from.
pub struct Sources {
    /// The table of settings.
    pub keys: &'static [Key],
    /// What the program's own environment variables begin with, in upper case: `EDGE_GATEWAY` or `CP_LITE`.
    pub prefix: &'static str,
    /// The main file.
    pub file: PathBuf,
    /// Whether somebody asked for this very file, so that it must exist.
    pub file_required: bool,
    /// Where the service manager keeps this service's credentials.
    pub credentials: Option<PathBuf>,
    /// The environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Settings given as flags: the key's name and the text.
    pub flags: Vec<(&'static str, String)>,
}

impl Sources {
    /// Reads all layers. Mistakes are in the result, none ends the reading.
    pub fn read(self) -> Settings {
        let mut merged = Merged { keys: self.keys, values: BTreeMap::new(), mistakes: Vec::new() };
        merged.defaults();
        merged.files(&self.file, self.file_required);
        if let Some(directory) = &self.credentials {
            merged.credentials(directory);
        }
        merged.environment(self.prefix, &self.environment);
        for (name, text) in &self.flags {
            merged.text(name, text, Origin::Flag(format!("--{name}")));
        }
        Settings::new(self.keys, merged.values, merged.mistakes)
    }
}

struct Merged {
    keys: &'static [Key],
    values: BTreeMap<&'static str, (Value, Origin)>,
    mistakes: Vec<Mistake>,
}

impl Merged {
    fn defaults(&mut self) {
        for key in self.keys {
            if let Some(text) = key.default {
                self.text(key.name, text, Origin::Default);
            }
        }
    }

    fn files(&mut self, main: &Path, required: bool) {
        match file::read(main, self.keys) {
            Some(said) => self.said(said),
            None if required => {
                let origin = Origin::File { path: main.to_owned(), at: None };
                self.mistakes.push(Mistake::new(origin, "no such file"));
            }
            None => {}
        }
        for path in self.drop_ins(main) {
            if let Some(said) = file::read(&path, self.keys) {
                self.said(said);
            }
        }
    }

    /// `<file>.d/*.toml`, in the order of their names.
    fn drop_ins(&mut self, main: &Path) -> Vec<PathBuf> {
        let mut directory = main.as_os_str().to_owned();
        directory.push(".d");
        let directory = PathBuf::from(directory);
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                self.mistakes.push(Mistake::unreadable(directory, &error));
                return Vec::new();
            }
        };
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        paths.sort();
        if paths.len() > DROP_INS_MAX {
            let origin = Origin::File { path: directory, at: None };
            self.mistakes.push(Mistake::new(origin, format!("more than {DROP_INS_MAX} files; the rest is not read")));
            paths.truncate(DROP_INS_MAX);
        }
        paths
    }

    fn said(&mut self, said: Said) {
        for (name, value, origin) in said.values {
            self.values.insert(name, (value, origin));
        }
        self.mistakes.extend(said.mistakes);
    }

    /// Secrets that the service manager holds: a file with the key's name. Text settings take the file's path where
    /// they take paths anyway (certificates and keys do), so that nothing secret is copied around.
    fn credentials(&mut self, directory: &Path) {
        for key in self.keys.iter().filter(|key| key.secret) {
            let path = directory.join(key.name);
            match std::fs::metadata(&path) {
                Ok(found) if found.len() > CREDENTIAL_BYTES_MAX => {
                    let why = format!("larger than {CREDENTIAL_BYTES_MAX} bytes");
                    self.mistakes.push(Mistake::new(Origin::Credential(path), why));
                }
                Ok(_) => {
                    let text = path.to_string_lossy().into_owned();
                    self.text(key.name, &text, Origin::Credential(path));
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => self.mistakes.push(Mistake::unreadable(path, &error)),
            }
        }
    }

    /// `KONG_<KEY>` for those who come from Kong, and over it our own. Kong's prefix is shared with Kong itself, so
    /// keys that are not ours pass there; under our own prefix they are mistakes.
    fn environment(&mut self, prefix: &str, environment: &[(OsString, OsString)]) {
        for (prefix, ours) in [("KONG", false), (prefix, true)] {
            for (variable, text) in environment {
                let Some(variable) = variable.to_str() else { continue };
                let Some(name) = variable.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')) else {
                    continue;
                };
                let origin = || Origin::Environment(variable.to_owned());
                let known = self.keys.iter().find(|key| key.name.to_ascii_uppercase() == name);
                match (known, text.to_str()) {
                    (Some(key), Some(text)) => self.text(key.name, text, origin()),
                    (Some(key), None) => {
                        self.mistakes.push(Mistake::new(origin(), format!("{}: not UTF-8", key.name)));
                    }
                    (None, _) if ours && !is_of_kubernetes(name) => {
                        let keys: Vec<String> = self.keys.iter().map(|key| key.name.to_ascii_uppercase()).collect();
                        let hint = nearest::nearest(name, keys.iter().map(String::as_str))
                            .map_or_else(String::new, |meant| format!("; did you mean \"{prefix}_{meant}\"?"));
                        self.mistakes.push(Mistake::new(origin(), format!("unknown key{hint}")));
                    }
                    (None, _) => {}
                }
            }
        }
    }

    fn text(&mut self, name: &str, text: &str, origin: Origin) {
        let Some(key) = self.keys.iter().find(|key| key.name == name) else {
            self.mistakes.push(Mistake::new(origin, file::unknown(name, self.keys)));
            return;
        };
        // An empty text unsets, as an empty value in kong.conf does; there is no other way to undo a lower layer.
        if text.is_empty() && key.default.is_none() && matches!(key.kind, Kind::Text | Kind::List) {
            self.values.remove(key.name);
            return;
        }
        match key.kind.read_text(text) {
            Ok(value) => drop(self.values.insert(key.name, (value, origin))),
            Err(why) => self.mistakes.push(Mistake::new(origin, format!("{}: {why}", key.name))),
        }
    }
}

/// Kubernetes describes a service called `cp-lite` to every pod beside it as `CP_LITE_PORT`, `CP_LITE_SERVICE_HOST`
/// and so on; nobody wrote those by mistake.
fn is_of_kubernetes(name: &str) -> bool {
    name == "PORT" || ["PORT_", "SERVICE_HOST", "SERVICE_PORT"].iter().any(|prefix| name.starts_with(prefix))
}
