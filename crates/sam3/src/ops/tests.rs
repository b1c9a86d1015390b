//! Compares the CPU operations with the plain compositions, on shapes that are not multiples of any block size.

use candle_core::{Device, Result, Tensor};

use super::*;
use crate::position::RopeTable;

/// Pseudo-random values in [-1, 1), different for every `seed`.
fn values(seed: u64, shape: &[usize]) -> Tensor {
    let n = shape.iter().product();
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let data: Vec<f32> = (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / 8_388_608.0 - 1.0
        })
        .collect();
    Tensor::from_vec(data, shape, &Device::Cpu).unwrap()
}

fn assert_close(got: &Tensor, want: &Tensor, tolerance: f32) {
    assert_eq!(got.shape(), want.shape());
    let got = got.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let want = want.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for (i, (g, w)) in got.iter().zip(&want).enumerate() {
        assert!((g - w).abs() <= tolerance, "element {i}: {g}, want {w}");
    }
}

#[test]
fn linear_agrees_with_plain() -> Result<()> {
    for activation in [Activation::None, Activation::Relu, Activation::Gelu, Activation::Sigmoid] {
        let (x, w, b) = (values(1, &[3, 50, 37]), values(2, &[29, 37]), values(3, &[29]));
        assert_close(
            &cpu::linear::linear(&x, &w, Some(&b), activation)?,
            &plain::linear(&x, &w, Some(&b), activation)?,
            2e-5,
        );
    }
    let (x, w) = (values(1, &[300, 300]), values(2, &[300, 300]));
    let bf16 = w.to_dtype(candle_core::DType::BF16)?;
    assert_close(
        &cpu::linear::linear(&x, &bf16, None, Activation::None)?,
        &plain::linear(&x, &bf16, None, Activation::None)?,
        1e-4,
    );
    Ok(())
}

#[test]
fn norms_agree_with_plain() -> Result<()> {
    let (w, b) = (values(2, &[24]), values(3, &[24]));
    let x = values(1, &[900, 24]);
    assert_close(&cpu::norm::layer_norm(&x, &w, &b, 1e-6)?, &plain::layer_norm(&x, &w, &b, 1e-6)?, 1e-5);
    let x = values(1, &[30, 31, 24]);
    assert_close(
        &cpu::norm::group_norm_relu(&x, 8, &w, &b, 1e-5)?,
        &plain::group_norm_relu(&x, 8, &w, &b, 1e-5)?,
        1e-5,
    );
    Ok(())
}

#[test]
fn attention_agrees_with_plain_across_block_boundaries() -> Result<()> {
    for (lq, lk) in [(1, 1), (7, 513), (200, 32), (130, 1500)] {
        let (q, k, v) = (values(1, &[2, lq, 48]), values(2, &[2, lk, 48]), values(3, &[2, lk, 30]));
        let bias = (values(4, &[1, 3, lq, lk]) * 4.0)?;
        for bias in [None, Some(&bias)] {
            assert_close(
                &cpu::attention::sdpa(&q, &k, &v, 3, bias, 0.7)?,
                &plain::sdpa(&q, &k, &v, 3, bias, 0.7)?,
                1e-5,
            );
        }
    }
    Ok(())
}

#[test]
fn masked_keys_have_zero_weight_even_in_the_first_block() -> Result<()> {
    let (q, k, v) = (values(1, &[1, 5, 16]), values(2, &[1, 600, 16]), values(3, &[1, 600, 16]));
    let mask: Vec<f32> = (0..600).map(|i| if i < 550 { f32::NEG_INFINITY } else { 0.0 }).collect();
    let mask = Tensor::from_vec(mask, (1, 1, 1, 600), &Device::Cpu)?;
    let got = cpu::attention::sdpa(&q, &k, &v, 2, Some(&mask), 1.0)?;
    let (k, v) = (k.narrow(1, 550, 50)?, v.narrow(1, 550, 50)?);
    assert_close(&got, &plain::sdpa(&q, &k.contiguous()?, &v.contiguous()?, 2, None, 1.0)?, 1e-5);
    Ok(())
}

#[test]
fn attention_with_different_key_lengths_agrees_with_plain() -> Result<()> {
    let lens = [3, 700, 64];
    let (q, k, v) = (values(1, &[3, 150, 64]), values(2, &[767, 64]), values(3, &[767, 20]));
    for heads in [1, 2] {
        assert_close(
            &cpu::attention::sdpa_varlen(&q, &k, &v, heads, &lens, 0.3)?,
            &plain::sdpa_varlen(&q, &k, &v, heads, &lens, 0.3)?,
            1e-5,
        );
    }
    Ok(())
}

/// A rotary table of `p` rows for heads of `d` channels.
fn angles(p: usize, d: usize) -> RopeTable {
    RopeTable { cos: values(2, &[p, d / 2]), sin: values(3, &[p, d / 2]) }
}

#[test]
fn rope_agrees_with_plain() -> Result<()> {
    let (x, table) = (values(1, &[2, 20, 32]), angles(10, 16));
    assert_close(&cpu::rope::rope(&x, 2, &table)?, &plain::rope(&x, 2, &table)?, 1e-6);
    let (x, lens, n_rotated) = (values(1, &[66, 32]), [23, 1, 12, 30], [20, 0, 12, 10]);
    assert_close(
        &cpu::rope::rope_varlen(&x, 2, &table, &lens, &n_rotated)?,
        &plain::rope_varlen(&x, 2, &table, &lens, &n_rotated)?,
        1e-6,
    );
    Ok(())
}

#[test]
fn rotating_entries_together_equals_rotating_each() -> Result<()> {
    let (w, b, table) = (values(4, &[32, 8]), values(5, &[32]), angles(10, 16));
    let (x, lens, n_rotated) = (values(1, &[56, 8]), [24, 12, 20], [20, 10, 20]);
    let together = linear_rope_varlen(&x, (&w, &b), 2, &table, &lens, &n_rotated)?;
    let mut start = 0;
    for (len, n_rotated) in lens.into_iter().zip(n_rotated) {
        let alone = x.narrow(0, start, len)?;
        let rotated = linear_rope(&alone.narrow(0, 0, n_rotated)?.unsqueeze(0)?, (&w, &b), 2, &table)?;
        assert_close(&together.narrow(0, start, n_rotated)?, &rotated.squeeze(0)?, 1e-6);
        let others = linear(&alone, &w, Some(&b), Activation::None)?.narrow(0, n_rotated, len - n_rotated)?;
        assert_close(&together.narrow(0, start + n_rotated, len - n_rotated)?, &others, 1e-6);
        start += len;
    }
    Ok(())
}

#[test]
fn qkv_rope_equals_three_separate_products() -> Result<()> {
    let (w, b, table) = (values(4, &[3 * 32, 8]), values(5, &[3 * 32]), angles(9, 16));
    let x = values(1, &[2, 6, 9, 8]);
    for window in [None, Some(3)] {
        let sequences = match window {
            Some(size) => window_split(&x, size)?,
            None => x.flatten(1, 2)?,
        };
        for (i, got) in qkv_rope(&x, (&w, &b), 2, &table, window)?.iter().enumerate() {
            let (w, b) = (w.narrow(0, 32 * i, 32)?, b.narrow(0, 32 * i, 32)?);
            let want = plain::linear(&sequences, &w, Some(&b), Activation::None)?;
            let want = if i < 2 { plain::rope(&want, 2, &table)? } else { want };
            assert_close(got, &want, 1e-5);
        }
    }
    Ok(())
}

#[test]
fn linear_add_equals_product_plus_residual() -> Result<()> {
    let (w, b) = (values(4, &[24, 8]), values(5, &[24]));
    let x = values(1, &[3, 50, 8]);
    // The same shape as the product, repeated shapes, and a larger one.
    for shape in [&[3, 50, 24][..], &[1, 50, 24], &[50, 24], &[24], &[2, 3, 50, 24]] {
        let residual = values(6, shape);
        let want = plain::linear(&x, &w, Some(&b), Activation::None)?.broadcast_add(&residual)?;
        assert_close(&linear_add(&x, (&w, &b), &residual)?, &want, 1e-5);
    }
    let (image, size) = (values(7, &[2, 7, 10, 24]), 4);
    let windows = window_split(&values(1, &[2, 7, 10, 8]), size)?;
    let product = window_merge(&plain::linear(&windows, &w, Some(&b), Activation::None)?, size, (7, 10))?;
    assert_close(&linear_add_windows(&windows, (&w, &b), &image, size)?, &(product + image)?, 1e-5);
    Ok(())
}

#[test]
fn concatenated_sequences_contain_each_part_and_its_positions() -> Result<()> {
    // Number of rows and positions. Parts with one position follow each other, and one has a single row.
    let shapes = [(5, 5), (4, 1), (4, 1), (2, 1), (1, 1), (3, 3)];
    let parts: Vec<(Tensor, Tensor)> = (1..)
        .zip(shapes)
        .map(|(seed, (l, p))| {
            (values(seed, &[l, 8]).to_dtype(DType::BF16).unwrap(), values(seed + 100, &[p, 8]))
        })
        .collect();
    let borrowed: Vec<(&Tensor, &Tensor)> = parts.iter().map(|(rows, positions)| (rows, positions)).collect();
    let (rows, placed) = cat_with_positions(&borrowed)?;
    let mut start = 0;
    for (want, positions) in &parts {
        let (want, l) = (want.to_dtype(DType::F32)?, want.dim(0)?);
        assert_close(&rows.narrow(0, start, l)?, &want, 0.0);
        assert_close(&placed.narrow(0, start, l)?, &want.broadcast_add(positions)?, 0.0);
        start += l;
    }
    assert_eq!(rows.dim(0)?, start);
    Ok(())
}

#[test]
fn convolutions_agree_with_plain() -> Result<()> {
    for (kernel, stride, padding) in [(3, 1, 1), (3, 2, 1), (2, 2, 0), (4, 4, 0), (1, 1, 0)] {
        let g = ConvGeometry { kernel, stride, padding };
        let x = values(1, &[2, 20, 24, 5]);
        let (w, b) = (values(2, &[7, kernel * kernel * 5]), values(3, &[7]));
        assert_close(&cpu::conv::conv2d(&x, &w, Some(&b), g)?, &plain::conv2d(&x, &w, Some(&b), g)?, 2e-5);
    }
    let g = ConvGeometry { kernel: 7, stride: 1, padding: 3 };
    let (x, w, b) = (values(1, &[2, 9, 12, 6]), values(2, &[49, 6]), values(3, &[6]));
    assert_close(
        &cpu::conv::depthwise_conv2d(&x, &w, &b, g)?,
        &plain::depthwise_conv2d(&x, &w, &b, g)?,
        2e-5,
    );
    Ok(())
}

#[test]
fn window_merge_inverts_window_split() -> Result<()> {
    let x = values(1, &[2, 7, 10, 3]);
    for size in [2, 3, 5, 8] {
        assert_close(&window_merge(&window_split(&x, size)?, size, (7, 10))?, &x, 0.0);
    }
    Ok(())
}

#[test]
fn transposed_convolution_agrees_with_candle() -> Result<()> {
    let (x, w, b) = (values(1, &[1, 4, 5, 6]), values(2, &[6, 3, 2, 2]), values(3, &[3]));
    let got =
        conv_transpose2x2(&x, &w.permute((2, 3, 1, 0))?.contiguous()?.reshape((12, 6))?, &b.repeat(4)?)?;
    let want = x.permute((0, 3, 1, 2))?.contiguous()?.conv_transpose2d(&w, 0, 0, 2, 1)?;
    let want = want.permute((0, 2, 3, 1))?.broadcast_add(&b)?;
    assert_close(&got, &want, 1e-5);
    Ok(())
}

#[test]
fn resizing_keeps_constants_and_matches_known_averages() -> Result<()> {
    let x = Tensor::full(0.7f32, (2, 5, 9), &Device::Cpu)?;
    for filter in [Filter::Bilinear, Filter::Antialiased] {
        for size in [(3, 4), (5, 9), (11, 30)] {
            assert_close(
                &Resizer::new((5, 9), size, filter, &Device::Cpu)?.resize(&x)?,
                &Tensor::full(0.7f32, (2, size.0, size.1), &Device::Cpu)?,
                1e-6,
            );
        }
    }
    // Halving with antialiasing: a triangle of half-width 2, weights 1/8, 3/8, 3/8, 1/8.
    let ramp = Tensor::new(&[[[0f32, 0.0, 8.0, 0.0, 0.0, 0.0, 0.0, 0.0]]], &Device::Cpu)?;
    let got = Resizer::new((1, 8), (1, 4), Filter::Antialiased, &Device::Cpu)?
        .resize(&ramp)?
        .flatten_all()?
        .to_vec1::<f32>()?;
    assert_eq!(got[1], 3.0);
    Ok(())
}
