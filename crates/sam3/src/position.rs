//! Position tables: sine embeddings and rotary angles. All are computed once, in f32 as in the reference.

use std::f32::consts::TAU;

use candle_core::{Device, Result, Tensor};

/// Temperature of every sine embedding of the model.
const TEMPERATURE: f32 = 10_000.0;

/// The `n` divisors `temperature^(2·⌊i/2⌋/n)`; an even index and the next odd one share theirs.
fn wavelengths(n: usize) -> Vec<f32> {
    (0..n).map(|i| TEMPERATURE.powf((2 * (i / 2)) as f32 / n as f32)).collect()
}

/// Appends the sine (at even indices) or cosine (at odd ones) of `x / wavelength` for each wavelength.
fn push_interleaved(out: &mut Vec<f32>, x: f32, wavelengths: &[f32]) {
    out.extend(wavelengths.iter().enumerate().map(|(i, d)| {
        let angle = x / d;
        if i % 2 == 0 { angle.sin() } else { angle.cos() }
    }));
}

/// Normalised 2-D sine embedding of a `side` × `side` grid: `[side·side, channels]`, the row's half of the channels first
/// (reference: `Sam3SinePositionEmbedding.build_sine_position_embedding` with `normalize=True`).
pub(crate) fn sine_2d(side: usize, channels: usize, device: &Device) -> Result<Tensor> {
    let wavelengths = wavelengths(channels / 2);
    let at = |i: usize| (i + 1) as f32 / (side as f32 + 1e-6) * TAU;
    let mut data = Vec::with_capacity(side * side * channels);
    for y in 0..side {
        for x in 0..side {
            push_interleaved(&mut data, at(y), &wavelengths);
            push_interleaved(&mut data, at(x), &wavelengths);
        }
    }
    Tensor::from_vec(data, (side * side, channels), device)
}

/// Sine embedding of boxes, computed on the device (reference: `Sam3SinePositionEmbedding.encode_boxes`).
#[derive(Debug, Clone)]
pub(crate) struct BoxSine {
    /// Wavelength divisors, each for a pair of sine and cosine, `[width / 4]`.
    wavelengths: Tensor,
    /// Indices that reorder x, y, w, h to the reference's y, x, w, h.
    order: Tensor,
}

impl BoxSine {
    /// An embedding with `2 · width` channels.
    pub(crate) fn new(width: usize, device: &Device) -> Result<Self> {
        let pairs: Vec<f32> = wavelengths(width / 2).into_iter().step_by(2).collect();
        Ok(Self { wavelengths: Tensor::new(pairs, device)?, order: Tensor::new(&[1u32, 0, 2, 3], device)? })
    }

    /// Wavelength divisors, `[width / 4]`.
    #[cfg(feature = "cuda")]
    pub(crate) fn wavelengths(&self) -> &Tensor {
        &self.wavelengths
    }

    /// Boxes (cx, cy, w, h in 0..1) `[n, 4]` → `[n, 2·width]`.
    pub(crate) fn embed(&self, boxes: &Tensor) -> Result<Tensor> {
        let n = boxes.dim(0)?;
        let turns = (boxes.index_select(&self.order, 1)?.unsqueeze(2)? * f64::from(TAU))?;
        let angles = turns.broadcast_div(&self.wavelengths)?;
        Tensor::stack(&[angles.sin()?, angles.cos()?], 3)?.reshape((n, ()))
    }
}

/// Sine embedding of relative ages: `[n, channels]`, first all sines, then all cosines (reference:
/// `get_1d_sine_pe`).
pub(crate) fn sine_1d(positions: &[f32], channels: usize, device: &Device) -> Result<Tensor> {
    let wavelengths = wavelengths(channels / 2);
    let mut data = Vec::with_capacity(positions.len() * channels);
    for p in positions {
        data.extend(wavelengths.iter().map(|d| (p / d).sin()));
        data.extend(wavelengths.iter().map(|d| (p / d).cos()));
    }
    Tensor::from_vec(data, (positions.len(), wavelengths.len() * 2), device)
}

/// Cosines and sines of an axial rotary embedding over a grid: `[h·w, head_dim/2]` each. The angles of the first half
/// of the pairs depend on the column, those of the second half on the row.
#[derive(Debug, Clone)]
pub(crate) struct RopeTable {
    pub cos: Tensor,
    pub sin: Tensor,
}

impl RopeTable {
    /// Positions are multiplied by `step` (reference: `Sam3ViTLayer.precompute_positions`,
    /// `Sam3TrackerVideoMemoryAttention.precompute_positions`).
    pub(crate) fn axial(
        (h, w): (usize, usize),
        head_dim: usize,
        theta: f64,
        step: f32,
        device: &Device,
    ) -> Result<Self> {
        let spatial = head_dim / 2;
        let freqs: Vec<f32> =
            (0..spatial).step_by(2).map(|i| 1.0 / (theta as f32).powf(i as f32 / spatial as f32)).collect();
        let mut angles = Vec::with_capacity(h * w * spatial);
        for y in 0..h {
            for x in 0..w {
                angles.extend(freqs.iter().map(|f| x as f32 * step * f));
                angles.extend(freqs.iter().map(|f| y as f32 * step * f));
            }
        }
        let table = |f: fn(f32) -> f32| {
            let data: Vec<f32> = angles.iter().copied().map(f).collect();
            Tensor::from_vec(data, (h * w, spatial), device)
        };
        Ok(Self { cos: table(f32::cos)?, sin: table(f32::sin)? })
    }
}
