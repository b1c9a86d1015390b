//! The image encoder that detector and tracker share: a ViT, a feature pyramid above it, and the batching of
//! several sessions' frames on one GPU.

pub(crate) mod batch;
pub(crate) mod neck;
pub(crate) mod vit;
