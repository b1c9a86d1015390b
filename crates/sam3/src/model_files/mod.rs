//! What is in a model folder: the config, the weights, and which family of SAM3 they belong to.
//!
//! The tokenizer and the image processor's settings are read by [`crate::tokenizer`] and [`crate::preprocess`].

pub(crate) mod config;
mod copy;
pub(crate) mod family;
mod weights;

pub(crate) use weights::Weights;
