//! Numbers that follow from a seed.

/// SplitMix64. The same seed gives the same numbers.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// One of several independent streams of a seed.
    pub(crate) fn new(seed: u64, stream: &str) -> Self {
        let digest = comity_core::sha256(format!("{seed}/{stream}").as_bytes());
        Self(digest.first_chunk().map_or(seed, |head| u64::from_le_bytes(*head)))
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `least` to `most`, both included.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.number() % (most.saturating_sub(least) + 1)
    }

    /// So often of a hundred times.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.number() % 100 < percent
    }

    /// So often of a thousand times.
    pub(crate) fn per_mille(&mut self, per_mille: u64) -> bool {
        self.number() % 1_000 < per_mille
    }

    /// One of them, if there are any.
    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let count = of.len() as u64;
        if count == 0 { None } else { of.get((self.number() % count) as usize) }
    }
}
