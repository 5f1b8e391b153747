//! Which of two databases of a cluster counts, and how a new one comes to count: the rules of terms. A term and an epoch
//! together order all databases that were begun on purpose, by a promotion or by a restore from a backup; the greater pair
//! has taken the place of the other. Nothing here depends on a clock: a new pair is derived from the one that it follows.

/// How many different epochs a restore may begin: few enough that those of earlier releases, which gave odd terms to
/// promotions and any number to their epochs, are greater nearly always.
const RESTORED_EPOCHS: u64 = 1 << 40;

/// Whether a database of this term and epoch has taken the place of the other. With the same term the greater epoch
/// counts, so that all nodes choose alike between two that were begun without knowing of each other. Of term 0, which says
/// nothing, no epoch replaces another: a database that came up empty is of it.
#[must_use]
pub fn replaces((term, epoch): (u32, u64), (other_term, other_epoch): (u32, u64)) -> bool {
    term > other_term || (term == other_term && term > 0 && epoch > other_epoch)
}

/// Whether nothing tells which of two databases counts: other epochs, of which neither replaces the other. Whoever has the
/// word of neither's writer must not take anybody from one to the other.
#[must_use]
pub fn unordered(one: (u32, u64), other: (u32, u64)) -> bool {
    one.1 != other.1 && !replaces(one, other) && !replaces(other, one)
}

/// The term that a promotion begins: the next even one that is at least `least` and later than `own`. At the end of all
/// terms, 2^32 - 1, there is no later one, and epochs alone decide.
#[must_use]
pub fn promoted(own: u32, least: u32) -> u32 {
    let least = least.max(own.saturating_add(1));
    least.saturating_add(least % 2)
}

/// Term and epoch of a database that is restored from a backup of this term and epoch. They replace those, and whatever
/// was restored on the way to them, but no promotion that came after the backup: that one's term is the next even one, and
/// this one is odd and below it. `random` is any number.
///
/// Two databases restored from the same backup are of the same term, and chance decides which of them counts.
#[must_use]
pub fn restored((term, epoch): (u32, u64), random: u64) -> (u32, u64) {
    let step = 1 + random % RESTORED_EPOCHS;
    if term.is_multiple_of(2) {
        // The last term is odd: this is never beyond it.
        return (term.saturating_add(1), step);
    }
    match epoch.checked_add(step) {
        Some(epoch) => (term, epoch),
        // Only behind an epoch that an earlier release's promotion gave, and hardly ever there.
        None => (term.saturating_add(2), step),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_restored_replaces_what_it_was_taken_from_and_no_promotion_since() {
        let mut origin = (0, u64::MAX);
        for random in [0, 1, 77, u64::MAX, 1 << 40, (1 << 40) - 1] {
            let next = restored(origin, random);
            assert!(replaces(next, origin), "{next:?} of {origin:?}");
            for promotion in [promoted(0, 0), promoted(next.0, 0)] {
                assert!(replaces((promotion, 1), next), "{next:?} against a promotion to term {promotion}");
            }
            origin = next;
        }
        let later = (promoted(origin.0, 0), 5);
        assert!(replaces(restored(later, 9), later) && replaces((promoted(later.0, 0), 1), restored(later, 9)));
    }

    #[test]
    fn two_that_came_up_empty_are_not_ordered_and_all_others_are() {
        assert!(unordered((0, 5), (0, 6)) && unordered((0, 6), (0, 5)));
        assert!(!unordered((0, 5), (0, 5)));
        for (one, other) in [((1, 5), (0, 6)), ((1, 5), (1, 6)), ((2, 1), (3, 1))] {
            assert!(!unordered(one, other) && !unordered(other, one));
        }
    }

    #[test]
    fn two_that_are_restored_from_one_backup_are_ordered_for_everybody() {
        for origin in [(0, 3), (1, 3), (2, 3)] {
            let (one, other) = (restored(origin, 1), restored(origin, 2));
            assert_eq!(one.0, other.0);
            assert!(replaces(other, one) != replaces(one, other));
        }
    }

    #[test]
    fn a_promotion_is_later_than_all_that_is_known_and_even() {
        assert_eq!((promoted(0, 0), promoted(1, 0), promoted(2, 0), promoted(2, 9)), (2, 2, 4, 10));
        for own in 0..50 {
            assert!(promoted(own, 0) > own && promoted(own, 0).is_multiple_of(2));
        }
    }

    #[test]
    fn a_backup_of_an_earlier_release_does_not_beat_its_promotion() {
        // Which is of the next term, odd or not, and of any epoch.
        for random in [0, 5, u64::MAX] {
            assert!(replaces((1, RESTORED_EPOCHS + 1), restored((0, u64::MAX), random)));
        }
    }

    #[test]
    fn at_the_end_of_all_terms_nothing_wraps_around() {
        for own in [u32::MAX - 1, u32::MAX] {
            assert_eq!(promoted(own, u32::MAX), u32::MAX);
            assert!(restored((own, u64::MAX), 7).0 >= own);
        }
        let last = (u32::MAX, 5);
        assert!(replaces(restored(last, 9), last), "epochs decide there");
        assert_eq!(restored((1, u64::MAX), 0), (3, 1));
    }
}
