//! GF(2^16): sixteen bits as a polynomial over GF(2), modulo x^16 + x^5 + x^3 + x^2 + 1, of which 2 (that is, x) is a
//! primitive element: its powers are all elements but 0. Adding is exclusive or. No tables: they would cost more memory
//! than the work is worth.

/// How many different powers 2 has.
pub(super) const ORDER: usize = 65_535;

/// The product.
pub(super) fn mul(a: u16, b: u16) -> u16 {
    let mut product = 0;
    for bit in 0..16 {
        product ^= (u32::from(a) << bit) * u32::from(b >> bit & 1);
    }
    fold(fold(product)) as u16
}

/// Multiplies by one and the same element, in a third of the time.
pub(super) struct Times([u32; 16]);

impl Times {
    /// By this.
    pub(super) fn by(factor: u16) -> Self {
        let mut table = [0; 16];
        for multiple in 1..16 {
            table[multiple] = (table[multiple / 2] << 1) ^ (u32::from(factor) * (multiple as u32 % 2));
        }
        Self(table)
    }

    /// The product.
    pub(super) fn of(&self, a: u16) -> u16 {
        let nibble = |shift: u32| self.0[usize::from(a >> shift & 0xf)] << shift;
        fold(fold(nibble(0) ^ nibble(4) ^ nibble(8) ^ nibble(12))) as u16
    }
}

/// What is beyond 16 bits, as what it is equal to within them. Of 31 bits it leaves 20, of 20 it leaves 16.
fn fold(value: u32) -> u32 {
    let high = value >> 16;
    (value & 0xffff) ^ high ^ (high << 2) ^ (high << 3) ^ (high << 5)
}

/// 2 to this power.
pub(super) fn power(exponent: usize) -> u16 {
    let (mut result, mut square, mut rest) = (1, 2, exponent % ORDER);
    while rest > 0 {
        if rest % 2 == 1 {
            result = mul(result, square);
        }
        square = mul(square, square);
        rest /= 2;
    }
    result
}

/// What this is multiplied by for 1; 0 for 0.
pub(super) fn inverse(a: u16) -> u16 {
    // The power of 65,534 = 2 + 4 + … + 32,768.
    let (mut result, mut square) = (1, a);
    for _ in 1..16 {
        square = mul(square, square);
        result = mul(result, square);
    }
    if a == 0 { 0 } else { result }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_has_all_elements_but_zero_for_powers_and_each_has_an_inverse() {
        let (mut element, mut seen) = (1, vec![false; ORDER + 1]);
        for exponent in 0..ORDER {
            assert!(!std::mem::replace(&mut seen[usize::from(element)], true), "{exponent}");
            if exponent % 97 == 0 {
                assert_eq!((power(exponent), mul(element, inverse(element))), (element, 1));
            }
            element = mul(element, 2);
        }
        assert_eq!((element, power(ORDER), inverse(0)), (1, 1, 0));
    }

    #[test]
    fn products_do_not_depend_on_the_order_and_distribute_over_sums() {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as u16
        };
        for _ in 0..10_000 {
            let (a, b, c) = (next(), next(), next());
            assert_eq!(mul(a, b), mul(b, a));
            assert_eq!(Times::by(a).of(b), mul(a, b));
            assert_eq!(mul(mul(a, b), c), mul(a, mul(b, c)));
            assert_eq!(mul(a, b ^ c), mul(a, b) ^ mul(a, c));
        }
    }
}
