//! What can go wrong with a request.

/// A failure instead of, or after, the effect of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// This status and message, without an effect.
    Status(u16, &'static str),
    /// Status 429 with `Retry-After` in seconds, without an effect.
    TooMany(u64),
    /// No answer, without an effect.
    Hang,
    /// The connection is reset, without an effect.
    Reset,
    /// The effect takes place, and then the connection is reset.
    EffectThenReset,
    /// The effect takes place, and the answer of success is no JSON.
    EffectThenGarbage,
    /// Vast's answer of success with `"success": false`, without an effect.
    SuccessFalse,
    /// An answer of success that is no JSON, without an effect.
    Garbage,
}

/// A fault and the requests that it applies to.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) method: &'static str,
    /// How the path begins.
    pub(crate) path: String,
    pub(crate) fault: Fault,
    /// How many more requests it applies to.
    pub(crate) n_left: usize,
}
