//! Locks by key: work on the same key happens one after the other, work on different keys at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

type Lock = tokio::sync::Mutex<()>;

/// A lock for each key that is in use.
#[derive(Debug, Default)]
pub(crate) struct KeyedLocks(Mutex<HashMap<String, Weak<Lock>>>);

impl KeyedLocks {
    /// Waits for the lock of a key. Released when the returned guard is dropped.
    pub(crate) async fn lock(&self, key: &str) -> OwnedMutexGuard<()> {
        self.of(key).lock_owned().await
    }

    fn of(&self, key: &str) -> Arc<Lock> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = locks.get(key).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(Lock::default());
        locks.insert(key.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_equal_keys_wait_for_each_other() {
        let locks = KeyedLocks::default();
        let held = locks.lock("a").await;
        let other = locks.lock("b").await;
        assert!(locks.of("a").try_lock().is_err());
        drop(held);
        assert!(locks.of("a").try_lock().is_ok());
        drop(other);
        drop(locks.lock("c").await);
        locks.of("d");
        assert!(locks.0.lock().unwrap().len() <= 1, "unused locks are dropped");
    }
}
