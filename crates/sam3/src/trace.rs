//! Hooks for tests: recording the outputs of modules, and simulating a device with little memory. Outside tests, they
//! compile to nothing.

#[cfg(not(test))]
use candle_core::Tensor;

/// Records the output of a module under a name, in tests.
#[cfg(not(test))]
#[inline(always)]
pub(crate) fn note(_name: &'static str, _value: &Tensor) {}

/// Fails as a device that is out of memory would, in tests that limit the memory of this thread. `at_once` is the
/// number of objects that a stage processes together, `objects` the total.
#[cfg(not(test))]
#[inline(always)]
pub(crate) fn needs_memory_for(_at_once: usize, _objects: usize) -> candle_core::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(crate) use recording::{Recorded, note, record};
#[cfg(test)]
pub(crate) use small_device::{needs_memory_for, on_a_device_for};

#[cfg(test)]
mod small_device {
    use std::cell::Cell;

    thread_local! {
        /// Largest number of objects that a stage can process together, and in total.
        static ROOM: Cell<(usize, usize)> = const { Cell::new((usize::MAX, usize::MAX)) };
    }

    /// Fails with the error of an NVIDIA GPU if the limits are exceeded.
    pub(crate) fn needs_memory_for(at_once: usize, objects: usize) -> candle_core::Result<()> {
        let room = ROOM.get();
        if at_once > room.0 || objects > room.1 {
            candle_core::bail!("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")")
        }
        Ok(())
    }

    /// Runs `f` with limits on the number of objects that are processed together and in total.
    pub(crate) fn on_a_device_for<T>(at_once: usize, objects: usize, f: impl FnOnce() -> T) -> T {
        ROOM.set((at_once, objects));
        let out = f();
        ROOM.set((usize::MAX, usize::MAX));
        out
    }
}

#[cfg(test)]
mod recording {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use candle_core::Tensor;

    /// The recorded values of each name, in the order of the calls.
    pub(crate) type Recorded = BTreeMap<&'static str, Vec<Tensor>>;

    thread_local! {
        static RECORDED: RefCell<Option<Recorded>> = const { RefCell::new(None) };
    }

    /// Records a value if a test on this thread runs inside [`record`].
    pub(crate) fn note(name: &'static str, value: &Tensor) {
        RECORDED.with_borrow_mut(|recorded| {
            if let Some(recorded) = recorded {
                recorded.entry(name).or_default().push(value.clone());
            }
        });
    }

    /// Runs `f`, and also returns the values recorded on this thread while it ran.
    pub(crate) fn record<T>(f: impl FnOnce() -> T) -> (T, Recorded) {
        RECORDED.set(Some(Recorded::new()));
        let out = f();
        (out, RECORDED.take().unwrap_or_default())
    }
}
