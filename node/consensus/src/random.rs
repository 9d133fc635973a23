//! What may be random: waits, and who asks for an election when. In the simulation a seed decides it.

#[cfg(not(feature = "simulation"))]
pub(crate) use openraft_rt_tokio::TokioRuntime as Runtime;

#[cfg(feature = "simulation")]
pub(crate) use crate::simulation::{SeededRuntime as Runtime, is_seeded, number};

/// A random number.
#[cfg(not(feature = "simulation"))]
pub(crate) fn number() -> u64 {
    unseeded()
}

/// Whether this thread repeats what a seed decides: then nothing may run beside it.
#[cfg(not(feature = "simulation"))]
pub(crate) const fn is_seeded() -> bool {
    false
}

pub(crate) fn unseeded() -> u64 {
    let mut random = [0; 8];
    // Without random bytes everybody waits alike: worse, not wrong.
    let _ = getrandom::fill(&mut random);
    u64::from_le_bytes(random)
}
