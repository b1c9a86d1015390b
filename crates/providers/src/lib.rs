//! The GPU rental providers: RunPod (its REST API, version 2) and Vast.
//!
//! A rented machine costs money until its provider has deleted it; that the program on it has ended changes nothing.
//! This crate therefore ends machines: [`Machine`] is the one that the program runs on,
//! and [`Fleet`] are those that were rented for one queue of jobs. It knows neither buckets nor jobs nor tensors.
//!
//! Keys are [`ApiKey`]s, which are not printed, and are removed from whatever a provider answers.

mod clock;
mod error;
mod fleet;
mod http;
mod image;
mod key;
mod machine;
mod options;
mod retry;
mod runpod;
mod vast;

pub use clock::{Clock, SystemClock};
pub use error::{ProviderError, Result};
pub use fleet::{Deletion, Fleet, LAUNCHED, Rented, machines_to_start};
pub use http::is_private_address;
pub use image::{ImageCheck, check_image};
pub use key::ApiKey;
pub use machine::{Ended, Machine, MachineInfo};
pub use options::{Lookup, ProviderOptions, Timeouts};
pub use runpod::{Availability, GpuType, NewPod, Pod, PodStatus, RunPod};
