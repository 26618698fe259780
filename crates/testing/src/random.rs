//! Random numbers that are the same in every run: Marsaglia's xorshift ("Xorshift RNGs", 2003),
//! with the shifts 13, 7, 17. Good enough to mix what a test does; no secret depends on it.

/// A sequence that follows from its seed.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// What tests start with that need no seed of their own.
    pub const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

    /// The sequence of `seed`; 0, which only zeros would follow, stands for [`Self::SEED`].
    pub fn new(seed: u64) -> Self {
        Self(if seed == 0 { Self::SEED } else { seed })
    }

    /// The next number; never 0.
    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next_u64() % limit
    }

    /// An index of something that has `len` of them.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// One of `all`.
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.index(all.len())]
    }
}
