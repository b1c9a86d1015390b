//! Elementwise functions and reductions over `f32` slices, written so that the compiler vectorises them
//! under `pulp`'s run-time dispatch.

/// Number of partial sums of a reduction. It is fixed, so that results do not depend on the vector width.
const LANES: usize = 16;

/// Defines functions that are compiled for several instruction sets, of which the best one is selected at run time.
/// Functions that a body calls are only vectorised if they are `#[inline(always)]`.
macro_rules! vectorised {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $body:block)*) => {$(
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) {
            struct Run<T>(T);
            impl pulp::NullaryFnOnce for Run<($($ty,)*)> {
                type Output = ();
                #[inline(always)]
                fn call(self) {
                    let Self(($($arg,)*)) = self;
                    $body
                }
            }
            pulp::Arch::new().dispatch(Run(($($arg,)*)));
        }
    )*};
}
pub(crate) use vectorised;

vectorised! {
    /// `max(x, 0)` in place.
    pub(crate) fn relu(data: &mut [f32]) {
        data.iter_mut().for_each(|x| *x = x.max(0.0));
    }

    /// Exact GELU, `x/2 (1 + erf(x/√2))`, in place.
    pub(crate) fn gelu(data: &mut [f32]) {
        data.iter_mut().for_each(|x| *x = 0.5 * *x * (1.0 + erf(*x * std::f32::consts::FRAC_1_SQRT_2)));
    }

    /// `1 / (1 + exp(-x))` in place.
    pub(crate) fn sigmoid(data: &mut [f32]) {
        data.iter_mut().for_each(|x| *x = 1.0 / (1.0 + exp(-*x)));
    }

    /// `out += weight · x`.
    pub(crate) fn add_scaled(out: &mut [f32], x: &[f32], weight: f32) {
        out.iter_mut().zip(x).for_each(|(o, x)| *o += x * weight);
    }
}

/// `exp(x)` by range reduction and a degree-6 polynomial (Cephes `expf`), relative error below 3e-7.
/// The result is 0 for arguments below -87.3.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LN2_HI: f32 = 0.693_359_4;
    const LN2_LO: f32 = -2.121_944_4e-4;
    /// Adding and subtracting this number rounds to an integer without a function call.
    const ROUND: f32 = 12_582_912.0;
    let clamped = x.clamp(-87.3, 88.3);
    let n = clamped.mul_add(std::f32::consts::LOG2_E, ROUND) - ROUND;
    let r = n.mul_add(-LN2_LO, n.mul_add(-LN2_HI, clamped));
    let p = 1.987_569_1e-4f32;
    let p = p.mul_add(r, 1.398_199_9e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 1.666_666_5e-1);
    let p = p.mul_add(r, 5.000_000_3e-1);
    let e = (p * r).mul_add(r, r) + 1.0;
    let scale = f32::from_bits(((n as i32 + 127) << 23) as u32);
    if x < -87.3 { 0.0 } else { e * scale }
}

/// Error function by a rational minimax approximation on [-4, 4] (the form used by Eigen), absolute error
/// below 5e-7.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let x2 = x * x;
    let p = -2.726_142_3e-10f32;
    let p = p.mul_add(x2, 2.770_681_4e-8);
    let p = p.mul_add(x2, -2.101_024e-6);
    let p = p.mul_add(x2, -5.692_506_4e-5);
    let p = p.mul_add(x2, -7.349_906_3e-4);
    let p = p.mul_add(x2, -2.954_6e-3);
    let p = p.mul_add(x2, -1.609_603_3e-2);
    let q = -1.456_607_2e-5f32;
    let q = q.mul_add(x2, -2.133_740_6e-4);
    let q = q.mul_add(x2, -1.682_827e-3);
    let q = q.mul_add(x2, -7.373_329_2e-3);
    let q = q.mul_add(x2, -1.426_473_9e-2);
    x * p / q
}

/// Largest element; negative infinity of an empty slice.
#[inline(always)]
pub(crate) fn max(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = if x > *lane { x } else { *lane };
        }
    }
    let tail = rest.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    lanes.iter().copied().fold(tail, f32::max)
}

/// Replaces each `x` by `exp(x - shift)` and returns the sum.
#[inline(always)]
pub(crate) fn exp_shifted_sum(row: &mut [f32], shift: f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let mut chunks = row.chunks_exact_mut(LANES);
    for chunk in &mut chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *x = exp(*x - shift);
            *lane += *x;
        }
    }
    let mut sum = 0.0;
    for x in chunks.into_remainder() {
        *x = exp(*x - shift);
        sum += *x;
    }
    lanes.iter().sum::<f32>() + sum
}

/// Sum of `f(x)` over a row.
#[inline(always)]
pub(crate) fn sum_of(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += f(x);
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().map(|&x| f(x)).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_agrees_with_the_standard_library() {
        for i in -8700..8800 {
            let x = i as f32 * 0.01;
            let (got, want) = (exp(x), x.exp());
            assert!((got - want).abs() <= want * 3e-7, "exp({x}) = {got}, want {want}");
        }
        assert_eq!(exp(-200.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn erf_agrees_with_a_series_in_double_precision() {
        for i in -500..=500 {
            let x = f64::from(i) * 0.01;
            let (mut term, mut sum) = (x, x);
            for n in 1..200 {
                term *= -x * x / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            let want = sum * 2.0 / std::f64::consts::PI.sqrt();
            let got = f64::from(erf(x as f32));
            assert!((got - want).abs() < 5e-7, "erf({x}) = {got}, want {want}");
        }
    }

    #[test]
    fn reductions_count_every_element_once() {
        for n in [0, 1, 15, 16, 17, 100] {
            let row: Vec<f32> = (0..n).map(|i| (i as f32 * 0.7).sin()).collect();
            let mut exped = row.clone();
            let sum = exp_shifted_sum(&mut exped, 0.5);
            let want: f32 = row.iter().map(|x| (x - 0.5).exp()).sum();
            assert!((sum - want).abs() < 1e-4);
            assert_eq!(max(&row), row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            assert!((sum_of(&row, |x| x) - row.iter().sum::<f32>()).abs() < 1e-4);
        }
    }
}
