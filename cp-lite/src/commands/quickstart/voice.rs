//! What the quickstart says: aligned lines, with colour where a person looks at a terminal that has it.

use std::io::IsTerminal;
use std::time::Duration;

/// The column where details begin.
const DETAIL_COLUMN: usize = 34;

const BOLD: &str = "1";
const GREEN: &str = "32";
const RED: &str = "31";
const DIM: &str = "2";

/// How to say it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Voice {
    colour: bool,
}

impl Voice {
    /// For this process's standard output.
    pub(super) fn for_stdout() -> Voice {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Voice { colour: std::io::stdout().is_terminal() && !no_color && !dumb }
    }

    /// Says a line of its own.
    pub(super) fn say(self, text: &str) {
        os::exit::print(&format!("{text}\n"));
    }

    /// Says that something is done.
    pub(super) fn done(self, what: &str, detail: &str) {
        self.say(&self.line(GREEN, "ok", what, detail));
    }

    /// Says that something went wrong.
    pub(super) fn failed(self, what: &str, detail: &str) {
        self.say(&self.line(RED, "failed", what, detail));
    }

    /// Says what follows.
    pub(super) fn heading(self, text: &str) {
        self.say(&format!("\n{}", self.paint(BOLD, text)));
    }

    /// Says something to try, and what it is for.
    pub(super) fn command(self, purpose: &str, lines: &[String]) {
        self.say(&format!("\n  {}", self.paint(DIM, purpose)));
        for line in lines {
            self.say(&format!("    {line}"));
        }
    }

    fn line(self, colour: &str, verdict: &str, what: &str, detail: &str) -> String {
        // Padded before it is painted: colours have no width.
        let verdict = self.paint(colour, &format!("{verdict:6}"));
        format!("  {verdict} {what:width$} {detail}", width = DETAIL_COLUMN).trim_end().to_owned()
    }

    fn paint(self, colour: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// A time with as many digits as mean something.
pub(super) fn time(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1000.0;
    if millis < 10.0 { format!("{millis:.1} ms") } else { format!("{millis:.0} ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_aligned_with_and_without_colour() {
        let (plain, coloured) = (Voice { colour: false }, Voice { colour: true });
        let line = |voice: Voice| voice.line(GREEN, "ok", "control plane", "pid 7");
        assert_eq!(line(plain), "  ok     control plane                      pid 7");
        assert_eq!(line(coloured).replace("\u{1b}[32m", "").replace("\u{1b}[0m", ""), line(plain));
        assert_ne!(line(coloured), line(plain));
    }

    #[test]
    fn times_are_in_milliseconds() {
        assert_eq!(time(Duration::from_micros(1234)), "1.2 ms");
        assert_eq!(time(Duration::from_micros(12_345)), "12 ms");
        assert_eq!(time(Duration::from_secs(3)), "3000 ms");
    }
}
