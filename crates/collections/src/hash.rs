//! The hash of keys: the same in every process of the family, other in the next family.
//!
//! Two multiplications a 16 bytes, folded; not for anything that must resist an attacker who sees
//! the seed, only for one who does not.

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The hash of `bytes`.
pub(crate) fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let mut state = seed ^ (bytes.len() as u64).wrapping_mul(ODD);
    let mut chunks = bytes.chunks_exact(16);
    for chunk in &mut chunks {
        state = fold(state ^ word(&chunk[..8]), ODD ^ word(&chunk[8..]));
    }
    let rest = chunks.remainder();
    let (low, high) = rest.split_at(rest.len().min(8));
    fold(fold(state ^ word(low), ODD ^ word(high)), seed | 1)
}

/// Both halves of the product count, so that every bit of the factors reaches the low bits.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

fn word(bytes: &[u8]) -> u64 {
    let mut eight = [0; 8];
    eight[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(eight)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::hash;

    #[test]
    fn neighbouring_keys_spread_over_the_low_bits() {
        let low = |n: u64| hash(0x1234_5678_9abc_def1, &n.to_le_bytes()) % 4096;
        let distinct: HashSet<u64> = (0..4096).map(low).collect();
        // 4096 balls in 4096 bins fill about 63 % of them.
        assert!(distinct.len() > 2400, "{}", distinct.len());
    }

    #[test]
    fn length_and_content_both_count() {
        let texts: [&[u8]; 5] = [b"", b"\0", b"\0\0", b"12345678", b"123456789"];
        let distinct: HashSet<u64> = texts.iter().map(|text| hash(7, text)).collect();
        assert_eq!(distinct.len(), texts.len());
    }
}
