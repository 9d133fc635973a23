//! Chance that can be had again: one number decides everything that a campaign draws.

use std::io::Write as _;

/// The environment variable that names the seed.
pub const VARIABLE: &str = "COMITY_SEED";

/// The seed of one campaign, drawn afresh unless the environment names it. Says itself when the campaign fails.
#[derive(Debug)]
pub struct Seed(u64);

/// Why there is no seed.
#[derive(Debug, thiserror::Error)]
pub enum NoSeed {
    /// The variable holds something else.
    #[error("{VARIABLE}={0}: expected a number from 0 to 2^64 - 1")]
    Number(String),
    /// The system gave no random bytes.
    #[error("the system gave no random bytes: {0}")]
    Random(#[from] getrandom::Error),
}

impl Seed {
    /// What the environment says, or a new one.
    ///
    /// # Errors
    /// The variable holds no number, or there is no randomness.
    pub fn take() -> Result<Self, NoSeed> {
        if let Ok(text) = std::env::var(VARIABLE) {
            return text.parse().map(Self).map_err(|_| NoSeed::Number(text));
        }
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes)?;
        Ok(Self(u64::from_le_bytes(bytes)))
    }

    /// Dice for one part of the campaign; the same part always gets the same ones.
    pub fn dice(&self, part: &str) -> Dice {
        let digest = comity_core::sha256(format!("{part}/{}", self.0).as_bytes());
        Dice::new(digest.iter().fold(0, |state, byte| (state << 8) | u64::from(*byte)))
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Past the test harness, which keeps what a panicking task printed to itself.
            let _ = writeln!(std::io::stderr(), "to draw the same again: {VARIABLE}={}", self.0);
        }
    }
}

/// SplitMix64: small, and the same on every machine. For no secrets.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice that begin at a state.
    pub fn new(state: u64) -> Self {
        Self(state)
    }

    /// Dice that nobody can have again.
    ///
    /// # Errors
    /// The system gave no random bytes.
    pub fn fresh() -> Result<Self, NoSeed> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes)?;
        Ok(Self(u64::from_le_bytes(bytes)))
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a limit; 0 where the limit is.
    pub fn below(&mut self, limit: usize) -> usize {
        let limit = limit.max(1) as u64;
        usize::try_from(self.number() % limit).unwrap_or_default()
    }

    /// Whether something happens that happens once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// So many bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(self.number().to_le_bytes().get(..chunk.len()).unwrap_or_default());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same() {
        let (mut one, mut other) = (Seed(7).dice("kills"), Seed(7).dice("kills"));
        let draw = |dice: &mut Dice| (dice.number(), dice.below(10), dice.bytes::<16>(), dice.bytes::<5>());
        assert_eq!(draw(&mut one), draw(&mut other));
        assert_ne!(Seed(7).dice("kills").number(), Seed(7).dice("load").number());
        assert_ne!(Seed(7).dice("kills").number(), Seed(8).dice("kills").number());
    }
}
