//! The fast CPU operations against the plain compositions, on shapes that are not multiples of any block.

use candle_core::{Device, Result, Tensor};

use super::*;

/// Deterministic values in [-1, 1), different for every `seed`.
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
fn attention_agrees_with_plain_across_block_borders() -> Result<()> {
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
fn masked_keys_have_no_weight_even_in_the_first_block() -> Result<()> {
    let (q, k, v) = (values(1, &[1, 5, 16]), values(2, &[1, 600, 16]), values(3, &[1, 600, 16]));
    let mask: Vec<f32> = (0..600).map(|i| if i < 550 { f32::NEG_INFINITY } else { 0.0 }).collect();
    let mask = Tensor::from_vec(mask, (1, 1, 1, 600), &Device::Cpu)?;
    let got = cpu::attention::sdpa(&q, &k, &v, 2, Some(&mask), 1.0)?;
    let (k, v) = (k.narrow(1, 550, 50)?, v.narrow(1, 550, 50)?);
    assert_close(&got, &plain::sdpa(&q, &k.contiguous()?, &v.contiguous()?, 2, None, 1.0)?, 1e-5);
    Ok(())
}

#[test]
fn attention_over_own_key_lengths_agrees_with_plain() -> Result<()> {
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

#[test]
fn rope_agrees_with_plain() -> Result<()> {
    let x = values(1, &[2, 23, 32]);
    let (cos, sin) = (values(2, &[10, 8]), values(3, &[10, 8]));
    assert_close(&cpu::rope::rope(&x, &cos, &sin, 2, 20)?, &plain::rope(&x, &cos, &sin, 2, 20)?, 1e-6);
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
fn windows_merge_to_what_was_split() -> Result<()> {
    let x = values(1, &[2, 7, 10, 3]);
    for size in [2, 3, 5, 8] {
        assert_close(&window_merge(&window_split(&x, size)?, size, (7, 10))?, &x, 0.0);
    }
    Ok(())
}

#[test]
fn transposed_convolution_agrees_with_candle() -> Result<()> {
    let (x, w, b) = (values(1, &[1, 4, 5, 6]), values(2, &[6, 3, 2, 2]), values(3, &[3]));
    let ours =
        conv_transpose2x2(&x, &w.permute((2, 3, 1, 0))?.contiguous()?.reshape((12, 6))?, &b.repeat(4)?)?;
    let want = x.permute((0, 3, 1, 2))?.contiguous()?.conv_transpose2d(&w, 0, 0, 2, 1)?;
    let want = want.permute((0, 2, 3, 1))?.broadcast_add(&b)?;
    assert_close(&ours, &want, 1e-5);
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
    // Halving with antialiasing: a triangle of half-width 2, weights 1 3 3 1 over 8.
    let ramp = Tensor::new(&[[[0f32, 0.0, 8.0, 0.0, 0.0, 0.0, 0.0, 0.0]]], &Device::Cpu)?;
    let got = Resizer::new((1, 8), (1, 4), Filter::Antialiased, &Device::Cpu)?
        .resize(&ramp)?
        .flatten_all()?
        .to_vec1::<f32>()?;
    assert_eq!(got[1], 3.0);
    Ok(())
}
