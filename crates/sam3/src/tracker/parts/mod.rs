//! Layers of the tracker that are not tied to one tracker family.

pub(crate) mod memory_attention;
pub(crate) mod memory_encoder;
pub(crate) mod prompt_encoder;
pub(crate) mod sam_head;
