//! The database schema: [`tables`] describes it as data, [`migrate`] brings a file to it, [`upgrade`] moves what earlier
//! versions stored elsewhere, and [`columns`] knows which of the app's columns a file has.

pub(crate) mod columns;
pub(crate) mod migrate;
mod tables;
mod upgrade;
