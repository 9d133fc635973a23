//! The seed of a thread: whole federations run in one.

use std::cell::Cell;

thread_local! {
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Makes everything that is random in this thread follow from a seed; `None` makes it random again.
pub fn set_seed(seed: Option<u64>) {
    SEED.set(seed);
    super::promises::reset();
}

/// Whether this thread repeats what a seed decides: then nothing may run beside it.
pub(crate) fn is_seeded() -> bool {
    SEED.get().is_some()
}

/// The next number of this thread's seed, by SplitMix64; a random one where it has none.
pub(crate) fn number() -> u64 {
    let Some(seed) = SEED.get() else { return crate::random::unseeded() };
    let seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    SEED.set(Some(seed));
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
