//! Where tests listen to what modules give out. Outside tests nothing is kept and nothing is paid.

#[cfg(not(test))]
use candle_core::Tensor;

/// Tells a listening test what a module gave out.
#[cfg(not(test))]
#[inline(always)]
pub(crate) fn note(_name: &'static str, _value: &Tensor) {}

#[cfg(test)]
pub(crate) use listening::{Heard, listen, note};

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
