//! Places for those who watch a log: bounded, in all and for each person.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use comity_core::SpiffeId;

use crate::error::AppError;

/// How many may watch at one time.
const WATCHERS_MAX: usize = 512;
/// How many of them for one person.
const WATCHERS_MAX_PER_PERSON: usize = 16;

/// Who watches now.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Mutex<BTreeMap<SpiffeId, usize>>);

/// A place among the watchers, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    watchers: Arc<Watchers>,
    who: SpiffeId,
}

impl Watchers {
    /// Gives a place, where there is one.
    ///
    /// # Errors
    /// Too many watch already.
    pub(crate) fn enter(self: &Arc<Self>, who: &SpiffeId) -> Result<Place, AppError> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, own) = (counts.values().sum::<usize>(), counts.get(who).copied().unwrap_or_default());
        if all >= WATCHERS_MAX || own >= WATCHERS_MAX_PER_PERSON {
            return Err(AppError::Exhausted {
                reason: "TOO_MANY_WATCHERS",
                problem: format!(
                    "{all} watch this node's list or its access log, {own} of them in your name: at most \
                     {WATCHERS_MAX}, and {WATCHERS_MAX_PER_PERSON} for one person; end one first"
                ),
            });
        }
        *counts.entry(who.clone()).or_default() += 1;
        Ok(Place { watchers: Arc::clone(self), who: who.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.watchers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.who) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_given_back() {
        let watchers: Arc<Watchers> = Arc::default();
        let person = |n: usize| format!("spiffe://fr.comity.example/auditor/audit-{n}").parse::<SpiffeId>().unwrap();
        let own: Vec<Place> = (0..WATCHERS_MAX_PER_PERSON).map(|_| watchers.enter(&person(0)).unwrap()).collect();
        assert!(matches!(watchers.enter(&person(0)), Err(AppError::Exhausted { reason: "TOO_MANY_WATCHERS", .. })));
        let others: Vec<Place> =
            (WATCHERS_MAX_PER_PERSON..WATCHERS_MAX).map(|n| watchers.enter(&person(n)).unwrap()).collect();
        assert!(watchers.enter(&person(9_999)).is_err());
        drop(own);
        watchers.enter(&person(0)).unwrap();
        drop(others);
        assert!(watchers.0.lock().unwrap().is_empty());
    }
}
