//! Compares every fused kernel with the plain composition in f32, at the model's real shapes, on the GPU in use.

use candle_core::{D, DType, Device, Result, Tensor};

use super::{attention, boxes, fused, pixel_values};
use crate::ops::{
    Activation, ConvGeometry, Verified, box_bias, box_distances, plain, refine_boxes, resize_rgb,
    window_merge, window_split,
};
use crate::position::{BoxSine, RopeTable};

/// bfloat16 has 8 bits. Inputs are exact, the result is rounded once and, in attention, so is every probability.
const ALLOWED: f32 = 1.0 / 64.0;

/// Runs all comparisons.
///
/// # Errors
/// If the device fails. A kernel that disagrees is not an error.
pub(crate) fn verify(device: &Device) -> Result<Vec<Verified>> {
    let mut all = Vec::new();
    let check = Check { device };
    check.attention(&mut all)?;
    check.steps(&mut all)?;
    check.after_products(&mut all)?;
    check.boxes(&mut all)?;
    all.push(check.resize()?);
    Ok(all)
}

struct Check<'a> {
    device: &'a Device,
}

fn wide(x: &Tensor) -> Result<Tensor> {
    x.to_dtype(DType::F32)
}

fn compare(name: impl Into<String>, got: Option<Tensor>, want: &Tensor, allowed: f32) -> Result<Verified> {
    let name = name.into();
    let Some(got) = got else {
        return Ok(Verified { name: format!("{name}: no kernel for it"), off: f32::NAN, allowed });
    };
    let largest = want.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
    let differences = (wide(&got)? - want)?.abs()?.flatten_all()?;
    // A maximum can ignore NaN, but a sum does not. Comparing only zeros proves nothing.
    let is_comparison = largest > 0.0 && differences.sum_all()?.to_scalar::<f32>()?.is_finite();
    let off = differences.max(0)?.to_scalar::<f32>()? / largest.max(f32::MIN_POSITIVE);
    Ok(Verified { name, off: if is_comparison { off } else { f32::NAN }, allowed })
}

impl Check<'_> {
    /// Normally distributed numbers, rounded to bf16.
    fn random(&self, shape: &[usize]) -> Result<Tensor> {
        Tensor::randn(0f32, 1.0, shape, self.device)?.to_dtype(DType::BF16)
    }

    fn attention(&self, all: &mut Vec<Verified>) -> Result<()> {
        for (what, batch, lq, lk, heads, d) in [
            ("vision window", 9, 576, 576, 16, 64),
            ("vision global", 1, 5184, 5184, 16, 64),
            ("detector image", 1, 5184, 5184, 8, 32),
            ("detector text", 1, 5184, 32, 8, 32),
            ("tracker image", 2, 5184, 5184, 1, 256),
        ] {
            let q = self.random(&[batch, lq, heads * d])?;
            let (k, v) = (self.random(&[batch, lk, heads * d])?, self.random(&[batch, lk, heads * d])?);
            let scale = (d as f32).sqrt().recip();
            let got = attention::sdpa(&q, &k, &v, heads, None, scale)?;
            let want = plain::sdpa(&wide(&q)?, &wide(&k)?, &wide(&v)?, heads, None, scale)?;
            let name = format!("attention, {what}: {batch} x {lq} x {lk}, {heads} heads of {d}");
            all.push(compare(name, got, &want, ALLOWED)?);
        }
        self.biased_attention(all)?;
        // One object, whose keys are split, and several objects with different numbers of memories.
        for lens in [vec![51_916], vec![51_916, 36_352, 5_188, 1]] {
            let n_keys = lens.iter().sum();
            let q = self.random(&[lens.len(), 5184, 256])?;
            let (k, v) = (self.random(&[n_keys, 256])?, self.random(&[n_keys, 64])?);
            let got = attention::sdpa_varlen(&q, &k, &v, 1, &lens, 1.0 / 16.0)?;
            let want = plain::sdpa_varlen(&wide(&q)?, &wide(&k)?, &wide(&v)?, 1, &lens, 1.0 / 16.0)?;
            all.push(compare(format!("attention, memory: keys {lens:?}"), got, &want, ALLOWED)?);
        }
        Ok(())
    }

    fn biased_attention(&self, all: &mut Vec<Verified>) -> Result<()> {
        let (heads, d) = (8, 32);
        let scale = (d as f32).sqrt().recip();
        let padding: Vec<f32> = (0..32).map(|i| if i < 7 { 0.0 } else { f32::NEG_INFINITY }).collect();
        let padding = Tensor::from_vec(padding, (1, 1, 1, 32), self.device)?;
        let boxes = (self.random(&[1, heads, 201, 5184])? * 4.0)?;
        for (what, lq, lk, bias) in [("box bias", 201, 5184, boxes), ("masked text", 5184, 32, padding)] {
            let q = self.random(&[1, lq, heads * d])?;
            let (k, v) = (self.random(&[1, lk, heads * d])?, self.random(&[1, lk, heads * d])?);
            let got = attention::sdpa(&q, &k, &v, heads, Some(&bias), scale)?;
            let want = plain::sdpa(&wide(&q)?, &wide(&k)?, &wide(&v)?, heads, Some(&wide(&bias)?), scale)?;
            all.push(compare(format!("attention, {what}: {lq} x {lk}"), got, &want, ALLOWED)?);
        }
        Ok(())
    }

    fn steps(&self, all: &mut Vec<Verified>) -> Result<()> {
        let float = |shape: &[usize]| Tensor::randn(0f32, 1.0, shape, self.device);
        let x = self.random(&[5184, 1024])?;
        let (weight, bias) = (float(&[1024])?, float(&[1024])?);
        let got = fused::layer_norm(&x, &weight, &bias, 1e-6)?;
        let want = plain::layer_norm(&wide(&x)?, &weight, &bias, 1e-6)?;
        all.push(compare("layer norm: 5184 x 1024", Some(got), &want, ALLOWED)?);

        let image = self.random(&[288, 288, 256])?;
        let (weight, bias) = (float(&[256])?, float(&[256])?);
        let got = fused::group_norm_relu(&image, 8, &weight, &bias, 1e-5)?;
        let want = plain::group_norm_relu(&wide(&image)?, 8, &weight, &bias, 1e-5)?;
        all.push(compare("group norm: 288 x 288 x 256", got, &want, ALLOWED)?);

        for activation in [Activation::Relu, Activation::Gelu, Activation::Sigmoid] {
            let (w, b) = (self.random(&[4736, 1024])?, self.random(&[4736])?);
            let got = fused::linear(&x, &w, Some(&b), activation)?;
            let want = plain::linear(&wide(&x)?, &wide(&w)?, Some(&wide(&b)?), activation)?;
            all.push(compare(
                format!("linear, {activation:?}: 5184 x 1024 x 4736"),
                Some(got),
                &want,
                ALLOWED,
            )?);
        }

        let (a, b) = (self.random(&[3, 5184, 256])?, self.random(&[5184, 256])?);
        let want = wide(&a)?.broadcast_add(&wide(&b)?)?;
        all.push(compare("add: 3 x 5184 x 256", fused::add(&a, &b)?, &want, ALLOWED)?);

        let g = ConvGeometry { kernel: 3, stride: 1, padding: 1 };
        let (x, w, b) =
            (self.random(&[1, 288, 288, 256])?, self.random(&[256, 9 * 256])?, self.random(&[256])?);
        let got = fused::conv2d(&x, &w, Some(&b), g)?;
        let want = plain::conv2d(&wide(&x)?, &wide(&w)?, Some(&wide(&b)?), g)?;
        all.push(compare("convolution: 288 x 288 x 256, 3 x 3", got, &want, ALLOWED)?);

        let g = ConvGeometry { kernel: 7, stride: 1, padding: 3 };
        let (x, w, b) = (self.random(&[3, 72, 72, 256])?, float(&[49, 256])?, float(&[256])?);
        let got = fused::depthwise_conv2d(&x, &w, &b, g)?;
        let want = plain::depthwise_conv2d(&wide(&x)?, &w, &b, g)?;
        all.push(compare("depthwise convolution: 3 x 72 x 72 x 256", got, &want, ALLOWED)?);
        Ok(())
    }

    fn boxes(&self, all: &mut Vec<Verified>) -> Result<()> {
        let (n, grid, heads) = (200, 72, 8);
        let boxes = Tensor::rand(0f32, 1.0, (n, 4), self.device)?;
        // A box that extends beyond the image, and an empty one.
        let odd = Tensor::new(&[[1f32, 0.0, 2.0, 1.0], [0.5, 0.5, 0.0, 0.0]], self.device)?;
        let boxes = Tensor::cat(&[&boxes.narrow(0, 2, n - 2)?, &odd], 0)?;
        let sine = BoxSine::new(256, self.device)?;
        let got = boxes::sine(&boxes, sine.wavelengths())?;
        all.push(compare("sines of boxes: 200 x 512", Some(got), &sine.embed(&boxes)?, ALLOWED)?);
        let got = boxes::distances(&boxes, grid)?;
        let want = box_distances(&boxes, grid, DType::F32)?;
        all.push(compare("distances to boxes: 2 x 200 x 72", Some(got), &want, ALLOWED)?);
        let (x, y) = (self.random(&[n, grid, heads])?, self.random(&[n, grid, heads])?);
        let want = box_bias(&wide(&x)?, &wide(&y)?)?;
        all.push(compare("box bias: 8 x 201 x 5184", Some(boxes::bias(&x, &y)?), &want, ALLOWED)?);
        let deltas = self.random(&[n, 4])?;
        let want = refine_boxes(&boxes, &wide(&deltas)?)?;
        all.push(compare("box refinement: 200", Some(boxes::refine(&boxes, &deltas)?), &want, ALLOWED)?);
        Ok(())
    }

    /// Kernels that follow a product and add its bias.
    fn after_products(&self, all: &mut Vec<Verified>) -> Result<()> {
        let angles = |p: usize, d: usize| -> Result<RopeTable> {
            let table = || Tensor::randn(0f32, 1.0, (p, d / 2), self.device);
            Ok(RopeTable { cos: table()?, sin: table()? })
        };
        let linear = |x: &Tensor, w: &Tensor, b: &Tensor| {
            plain::linear(&wide(x)?, &wide(w)?, Some(&wide(b)?), Activation::None)
        };
        let size = 24;
        let images = self.random(&[2, 72, 72, 1024])?;
        let objects = self.random(&[2, 5184, 256])?;
        for (x, side, heads, d, window) in
            [(&images, size, 16, 64, Some(size)), (&images, 72, 16, 64, None), (&objects, 72, 1, 256, None)]
        {
            let (c, table) = (x.dim(D::Minus1)?, angles(side * side, d)?);
            let (w, b) = (self.random(&[3 * c, c])?, self.random(&[3 * c])?);
            let got = fused::qkv_rope(x, (&w, &b), heads, &table, window)?;
            let sequences = match window {
                Some(size) => window_split(x, size)?,
                None => x.reshape((2, 5184, c))?,
            };
            for (i, what) in ["queries", "keys", "values"].into_iter().enumerate() {
                let rows = |t: &Tensor| t.narrow(0, c * i, c);
                let want = linear(&sequences, &rows(&w)?, &rows(&b)?)?;
                let want = if i < 2 { plain::rope(&want, heads, &table)? } else { want };
                let got = got.as_ref().map(|got| got[i].clone());
                let name = format!("{what}, {:?} of {heads} heads", sequences.dims());
                all.push(compare(name, got, &want, ALLOWED)?);
            }
        }

        let windows = window_split(&images, size)?;
        let (w, b) = (self.random(&[1024, 1024])?, self.random(&[1024])?);
        let got = fused::linear_add(&windows, (&w, &b), &images, Some(size))?;
        let want = (window_merge(&linear(&windows, &w, &b)?, size, (72, 72))? + wide(&images)?)?;
        all.push(compare("windows added to images: 2 x 72 x 72 x 1024", got, &want, ALLOWED)?);

        let (w, b, table) = (self.random(&[256, 64])?, self.random(&[256])?, angles(5184, 256)?);
        let (lens, n_rotated) = ([2 * 5184 + 76, 5184 + 4, 64], [2 * 5184, 5184, 0]);
        let x = self.random(&[lens.iter().sum(), 64])?;
        let got = fused::linear_rope_varlen(&x, (&w, &b), 1, &table, &lens, &n_rotated)?;
        let want = plain::rope_varlen(&linear(&x, &w, &b)?, 1, &table, &lens, &n_rotated)?;
        all.push(compare(format!("keys of memories: {lens:?} x 256"), got, &want, ALLOWED)?);

        let (x, w) = (self.random(&[3, 5184, 256])?, self.random(&[256, 256])?);
        let got = fused::linear_rope(&x, (&w, &b), 1, &table)?;
        let want = plain::rope(&linear(&x, &w, &b)?, 1, &table)?;
        all.push(compare("queries of objects: 3 x 5184 x 256", got, &want, ALLOWED)?);
        let shared = self.random(&[1, 5184, 256])?;
        let got = fused::linear_add(&x, (&w, &b), &shared, None)?;
        let want = linear(&x, &w, &b)?.broadcast_add(&wide(&shared)?)?;
        all.push(compare("product added to residual: 3 x 5184 x 256", got, &want, ALLOWED)?);

        let (memory, pointer) = (self.random(&[5184, 64])?, self.random(&[4, 64])?);
        let (cells, age) = (self.random(&[5184, 64])?, self.random(&[1, 64])?);
        let got = fused::cat_with_positions(&[(&memory, &cells), (&pointer, &age), (&memory, &cells)])?;
        let (rows, placed) = got.map_or((None, None), |(rows, placed)| (Some(rows), Some(placed)));
        let want = wide(&Tensor::cat(&[&memory, &pointer, &memory], 0)?)?;
        all.push(compare("concatenated memories: 10372 x 64", rows, &want, 0.0)?);
        let (memory, pointer) = ((wide(&memory)? + wide(&cells)?)?, wide(&pointer)?);
        let pointer = pointer.broadcast_add(&wide(&age)?)?;
        let want = Tensor::cat(&[&memory, &pointer, &memory], 0)?;
        all.push(compare("memories with positions: 10372 x 64", placed, &want, ALLOWED)?);
        Ok(())
    }

    /// The resize must yield exactly the bytes of the CPU, which bf16 can represent after `(x − 127.5) / 127.5`.
    fn resize(&self) -> Result<Verified> {
        let (from, size) = ((1080, 1920), 1008);
        let rgb: Vec<u8> = (0..from.0 * from.1 * 3usize).map(|i| ((i * 7919) >> 5) as u8).collect();
        let (mean, std) = ([127.5; 3], [127.5; 3]);
        let got = pixel_values(&rgb, from, size, mean, std, self.device)?;
        let square = resize_rgb(&rgb, from, (size, size));
        let want: Vec<f32> = square.iter().map(|&x| (f32::from(x) - 127.5) / 127.5).collect();
        let want = Tensor::from_vec(want, (1, size, size, 3), self.device)?;
        let want = wide(&want.to_dtype(DType::BF16)?)?;
        compare("resize: 1080 x 1920 to 1008 x 1008", Some(got), &want, 0.0)
    }
}
