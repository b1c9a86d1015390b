//! Small tables of numbers that kernels read, uploaded once: an upload costs the host more than a launch, and most
//! frames ask for what the one before did.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use candle_core::{Result, Tensor};

use super::launch::device_of;

/// A GPU and the numbers.
type Key = (usize, Vec<usize>);

/// What was uploaded before.
static KNOWN: Mutex<Option<HashMap<Key, Tensor>>> = Mutex::new(None);
/// How many tables are kept; a crowd of changing age starts afresh.
const KEPT: usize = 256;

/// Numbers as u32 on the GPU of `like`.
pub(super) fn constant(numbers: &[usize], like: &Tensor) -> Result<Tensor> {
    let key = (device_of(like)?.cuda_stream().context().ordinal(), numbers.to_vec());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_default();
    if let Some(table) = known.get(&key) {
        return Ok(table.clone());
    }
    let table = Tensor::from_iter(numbers.iter().map(|&n| n as u32), like.device())?;
    if known.len() >= KEPT {
        known.clear();
    }
    known.insert(key, table.clone());
    Ok(table)
}

/// Where each of the entries of these lengths begins, and where the last one ends.
pub(super) fn starts(lens: &[usize], like: &Tensor) -> Result<Tensor> {
    let mut starts = vec![0];
    for &len in lens {
        starts.push(starts[starts.len() - 1] + len);
    }
    constant(&starts, like)
}
