//! Checks that the parts of the config share, and the one struct that they share.

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::ops::Activation;

/// An [`Error::Config`] unless `ok`.
pub(crate) fn require(
    key: &str,
    value: impl std::fmt::Debug,
    ok: bool,
    why: impl FnOnce() -> String,
) -> Result<()> {
    if ok {
        return Ok(());
    }
    Err(Error::Config { key: key.to_owned(), value: format!("{value:?}"), why: why() })
}

/// The activation that a config names.
pub(crate) fn activation(key: &str, name: &str) -> Result<Activation> {
    match name {
        "gelu" => Ok(Activation::Gelu),
        "relu" => Ok(Activation::Relu),
        _ => Err(Error::Config {
            key: key.to_owned(),
            value: name.to_owned(),
            why: "gelu and relu are implemented".into(),
        }),
    }
}

/// Base of the rotary frequencies (`rope_parameters`).
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct RopeParameters {
    /// Base θ of the frequencies.
    pub rope_theta: f64,
    /// Kind of embedding; only `axial` is implemented.
    pub rope_type: String,
}

impl Default for RopeParameters {
    fn default() -> Self {
        Self { rope_theta: 10_000.0, rope_type: "axial".into() }
    }
}

impl RopeParameters {
    pub(super) fn validate(&self, prefix: &str) -> Result<()> {
        let ok = self.rope_type == "axial";
        require(&format!("{prefix}.rope_parameters.rope_type"), &self.rope_type, ok, || {
            "axial is implemented".into()
        })
    }
}

/// Checks that the number of attention heads divides a width.
pub(crate) fn require_heads(prefix: &str, width: usize, heads: usize) -> Result<()> {
    let ok = heads > 0 && width > 0 && width.is_multiple_of(heads);
    require(&format!("{prefix}.num_attention_heads"), heads, ok, || {
        format!("a divisor of hidden_size = {width}")
    })
}
