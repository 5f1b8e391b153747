//! Regular expressions: one set of limits, checked when a route is compiled; the engine's program is built at first use
//! and kept in a bounded cache per thread, so that thousands of regex routes cost only what is used.

use regex::bytes::{Regex, RegexBuilder};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// Longest regular expression in bytes.
pub const REGEX_BYTES_MAX: usize = 8 * 1024;
/// Most bytes one built program may take.
const PROGRAM_BYTES_MAX: usize = 256 * 1024;
/// Deepest nesting of groups and repetitions.
const NEST_MAX: u32 = 64;
/// Most programs that one thread keeps. Programs beyond are built again when they are needed.
pub const REGEXES_HELD_MAX: usize = 256;

/// Builds the program of `source`. Kong's matcher works on text; ours works on bytes and ASCII classes, which is the
/// same for paths and header values that are ASCII.
pub(super) fn build(source: &str) -> Result<Regex, regex::Error> {
    if source.len() > REGEX_BYTES_MAX {
        return Err(regex::Error::CompiledTooBig(REGEX_BYTES_MAX));
    }
    RegexBuilder::new(source)
        .unicode(false)
        .size_limit(PROGRAM_BYTES_MAX)
        .dfa_size_limit(PROGRAM_BYTES_MAX)
        .nest_limit(NEST_MAX)
        .build()
}

/// Two generations of programs: what is used moves to the young one; when that is full, the old one goes. So what is in
/// use stays, without a list to keep in order.
#[derive(Default)]
struct Held {
    young: HashMap<Arc<str>, Rc<Regex>>,
    old: HashMap<Arc<str>, Rc<Regex>>,
}

impl Held {
    fn get(&mut self, source: &Arc<str>) -> Option<Rc<Regex>> {
        if let Some(regex) = self.young.get(source) {
            return Some(Rc::clone(regex));
        }
        let regex = match self.old.remove(source) {
            Some(regex) => regex,
            // Checked when the route was compiled, so this does not fail; if it did, the route would not match.
            None => Rc::new(build(source).ok()?),
        };
        if self.young.len() >= REGEXES_HELD_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(Arc::clone(source), Rc::clone(&regex));
        Some(regex)
    }
}

thread_local! {
    static HELD: RefCell<Held> = RefCell::default();
}

/// The program of `source`, from this thread's cache.
pub(super) fn get(source: &Arc<str>) -> Option<Rc<Regex>> {
    HELD.with_borrow_mut(|held| held.get(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_no_more_programs_than_it_may_and_keeps_those_in_use() {
        let mut held = Held::default();
        let used: Arc<str> = "^/used".into();
        let first = held.get(&used).unwrap();
        for n in 0..3 * REGEXES_HELD_MAX {
            held.get(&format!("^/{n}").into()).unwrap();
            assert!(Rc::ptr_eq(&held.get(&used).unwrap(), &first));
            assert!(held.young.len() + held.old.len() <= REGEXES_HELD_MAX);
        }
    }

    #[test]
    fn refuses_what_is_too_long_too_big_or_too_deep() {
        assert!(build(&"a".repeat(REGEX_BYTES_MAX + 1)).is_err());
        assert!(build("(?:a{100}){200}").is_err());
        assert!(build(&format!("{}a{}", "(?:".repeat(100), ")*".repeat(100))).is_err());
        assert!(build("(?<a>[^/]+)/(?P<b>\\d+)").is_ok());
    }
}
