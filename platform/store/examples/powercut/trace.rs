//! What a program did to a directory, read from what strace wrote down: every change of a file or of a name, every sync,
//! and what the program said meanwhile, in order.
//!
//! Recorded with `strace -f -xx -s <larger than any write> -e trace=<CALLS>`: strings are hexadecimal, so nothing in them
//! can be taken for anything else. A call that changes something in the directory and is not known here is an error, and
//! so is a string cut short; and in the end the names and bytes must be those of the real directory ([`crate::disk`]).

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::io::BufRead;

/// The number of a file or directory; it keeps it through renames.
pub(crate) type Inode = usize;

/// The directory itself.
pub(crate) const TOP: Inode = 0;
/// Directory entries: who has which name in which directory.
pub(crate) type Names = BTreeMap<(Inode, String), Inode>;

/// A change that a power cut may undo unless it was synced.
#[derive(Debug)]
pub(crate) enum Effect {
    Write {
        file: Inode,
        offset: u64,
        data: Vec<u8>,
    },
    Resize {
        file: Inode,
        len: u64,
    },
    /// Entries that change in one step: which name in which directory is whose from now on.
    Name(Vec<((Inode, String), Option<Inode>)>),
}

#[derive(Debug)]
pub(crate) enum What {
    Effect(Effect),
    /// What had ended by line `since` is durable: of one file or directory, or everything.
    Sync {
        of: Option<Inode>,
        since: usize,
    },
    /// A line on standard output.
    Said(String),
}

/// One step of the program. Lines are numbered from 0.
#[derive(Debug)]
pub(crate) struct Step {
    /// The line in which it began; of a sync, in which it ended.
    pub(crate) at: usize,
    /// The line in which it ended.
    pub(crate) done: usize,
    pub(crate) what: What,
}

/// Everything, in the order of the lines.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) steps: Vec<Step>,
    /// What was there before, and for each file its bytes.
    pub(crate) before: (Names, HashMap<Inode, Vec<u8>>),
    /// How many inodes there are.
    pub(crate) inodes: usize,
    /// Those that are directories.
    pub(crate) directories: Vec<bool>,
}

#[derive(Clone, Copy)]
struct Descriptor {
    inode: Inode,
    offset: u64,
    append: bool,
}

/// A call whose end has not come yet.
struct Begun {
    at: usize,
    text: Vec<u8>,
}

/// Reads a record of what was done below `top`, an absolute path without a slash at its end.
pub(crate) struct Reader<'a> {
    top: &'a str,
    trace: Trace,
    names: Names,
    /// Those of files elsewhere are none of ours.
    descriptors: HashMap<i64, Option<Descriptor>>,
    begun: HashMap<Vec<u8>, Begun>,
    line: usize,
}

type Fallible<T> = Result<T, Box<dyn Error>>;

impl<'a> Reader<'a> {
    pub(crate) fn new(top: &'a str) -> Reader<'a> {
        let trace = Trace { inodes: 1, directories: vec![true], ..Trace::default() };
        let (names, descriptors, begun) = (Names::new(), HashMap::new(), HashMap::new());
        Reader { top, trace, names, descriptors, begun, line: 0 }
    }

    /// Says that this was there, durably, before anything was recorded.
    pub(crate) fn before(&mut self, dir: Inode, path: &std::path::Path) -> Fallible<()> {
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let name = (dir, entry.file_name().to_str().ok_or("a name that is no text")?.to_owned());
            let is_dir = entry.file_type()?.is_dir();
            let inode = self.inode(is_dir);
            self.names.insert(name.clone(), inode);
            self.trace.before.0.insert(name, inode);
            if is_dir {
                self.before(inode, &entry.path())?;
            } else {
                self.trace.before.1.insert(inode, std::fs::read(entry.path())?);
            }
        }
        Ok(())
    }

    pub(crate) fn read(mut self, mut from: impl BufRead) -> Fallible<Trace> {
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line)? > 0 {
            self.take(line.trim_ascii_end()).map_err(|error| format!("line {}: {error}", self.line + 1))?;
            self.line += 1;
            line.clear();
        }
        self.trace.steps.sort_by_key(|step| step.at);
        Ok(self.trace)
    }

    fn inode(&mut self, is_dir: bool) -> Inode {
        self.trace.inodes += 1;
        self.trace.directories.push(is_dir);
        self.trace.inodes - 1
    }

    /// One line: a whole call, its beginning, or its end.
    fn take(&mut self, line: &[u8]) -> Fallible<()> {
        let space = line.iter().position(|byte| *byte == b' ').ok_or("no process id")?;
        let (process, rest) = (line[..space].to_vec(), line[space..].trim_ascii_start());
        if rest.starts_with(b"+++") || rest.starts_with(b"---") {
            return Ok(());
        }
        if let Some(begin) = rest.strip_suffix(b"<unfinished ...>") {
            // From here on the number may be somebody else's.
            if let Some(number) = begin.strip_prefix(b"close(") {
                self.descriptors.remove(&number_of(number.trim_ascii())?);
            }
            self.begun.insert(process, Begun { at: self.line, text: begin.trim_ascii_end().to_vec() });
            return Ok(());
        }
        if rest.starts_with(b"<... ") {
            let tail = rest.windows(8).position(|bytes| bytes == b"resumed>").ok_or("no end of a call")? + 8;
            let Begun { at, mut text } = self.begun.remove(&process).ok_or("the end of a call that never began")?;
            text.extend_from_slice(&rest[tail..]);
            // Of a close, the beginning was what counts.
            return if text.starts_with(b"close(") { Ok(()) } else { self.call(at, &text) };
        }
        self.call(self.line, rest)
    }

    fn call(&mut self, at: usize, text: &[u8]) -> Fallible<()> {
        let open = text.iter().position(|byte| *byte == b'(').ok_or("not a call")?;
        let equals = text.windows(3).rposition(|bytes| bytes == b" = ").ok_or("a call without a result")?;
        let (name, result) = (str::from_utf8(&text[..open])?, &text[equals + 3..]);
        let arguments = text[open + 1..equals].trim_ascii_end().strip_suffix(b")").ok_or("a call without an end")?;
        if result.starts_with(b"?") {
            return Ok(());
        }
        let result = number_of(result.split(|byte| *byte == b' ').next().unwrap_or_default())?;
        if result < 0 {
            return Ok(());
        }
        let arguments: Vec<&[u8]> = split(arguments);
        let argument = |n: usize| arguments.get(n).copied().ok_or("too few arguments");
        match name {
            "open" | "openat" | "creat" => {
                let (at_dir, rest) =
                    if name == "openat" { (Some(argument(0)?), &arguments[1..]) } else { (None, &arguments[..]) };
                let path = rest.first().ok_or("no path")?;
                let flags =
                    if name == "creat" { "O_CREAT|O_TRUNC" } else { str::from_utf8(rest.get(1).ok_or("no flags")?)? };
                self.open(at, at_dir, path, flags, result)
            }
            "close" => {
                self.descriptors.remove(&number_of(argument(0)?)?);
                Ok(())
            }
            "dup" | "dup2" | "dup3" => self.duplicate(argument(0)?, result),
            "fcntl" if argument(1)?.starts_with(b"F_DUPFD") => self.duplicate(argument(0)?, result),
            "fcntl" => Ok(()),
            "lseek" => {
                let number = number_of(argument(0)?)?;
                if let Some(Some(descriptor)) = self.descriptors.get_mut(&number) {
                    descriptor.offset = u64::try_from(result)?;
                }
                Ok(())
            }
            "write" | "pwrite64" => {
                let number = number_of(argument(0)?)?;
                let offset = if name == "write" { None } else { Some(u64::try_from(number_of(argument(3)?)?)?) };
                self.write(at, number, argument(1)?, offset, usize::try_from(result)?)
            }
            "ftruncate" => match self.descriptor(number_of(argument(0)?)?)? {
                Some(Descriptor { inode, .. }) => {
                    let effect = Effect::Resize { file: inode, len: u64::try_from(number_of(argument(1)?)?)? };
                    self.effect(at, effect)
                }
                None => Ok(()),
            },
            "fsync" | "fdatasync" => match self.descriptor(number_of(argument(0)?)?)? {
                Some(descriptor) => self.sync(at, Some(descriptor.inode)),
                None => Ok(()),
            },
            "sync" | "syncfs" => self.sync(at, None),
            // It says nothing about the disk's cache and nothing about the file's size: it counts for nothing.
            "sync_file_range" => Ok(()),
            "mkdir" => self.make_directory(at, None, argument(0)?),
            "mkdirat" => self.make_directory(at, Some(argument(0)?), argument(1)?),
            "unlink" | "rmdir" => self.unlink(at, None, argument(0)?),
            "unlinkat" => self.unlink(at, Some(argument(0)?), argument(1)?),
            "rename" => self.rename(at, (None, argument(0)?), (None, argument(1)?)),
            "renameat" | "renameat2" => {
                if arguments.get(4).is_some_and(|flags| *flags != b"0" && *flags != b"RENAME_NOREPLACE") {
                    return Err("a rename of another kind".into());
                }
                self.rename(at, (Some(argument(0)?), argument(1)?), (Some(argument(2)?), argument(3)?))
            }
            _ => self.must_not_matter(name, &arguments),
        }
    }

    fn open(&mut self, at: usize, at_dir: Option<&[u8]>, path: &[u8], flags: &str, number: i64) -> Fallible<()> {
        self.descriptors.insert(number, None);
        let Some(place) = self.place(at_dir, path)? else { return Ok(()) };
        let has = |flag: &str| flags.split('|').any(|one| one == flag);
        let inode = match (&place, self.found(&place)) {
            (_, Some(inode)) => {
                if has("O_TRUNC") {
                    self.effect(at, Effect::Resize { file: inode, len: 0 })?;
                }
                inode
            }
            (Some(name), None) if has("O_CREAT") => {
                let inode = self.inode(false);
                self.effect(at, Effect::Name(vec![(name.clone(), Some(inode))]))?;
                inode
            }
            _ => return Err("a file was opened that nobody made".into()),
        };
        self.descriptors.insert(number, Some(Descriptor { inode, offset: 0, append: has("O_APPEND") }));
        Ok(())
    }

    /// What a number stands for, if it is ours. One that nobody opened would be one that was missed.
    fn descriptor(&self, number: i64) -> Fallible<Option<Descriptor>> {
        match self.descriptors.get(&number) {
            Some(descriptor) => Ok(*descriptor),
            None if number <= 2 => Ok(None),
            None => Err("a descriptor that nobody opened".into()),
        }
    }

    fn duplicate(&mut self, of: &[u8], number: i64) -> Fallible<()> {
        // The two share an offset; nobody here writes by both.
        if let Some(descriptor) = self.descriptors.get(&number_of(of)?).copied() {
            self.descriptors.insert(number, descriptor);
        }
        Ok(())
    }

    fn write(&mut self, at: usize, number: i64, data: &[u8], offset: Option<u64>, len: usize) -> Fallible<()> {
        let Some(descriptor) = self.descriptor(number)? else {
            if number == 1 {
                let text = String::from_utf8(bytes_of(data)?)?;
                let said = text.lines().map(|line| Step { at, done: self.line, what: What::Said(line.into()) });
                self.trace.steps.extend(said);
            }
            return Ok(());
        };
        let mut data = bytes_of(data)?;
        if data.len() < len {
            return Err("strace wrote down only part of what was written: its -s is too small".into());
        }
        data.truncate(len);
        if offset.is_none() && descriptor.append {
            return Err("a write at the end of a file".into());
        }
        let place = offset.unwrap_or(descriptor.offset);
        if let (None, Some(Some(descriptor))) = (offset, self.descriptors.get_mut(&number)) {
            descriptor.offset += len as u64;
        }
        self.effect(at, Effect::Write { file: descriptor.inode, offset: place, data })
    }

    fn make_directory(&mut self, at: usize, at_dir: Option<&[u8]>, path: &[u8]) -> Fallible<()> {
        let Some(Some(name)) = self.place(at_dir, path)? else { return Ok(()) };
        let inode = self.inode(true);
        self.effect(at, Effect::Name(vec![(name, Some(inode))]))
    }

    fn unlink(&mut self, at: usize, at_dir: Option<&[u8]>, path: &[u8]) -> Fallible<()> {
        let Some(Some(name)) = self.place(at_dir, path)? else { return Ok(()) };
        self.effect(at, Effect::Name(vec![(name, None)]))
    }

    fn rename(&mut self, at: usize, from: (Option<&[u8]>, &[u8]), to: (Option<&[u8]>, &[u8])) -> Fallible<()> {
        match (self.place(from.0, from.1)?, self.place(to.0, to.1)?) {
            (None, None) => Ok(()),
            (Some(Some(from)), Some(Some(to))) => {
                let inode = self.names.get(&from).copied().ok_or("a rename of what nobody made")?;
                self.effect(at, Effect::Name(vec![(from, None), (to, Some(inode))]))
            }
            _ => Err("a rename into or out of the directory".into()),
        }
    }

    /// Calls that are recorded so that nothing is missed may be about anything but this directory.
    fn must_not_matter(&self, name: &str, arguments: &[&[u8]]) -> Fallible<()> {
        for argument in arguments {
            let is_ours = match number_of(argument) {
                Ok(number) => matches!(self.descriptors.get(&number), Some(Some(_))),
                Err(_) => argument.starts_with(b"\"") && self.place(None, argument)?.is_some(),
            };
            if is_ours {
                return Err(format!("{name} is not known here").into());
            }
        }
        Ok(())
    }

    fn effect(&mut self, at: usize, effect: Effect) -> Fallible<()> {
        if let Effect::Name(entries) = &effect {
            for (name, whose) in entries {
                match whose {
                    Some(inode) => self.names.insert(name.clone(), *inode),
                    None => self.names.remove(name),
                };
            }
        }
        self.trace.steps.push(Step { at, done: self.line, what: What::Effect(effect) });
        Ok(())
    }

    fn sync(&mut self, since: usize, of: Option<Inode>) -> Fallible<()> {
        self.trace.steps.push(Step { at: self.line, done: self.line, what: What::Sync { of, since } });
        Ok(())
    }

    /// Which name in which directory a path is: outer `None` if it is outside, inner `None` if it is the top.
    fn place(&self, at_dir: Option<&[u8]>, path: &[u8]) -> Fallible<Option<Option<(Inode, String)>>> {
        let path = String::from_utf8(bytes_of(path)?)?;
        let (mut place, rest) = if path.starts_with('/') {
            match path.strip_prefix(self.top) {
                Some("") => return Ok(Some(None)),
                Some(rest) if rest.starts_with('/') => (TOP, rest.to_owned()),
                _ => return Ok(None),
            }
        } else {
            let Some(dir) = at_dir.and_then(|dir| number_of(dir).ok()) else { return Ok(None) };
            let Some(descriptor) = self.descriptor(dir)? else { return Ok(None) };
            (descriptor.inode, path)
        };
        let mut parts = rest.split('/').filter(|part| !part.is_empty()).peekable();
        while let Some(part) = parts.next() {
            let name = (place, part.to_owned());
            if parts.peek().is_none() {
                return Ok(Some(Some(name)));
            }
            place = *self.names.get(&name).ok_or_else(|| format!("{part} is in a directory that nobody made"))?;
        }
        Err("an empty path".into())
    }

    fn found(&self, place: &Option<(Inode, String)>) -> Option<Inode> {
        place.as_ref().map_or(Some(TOP), |name| self.names.get(name).copied())
    }
}

/// Arguments end at commas outside of brackets; strings have none, for they are hexadecimal.
fn split(arguments: &[u8]) -> Vec<&[u8]> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_i32);
    for (at, byte) in arguments.iter().enumerate() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(arguments[start..at].trim_ascii());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(arguments[start..].trim_ascii());
    parts
}

fn number_of(text: &[u8]) -> Fallible<i64> {
    let text = str::from_utf8(text)?;
    Ok(match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16)?,
        None => text.parse()?,
    })
}

/// The bytes of a string as strace writes it with -xx: every byte as `\x` and two digits.
fn bytes_of(text: &[u8]) -> Fallible<Vec<u8>> {
    let inner = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).ok_or("not a whole string")?;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |four: &[u8]| match *four {
        [b'\\', b'x', high, low] => Some((digit(high)? * 16 + digit(low)?) as u8),
        _ => None,
    };
    inner.chunks(4).map(|four| byte(four).ok_or_else(|| "a string that is not hexadecimal".into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> String {
        let digits: Vec<String> = text.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
        format!("\"{}\"", digits.concat())
    }

    fn read(lines: &[String]) -> Fallible<Trace> {
        Reader::new("/top").read(lines.join("\n").as_bytes())
    }

    #[test]
    fn a_call_counts_from_its_beginning_and_a_sync_covers_only_what_had_ended_before_it() {
        let trace = read(&[
            format!("7 openat(AT_FDCWD, {}, O_WRONLY|O_CREAT|O_CLOEXEC, 0666) = 3", hex("/top/a")),
            format!("7 write(3, {}, 2 <unfinished ...>", hex("hi")),
            "8 fdatasync(3 <unfinished ...>".into(),
            "7 <... write resumed>) = 2".into(),
            "8 <... fdatasync resumed>) = 0".into(),
            format!("7 write(1, {}, 6) = 6", hex("ack 1\n")),
            format!("7 write(3, {}, 2) = -1 EIO (Input/output error)", hex("no")),
        ])
        .unwrap();
        let [create, write, sync, said] = trace.steps.as_slice() else { panic!("{:?}", trace.steps) };
        assert!(matches!(&create.what, What::Effect(Effect::Name(names)) if names[0] == ((TOP, "a".into()), Some(1))));
        assert_eq!((write.at, write.done), (1, 3));
        assert!(matches!(&write.what, What::Effect(Effect::Write { file: 1, offset: 0, data }) if data == b"hi"));
        assert!(matches!(sync, Step { at: 4, what: What::Sync { of: Some(1), since: 2 }, .. }));
        assert!(matches!(&said.what, What::Said(text) if text == "ack 1"));
    }

    #[test]
    fn a_number_closed_by_one_thread_and_opened_by_another_meanwhile_is_the_others() {
        let open = |name: &str| format!("openat(AT_FDCWD, {}, O_RDWR|O_CREAT, 0666", hex(name));
        let trace = read(&[
            format!("7 {}) = 3", open("/top/a")),
            format!("8 {} <unfinished ...>", open("/top/b")),
            "7 close(3 <unfinished ...>".into(),
            "8 <... openat resumed>) = 3".into(),
            "7 <... close resumed>) = 0".into(),
            format!("8 write(3, {}, 2) = 2", hex("hi")),
            "8 close(3) = 0".into(),
        ])
        .unwrap();
        assert!(matches!(&trace.steps[2].what, What::Effect(Effect::Write { file: 2, .. })), "{:?}", trace.steps);
        assert!(read(&[format!("8 write(3, {}, 2) = 2", hex("hi"))]).is_err());
    }

    #[test]
    fn what_cannot_be_replayed_is_an_error_and_what_is_elsewhere_is_not() {
        let open = format!("7 openat(AT_FDCWD, {}, O_RDWR|O_CREAT, 0666) = 3", hex("/top/a"));
        let elsewhere = format!("7 openat(AT_FDCWD, {}, O_RDWR|O_CREAT, 0666) = 4", hex("/topmost/a"));
        for (line, good) in [
            ("7 fallocate(3, 0, 0, 512) = 0".to_owned(), false),
            ("7 fallocate(4, 0, 0, 512) = 0".to_owned(), true),
            (format!("7 link({}, {}) = 0", hex("/top/a"), hex("/top/b")), false),
            (format!("7 write(3, {}..., 20) = 20", hex("cut")), false),
            (format!("7 write(3, {}, 20) = 20", hex("cut")), false),
            (format!("7 rename({}, {}) = 0", hex("/top/a"), hex("/elsewhere")), false),
        ] {
            assert_eq!(read(&[open.clone(), elsewhere.clone(), line.clone()]).is_ok(), good, "{line}");
        }
    }
}
