//! A link that is slow, far and lossy, as a model: when a segment that is sent now arrives. Pure; `relay` does what it
//! says.
//!
//! What is modelled is TCP as its ends see it. A direction takes segments one after the other at its rate; each arrives a
//! delay later; a lost one arrives once its sender has noticed and sent it again, which takes the rate another time, and
//! everything behind it waits, for TCP delivers in order. A retransmission may be lost too; the sender then waits twice
//! as long. What is not modelled is congestion control: by its usual estimate (1.22 segments by the round trip, over the
//! root of the loss) TCP would get 13 KB/s out of 600 ms and 5 %, more than the 8 KB/s of the link that we look at.

use std::time::Duration;

/// The most bytes of a segment: Ethernet's, less headers.
pub const SEGMENT_BYTES: usize = 1448;
/// The least time that Linux takes for a retransmission beside the round trip.
const RETRANSMIT_MIN: Duration = Duration::from_millis(200);
/// How often a segment is sent at most: its sender would have given up.
const SENDINGS_MAX: u32 = 8;

/// What a link does to each direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of payload per second.
    pub rate: u64,
    /// From one end to the other.
    pub delay: Duration,
    /// One segment in so many is lost; none for 0.
    pub loses_one_in: u64,
}

impl Shape {
    /// 64 kbit/s, 600 ms round trip, 5 % loss: the link of a box in the field.
    pub const FIELD: Self = Self { rate: 8_000, delay: Duration::from_millis(300), loses_one_in: 20 };
}

/// One direction of one connection. Times are since any beginning.
#[derive(Debug, Clone)]
pub struct Lane {
    shape: Shape,
    random: u64,
    free: Duration,
    arrived: Duration,
}

impl Lane {
    /// Nothing has been sent. The same seed loses the same segments.
    #[must_use]
    pub fn new(shape: Shape, seed: u64) -> Self {
        Self { shape, random: seed, free: Duration::ZERO, arrived: Duration::ZERO }
    }

    /// When a segment of so many bytes arrives that is sent at `now`.
    pub fn send(&mut self, now: Duration, bytes: usize) -> Duration {
        let takes = Duration::from_secs_f64(bytes as f64 / self.shape.rate.max(1) as f64);
        let mut retransmit = 2 * self.shape.delay + RETRANSMIT_MIN;
        let mut sent = self.free.max(now) + takes;
        self.free = sent;
        for _ in 1..SENDINGS_MAX {
            if !self.is_lost() {
                break;
            }
            sent += retransmit;
            retransmit *= 2;
            self.free += takes;
        }
        self.arrived = self.arrived.max(sent + self.shape.delay);
        self.arrived
    }

    /// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
    fn is_lost(&mut self) -> bool {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        self.shape.loses_one_in > 0 && mixed.is_multiple_of(self.shape.loses_one_in)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_its_time_and_keeps_the_order() {
        let shape = Shape { loses_one_in: 0, ..Shape::FIELD };
        let mut lane = Lane::new(shape, 1);
        let ms = Duration::from_millis;
        assert_eq!(lane.send(ms(0), 800), ms(100 + 300));
        assert_eq!(lane.send(ms(0), 800), ms(200 + 300), "it waits for the one before");
        assert_eq!(lane.send(ms(1_000), 800), ms(1_100 + 300), "the link was idle meanwhile");
    }

    #[test]
    fn loses_as_many_as_it_should_and_delivers_all_of_them_in_order() {
        let mut lane = Lane::new(Shape::FIELD, 7);
        let (mut last, mut late) = (Duration::ZERO, 0);
        for number in 0..20_000_u32 {
            let now = Duration::from_secs(u64::from(number) * 10);
            let arrives = lane.send(now, SEGMENT_BYTES);
            assert!(arrives >= last);
            last = arrives;
            late += u32::from(arrives > now + Duration::from_secs(1));
        }
        assert!((900..1_100).contains(&late), "{late} of 20,000");
    }
}
