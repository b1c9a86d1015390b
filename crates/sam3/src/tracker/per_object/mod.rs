//! The SAM 3 tracker: every object has its own memory bank (reference: `Sam3TrackerVideoModel` inside
//! `Sam3VideoModel`).
//!
//! The objects of a frame are computed together, in batches of at most [`memory::BATCH_SIZE`]; an object's result does
//! not depend on the others in its batch.

mod bank;
mod conditioning;
mod encoding;
mod memory;
mod resizers;
mod rules;
mod sizes;
mod stages;
#[cfg(test)]
mod tests;
mod tracker;

pub(crate) use memory::{Memory, SavedRow};
pub(crate) use rules::rules;
#[cfg(test)]
pub(crate) use tracker::image_wide_positions;
pub(crate) use tracker::{Features, Tracker};
