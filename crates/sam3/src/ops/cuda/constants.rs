//! A cache of small tables of numbers on the GPU. An upload costs the host more than a launch, and most frames need
//! the same tables as the frame before.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use candle_core::{Result, Tensor};

use super::launch::device_of;

/// The GPU's ordinal and the numbers.
type Key = (usize, Vec<usize>);

/// The tables that were uploaded.
static CACHE: Mutex<Option<HashMap<Key, Tensor>>> = Mutex::new(None);
/// Number of tables at which the cache is cleared.
const CAPACITY: usize = 256;

/// Numbers as u32 on the GPU of `like`.
pub(super) fn constant(numbers: &[usize], like: &Tensor) -> Result<Tensor> {
    let key = (device_of(like)?.cuda_stream().context().ordinal(), numbers.to_vec());
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    let cache = cache.get_or_insert_default();
    if let Some(table) = cache.get(&key) {
        return Ok(table.clone());
    }
    let table = Tensor::from_iter(numbers.iter().map(|&n| n as u32), like.device())?;
    if cache.len() >= CAPACITY {
        cache.clear();
    }
    cache.insert(key, table.clone());
    Ok(table)
}

/// The start of each entry, and the end of the last one, for concatenated entries of these lengths.
pub(super) fn starts(lens: &[usize], like: &Tensor) -> Result<Tensor> {
    let mut starts = vec![0];
    for &len in lens {
        starts.push(starts[starts.len() - 1] + len);
    }
    constant(&starts, like)
}
