//! Request ids: 32 hexadecimal digits, unique per node, cheap. They name a request in logs and answers and protect
//! nothing, so a seeded generator per worker is enough and spares a system call per request.

use http::HeaderValue;
use std::cell::Cell;
use std::fmt;

/// The id of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub u128);

impl RequestId {
    /// Its 32 digits.
    #[must_use]
    pub fn digits(self) -> [u8; 32] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 32];
        for (place, byte) in text.chunks_exact_mut(2).zip(self.0.to_be_bytes()) {
            place[0] = DIGITS[usize::from(byte >> 4)];
            place[1] = DIGITS[usize::from(byte & 15)];
        }
        text
    }

    /// The id as the value of `X-Kong-Request-Id`.
    #[must_use]
    pub fn header(self) -> HeaderValue {
        HeaderValue::from_bytes(&self.digits()).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Makes the ids of one worker.
#[derive(Debug)]
pub struct RequestIds {
    state: Cell<u128>,
}

impl RequestIds {
    /// A generator; the seed must differ between workers and starts.
    #[must_use]
    pub fn new(seed: u128) -> Self {
        Self { state: Cell::new(seed | 1) }
    }

    /// The next id: a 128-bit multiplicative congruential step (never 0, full period over odd states), then mixed.
    pub fn next(&self) -> RequestId {
        const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;
        let state = self.state.get().wrapping_mul(MULTIPLIER);
        self.state.set(state);
        let mixed = (state ^ (state >> 64)).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        RequestId(mixed ^ (mixed >> 59))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_32_digits_and_differ() {
        let ids = RequestIds::new(7);
        let (first, second) = (ids.next(), ids.next());
        assert_ne!(first, second);
        assert_eq!(first.header().to_str().unwrap(), first.to_string());
        assert_eq!(RequestId(0xab).to_string(), format!("{}ab", "0".repeat(30)));
    }
}
