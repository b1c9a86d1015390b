//! A limited number of slots, for connections and event streams. When all are taken, taking another one revokes the slot
//! that was used least recently: clients that hold slots and do nothing cannot keep others out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// A limited number of slots.
#[derive(Debug, Clone)]
pub(crate) struct Slots(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    capacity: usize,
    /// Number of the latest use of any slot: the order of uses, without a clock.
    n_uses: AtomicU64,
    taken: Mutex<HashMap<u64, Arc<Usage>>>,
}

#[derive(Debug)]
struct Usage {
    /// Number of the latest use of this slot.
    last_use: AtomicU64,
    revoked: CancellationToken,
}

/// A taken slot. Free again when it is revoked or dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    shared: Arc<Shared>,
    id: u64,
    usage: Arc<Usage>,
}

impl Slots {
    /// `capacity` free slots, at least one.
    pub(crate) fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self(Arc::new(Shared { capacity, n_uses: AtomicU64::new(0), taken: Mutex::default() }))
    }

    /// Takes a slot, which counts as its first use. Revokes the one that was used least recently if none is free.
    pub(crate) fn take(&self) -> Slot {
        let mut taken = self.0.taken();
        while taken.len() >= self.0.capacity {
            revoke_least_recent(&mut taken);
        }
        let id = self.0.next_use();
        let usage = Arc::new(Usage { last_use: AtomicU64::new(id), revoked: CancellationToken::new() });
        taken.insert(id, usage.clone());
        drop(taken);
        Slot { shared: self.0.clone(), id, usage }
    }

    /// Revokes the slot that was used least recently, if any is taken.
    pub(crate) fn revoke_one(&self) {
        revoke_least_recent(&mut self.0.taken());
    }

    /// The number of slots that are taken.
    pub(crate) fn n_taken(&self) -> usize {
        self.0.taken().len()
    }
}

impl Shared {
    fn next_use(&self) -> u64 {
        self.n_uses.fetch_add(1, Ordering::Relaxed)
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<u64, Arc<Usage>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn revoke_least_recent(taken: &mut HashMap<u64, Arc<Usage>>) {
    let oldest = taken.iter().min_by_key(|(_, usage)| usage.last_use.load(Ordering::Relaxed));
    let oldest = oldest.map(|(id, _)| *id);
    if let Some(usage) = oldest.and_then(|id| taken.remove(&id)) {
        usage.revoked.cancel();
    }
}

impl Slot {
    /// Makes this the slot that was used most recently.
    pub(crate) fn touch(&self) {
        self.usage.last_use.store(self.shared.next_use(), Ordering::Relaxed);
    }

    /// Waits until the slot is revoked. Its holder must then stop.
    pub(crate) fn revoked(&self) -> impl Future<Output = ()> + Send + use<> {
        self.usage.revoked.clone().cancelled_owned()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.taken().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_revoked(slot: &Slot) -> bool {
        slot.usage.revoked.is_cancelled()
    }

    #[test]
    fn the_slot_used_least_recently_makes_room() {
        let slots = Slots::new(3);
        let [first, second, third] = [slots.take(), slots.take(), slots.take()];
        first.touch();
        let fourth = slots.take();
        assert_eq!([&first, &second, &third, &fourth].map(is_revoked), [false, true, false, false]);
        let fifth = slots.take();
        assert_eq!([&first, &third, &fourth, &fifth].map(is_revoked), [false, true, false, false]);
        assert_eq!(slots.n_taken(), 3);
    }

    #[test]
    fn a_dropped_slot_is_free() {
        let slots = Slots::new(2);
        let first = slots.take();
        drop(slots.take());
        let _third = slots.take();
        assert!(!is_revoked(&first));
        // A revoked slot is free already: dropping it frees no other.
        slots.revoke_one();
        assert!(is_revoked(&first));
        drop(first);
        assert_eq!(slots.n_taken(), 1);
    }
}
