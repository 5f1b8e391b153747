//! How long the link may be silent before this node asks whether anybody is there: pure.
//!
//! A NAT or a firewall on the path forgets a connection that was idle for too long, and tells nobody. Where the setting
//! leaves it open, the node finds out how long its path remembers: an interval that was survived a few times grows by
//! half, one after which the link turned out to be dead is halved, if the control plane itself was alive.

/// The interval to start with, in seconds.
pub const START_S: u32 = 300;
/// The shortest that the node goes to by itself, in seconds.
pub const SHORTEST_S: u32 = 60;
/// The longest that the node goes to by itself, in seconds.
pub const LONGEST_S: u32 = 900;
/// The shortest and the longest that can be set, in seconds.
pub const SETTABLE_S: std::ops::RangeInclusive<u32> = 5..=86_400;
/// How many silences of one length must be survived before a longer one is tried.
const SURVIVALS: u32 = 3;
/// After so many survived silences the last deadly one is forgotten: paths change.
const FORGIVENESS: u32 = 200;

/// What is wanted: `cluster_heartbeat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wish {
    /// What the path bears, between [`SHORTEST_S`] and [`LONGEST_S`].
    #[default]
    Auto,
    /// None.
    Off,
    /// So many seconds, within [`SETTABLE_S`].
    Every(u32),
}

impl Wish {
    /// Reads `auto`, `off`, or a number of seconds.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            number => match number.parse() {
                Ok(seconds) if SETTABLE_S.contains(&seconds) => Ok(Self::Every(seconds)),
                _ => Err(format!(
                    "\"{number}\" is neither auto nor off nor a number of seconds from {} to {}",
                    SETTABLE_S.start(),
                    SETTABLE_S.end()
                )),
            },
        }
    }
}

/// Finds out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    wish: Wish,
    seconds: u32,
    survived: u32,
    /// The shortest silence that killed a link, and how many were survived since.
    deadly: Option<(u32, u32)>,
    /// A silence after which nobody answered, as long as it is not clear who is to blame.
    suspected: Option<u32>,
}

impl Heartbeat {
    /// Starts with what is wished, or [`START_S`].
    #[must_use]
    pub fn new(wish: Wish) -> Self {
        let seconds = match wish {
            Wish::Auto => START_S,
            Wish::Off => 0,
            Wish::Every(seconds) => seconds,
        };
        Self { wish, seconds, survived: 0, deadly: None, suspected: None }
    }

    /// The heartbeat to ask for, in seconds; 0 for none.
    #[must_use]
    pub fn seconds(&self) -> u32 {
        self.seconds
    }

    /// A PING after so many seconds of silence was answered. Says whether another heartbeat is wanted now.
    pub fn survived(&mut self, idle_s: u32) -> bool {
        if self.wish != Wish::Auto {
            return false;
        }
        if let Some((_, since)) = &mut self.deadly {
            *since += 1;
            if *since >= FORGIVENESS {
                self.deadly = None;
            }
        }
        // A shorter silence, because data came, says nothing of a long one.
        if idle_s < self.seconds - self.seconds / 4 {
            return false;
        }
        self.survived += 1;
        if self.survived < SURVIVALS {
            return false;
        }
        let bound = self.deadly.map_or(LONGEST_S, |(deadly, _)| deadly - deadly / 4).clamp(SHORTEST_S, LONGEST_S);
        let longer = (self.seconds + self.seconds / 2).min(bound);
        self.survived = 0;
        let grows = longer > self.seconds;
        self.seconds = self.seconds.max(longer);
        grows
    }

    /// A PING after so many seconds of silence was not answered.
    pub fn died(&mut self, idle_s: u32) {
        if self.wish == Wish::Auto && idle_s >= SHORTEST_S {
            self.suspected = Some(idle_s);
        }
    }

    /// The next connection after [`Heartbeat::died`] came about at once at the same control plane, or did not: then it was
    /// not the silence that killed the link.
    pub fn judge(&mut self, reached: bool) {
        let Some(idle_s) = self.suspected.take().filter(|_| reached) else { return };
        let deadly = self.deadly.map_or(idle_s, |(known, _)| known.min(idle_s));
        self.deadly = Some((deadly, 0));
        self.survived = 0;
        self.seconds = (idle_s / 2).clamp(SHORTEST_S, LONGEST_S);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Silences as long as wanted on a path that forgets after `memory_s`: the heartbeat after `beats` of them, and how
    /// often the link died.
    fn on_a_path(memory_s: u32, beats: u32) -> (u32, u32) {
        let (mut heartbeat, mut deaths) = (Heartbeat::new(Wish::Auto), 0);
        for _ in 0..beats {
            if heartbeat.seconds() < memory_s {
                heartbeat.survived(heartbeat.seconds());
            } else {
                deaths += 1;
                heartbeat.died(heartbeat.seconds());
                heartbeat.judge(true);
            }
        }
        (heartbeat.seconds(), deaths)
    }

    #[test]
    fn a_good_path_gets_a_quarter_of_an_hour_and_a_bad_one_what_it_bears() {
        assert_eq!(on_a_path(u32::MAX, 2), (300, 0));
        assert_eq!(on_a_path(u32::MAX, 3), (450, 0));
        assert_eq!(on_a_path(u32::MAX, 9), (900, 0));
        assert_eq!(on_a_path(u32::MAX, 1_000), (900, 0));
        for memory in [120, 200, 350, 600, 800] {
            let (seconds, deaths) = on_a_path(memory, 100);
            assert!(seconds >= memory / 4 && seconds < memory, "{seconds} s on a path of {memory} s");
            assert!(deaths <= 3, "{deaths} deaths on a path of {memory} s");
        }
        assert_eq!(on_a_path(30, 10).0, SHORTEST_S, "nothing is to be gained below");
    }

    #[test]
    fn a_control_plane_that_died_says_nothing_of_the_path() {
        let mut heartbeat = Heartbeat::new(Wish::Auto);
        heartbeat.died(300);
        heartbeat.judge(false);
        heartbeat.judge(true);
        assert_eq!(heartbeat.seconds(), 300);
        heartbeat.died(10);
        heartbeat.judge(true);
        assert_eq!(heartbeat.seconds(), 300, "it was not idle");
    }

    #[test]
    fn a_silence_that_data_ended_early_proves_nothing() {
        let mut heartbeat = Heartbeat::new(Wish::Auto);
        assert!((0..100).all(|_| !heartbeat.survived(200)));
        assert_eq!(heartbeat.seconds(), 300);
    }

    #[test]
    fn what_was_set_stays() {
        for (text, seconds) in [("off", 0), ("5", 5), ("86400", 86_400)] {
            let mut heartbeat = Heartbeat::new(Wish::parse(text).unwrap());
            for _ in 0..10 {
                assert!(!heartbeat.survived(seconds));
            }
            heartbeat.died(seconds);
            heartbeat.judge(true);
            assert_eq!(heartbeat.seconds(), seconds);
        }
        assert_eq!(Wish::parse("auto"), Ok(Wish::Auto));
        for wrong in ["", "4", "86401", "on", "5m", "-1"] {
            assert!(Wish::parse(wrong).is_err(), "{wrong}");
        }
    }
}
