//! Resizes and normalises images on the GPU, to the same values as on the CPU.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::cuda_backend::WrapErr;
use candle_core::{Device, Result, Tensor};
use half::bf16;

use super::launch::{Reading, device_of, kernel, launch, launch_config, unwritten, written};
use crate::ops::resize::FixedTaps;

/// Taps of one axis on the GPU: for each output position the first input sample, the number of samples, and their
/// weights.
struct Table {
    first: Tensor,
    count: Tensor,
    weights: Tensor,
    pitch: u32,
    precision: u32,
}

impl Table {
    fn new(input: usize, output: usize, device: &Device) -> Result<Self> {
        let FixedTaps { taps, precision } = FixedTaps::new(input, output);
        let pitch = taps.iter().map(|(_, weights)| weights.len()).max().unwrap_or(1);
        // The kernels read i32, but candle's 32-bit integers are unsigned.
        let unsigned = |numbers: Vec<u32>| Tensor::new(numbers, device);
        let mut weights = vec![0u32; output * pitch];
        for (row, (_, taps)) in weights.chunks_mut(pitch).zip(&taps) {
            for (to, &weight) in row.iter_mut().zip(taps) {
                *to = weight as u32;
            }
        }
        Ok(Self {
            first: unsigned(taps.iter().map(|(first, _)| *first as u32).collect())?,
            count: unsigned(taps.iter().map(|(_, weights)| weights.len() as u32).collect())?,
            weights: unsigned(weights)?,
            pitch: pitch as u32,
            precision,
        })
    }
}

/// The GPU's ordinal, and the length of input and output.
type Key = (usize, usize, usize);

/// A cache of tables. It is not bounded, because a program processes few image sizes.
static TABLES: Mutex<Option<HashMap<Key, Arc<Table>>>> = Mutex::new(None);

fn table(input: usize, output: usize, device: &Device) -> Result<Arc<Table>> {
    let Device::Cuda(cuda) = device else { candle_core::bail!("not on an NVIDIA GPU") };
    let key = (cuda.cuda_stream().context().ordinal(), input, output);
    let mut tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    let tables = tables.get_or_insert_default();
    if let Some(table) = tables.get(&key) {
        return Ok(table.clone());
    }
    let table = Arc::new(Table::new(input, output, device)?);
    tables.insert(key, table.clone());
    Ok(table)
}

/// Resizes an RGB image of `h·w·3` bytes → `[1, size, size, 3]` in bf16, `(byte − mean) / std` per channel.
pub(crate) fn pixel_values(
    rgb: &[u8],
    (h, w): (usize, usize),
    size: usize,
    mean: [f32; 3],
    std: [f32; 3],
    device: &Device,
) -> Result<Tensor> {
    const THREADS: usize = 128;
    let (columns, rows) = (table(w, size, device)?, table(h, size, device)?);
    let image = Tensor::from_slice(rgb, rgb.len(), device)?;
    let cuda = device_of(&image)?;
    let mut wide = unwritten::<u8>(cuda, h * size * 3)?;
    let mut out = unwritten::<bf16>(cuda, size * size * 3)?;
    let image = Reading::of(&image)?;
    let size_u32 = size as u32;
    {
        let table = [&columns.first, &columns.count, &columns.weights];
        let [first, count, weights] = table.map(Reading::of);
        let (first, count, weights) = (first?, count?, weights?);
        let function = kernel(cuda, "resize", "resize_columns_u8")?;
        let config = launch_config((size.div_ceil(THREADS), h, 1), THREADS, 0);
        let width = w as u32;
        launch!(
            function,
            config,
            &mut wide,
            &image.view::<u8>()?,
            &first.view::<u32>()?,
            &count.view::<u32>()?,
            &weights.view::<u32>()?,
            &columns.pitch,
            &columns.precision,
            &width,
            &size_u32
        );
    }
    let table = [&rows.first, &rows.count, &rows.weights];
    let [first, count, weights] = table.map(Reading::of);
    let (first, count, weights) = (first?, count?, weights?);
    let function = kernel(cuda, "resize", "resize_rows_bf16")?;
    let config = launch_config(((3 * size).div_ceil(THREADS), size, 1), THREADS, 0);
    let ([m0, m1, m2], [s0, s1, s2]) = (mean, std);
    launch!(
        function,
        config,
        &mut out,
        &wide,
        &first.view::<u32>()?,
        &count.view::<u32>()?,
        &weights.view::<u32>()?,
        &rows.pitch,
        &rows.precision,
        &size_u32,
        &m0,
        &m1,
        &m2,
        &s0,
        &s1,
        &s2
    );
    Ok(written(out, (1, size, size, 3), cuda))
}
