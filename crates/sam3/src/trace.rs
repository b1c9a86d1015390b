//! Where tests listen to what modules give out, and make a device too small. Outside tests nothing is kept and
//! nothing is paid.

#[cfg(not(test))]
use candle_core::Tensor;

/// Tells a listening test what a module gave out.
#[cfg(not(test))]
#[inline(always)]
pub(crate) fn note(_name: &'static str, _value: &Tensor) {}

/// Fails like a device without memory, if a test on this thread made it so small.
#[cfg(not(test))]
#[inline(always)]
pub(crate) fn needs_memory_for(_at_once: usize, _objects: usize) -> candle_core::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(crate) use listening::{Heard, listen, note};
#[cfg(test)]
pub(crate) use small_device::{needs_memory_for, on_a_device_for};

#[cfg(test)]
mod small_device {
    use std::cell::Cell;

    thread_local! {
        /// Objects that go through a stage together, and in all.
        static ROOM: Cell<(usize, usize)> = const { Cell::new((usize::MAX, usize::MAX)) };
    }

    /// Fails like an NVIDIA GPU if there is no room for so many.
    pub(crate) fn needs_memory_for(at_once: usize, objects: usize) -> candle_core::Result<()> {
        let room = ROOM.get();
        if at_once > room.0 || objects > room.1 {
            candle_core::bail!("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")")
        }
        Ok(())
    }

    /// Runs `f` as on a device with room for so many objects at once and in all.
    pub(crate) fn on_a_device_for<T>(at_once: usize, objects: usize, f: impl FnOnce() -> T) -> T {
        ROOM.set((at_once, objects));
        let out = f();
        ROOM.set((usize::MAX, usize::MAX));
        out
    }
}

#[cfg(test)]
mod listening {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use candle_core::Tensor;

    /// What was noted: for each name its values, in the order of the calls.
    pub(crate) type Heard = BTreeMap<&'static str, Vec<Tensor>>;

    thread_local! {
        static HEARD: RefCell<Option<Heard>> = const { RefCell::new(None) };
    }

    /// Keeps a value if a test on this thread listens.
    pub(crate) fn note(name: &'static str, value: &Tensor) {
        HEARD.with_borrow_mut(|heard| {
            if let Some(heard) = heard {
                heard.entry(name).or_default().push(value.clone());
            }
        });
    }

    /// Runs `f` and returns what was noted on this thread meanwhile.
    pub(crate) fn listen<T>(f: impl FnOnce() -> T) -> (T, Heard) {
        HEARD.set(Some(Heard::new()));
        let out = f();
        (out, HEARD.take().unwrap_or_default())
    }
}
