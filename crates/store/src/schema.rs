//! The database schema: [`tables`] describes it as data, and [`migrate`] brings a file to it.

pub(crate) mod migrate;
mod tables;
