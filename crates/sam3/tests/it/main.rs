//! The engine against reference outputs, and its promises as properties.

mod fixture;
mod parity;
