//! From low-resolution masks to masks in source pixels (reference: `Sam3VideoProcessor.postprocess_outputs`).

use super::output::Mask;
use crate::ops::{Taps, bilinear_taps};

/// Enlarges low-resolution masks to the size of the source frames.
#[derive(Debug, Clone)]
pub(crate) struct Enlarger {
    side: usize,
    columns: Vec<Taps>,
    rows: Vec<Taps>,
}

impl Enlarger {
    /// From `side` × `side` to `height` × `width`.
    pub(crate) fn new(side: usize, (height, width): (usize, usize)) -> Self {
        Self { side, columns: bilinear_taps(side, width), rows: bilinear_taps(side, height) }
    }

    /// The pixels of the bilinearly enlarged mask that are above 0; `None` if no pixel is. Only the part that can be
    /// positive is computed.
    pub(crate) fn enlarge(&self, logits: &[f32]) -> Option<Mask> {
        let Rectangle { top, bottom, left, right } = Rectangle::of(logits, self.side, |x| x > 0.0)?;
        let (y0, y1) = span(&self.rows, top, bottom);
        let (x0, x1) = span(&self.columns, left, right);
        let (rows, columns, width) = (&self.rows[y0..y1], &self.columns[x0..x1], x1 - x0);
        if width == 0 {
            return None; // the frame is too small to have a pixel in this part
        }
        let (first, last) = (rows.first()?.first(), rows.last()?);
        let sources = logits[first * self.side..].chunks_exact(self.side);
        let sources = sources.take(last.first() + last.weights().len() - first);
        let widened: Vec<f32> = sources.flat_map(|row| columns.iter().map(|taps| taps.apply(row))).collect();
        let mut pixels = Vec::with_capacity(rows.len() * width);
        let mut line = vec![0.0; width];
        for taps in rows {
            line.fill(0.0);
            let sources = widened[(taps.first() - first) * width..].chunks_exact(width);
            for (source, weight) in sources.zip(taps.weights()) {
                line.iter_mut().zip(source).for_each(|(sum, x)| *sum += x * weight);
            }
            pixels.extend(line.iter().map(|&x| x > 0.0));
        }
        let mask = Mask { x: x0, y: y0, width, height: y1 - y0, pixels };
        cropped(&mask)
    }
}

/// The smallest rectangle around the set pixels, its last row and column included.
struct Rectangle {
    top: usize,
    bottom: usize,
    left: usize,
    right: usize,
}

impl Rectangle {
    /// `None` if no pixel is set.
    fn of<T: Copy>(image: &[T], width: usize, is_set: impl Fn(T) -> bool) -> Option<Self> {
        let set = |x: &T| is_set(*x);
        let mut rows = image.chunks_exact(width);
        let top = rows.position(|row| row.iter().any(set))?;
        let bottom = image.chunks_exact(width).rposition(|row| row.iter().any(set))?;
        let rows = || image[top * width..(bottom + 1) * width].chunks_exact(width);
        let left = rows().filter_map(|row| row.iter().position(set)).min()?;
        let right = rows().filter_map(|row| row.iter().rposition(set)).max()?;
        Some(Self { top, bottom, left, right })
    }
}

/// The range of outputs that depend on one of the inputs `from..=to`.
fn span(taps: &[Taps], from: usize, to: usize) -> (usize, usize) {
    let start = taps.partition_point(|t| t.first() + t.weights().len() <= from);
    let end = taps.partition_point(|t| t.first() <= to);
    (start, end.max(start))
}

/// The same mask in the smallest rectangle that contains it; `None` if it is empty.
fn cropped(mask: &Mask) -> Option<Mask> {
    let Rectangle { top, bottom, left, right } = Rectangle::of(&mask.pixels, mask.width, |pixel| pixel)?;
    let rows = (top..=bottom).flat_map(|y| &mask.pixels[y * mask.width + left..=y * mask.width + right]);
    Some(Mask {
        x: mask.x + left,
        y: mask.y + top,
        width: right - left + 1,
        height: bottom - top + 1,
        pixels: rows.copied().collect(),
    })
}

/// Where masks of a prompt overlap, keeps the pixels only in the one with the highest tracker score, of equals the
/// first (reference: `_apply_object_wise_non_overlapping_constraints`).
pub(crate) fn resolve_overlaps(masks: &mut [Mask], prompts: &[usize], scores: &[f32]) {
    if masks.len() < 2 {
        return;
    }
    let original = masks.to_vec();
    for i in 0..masks.len() {
        if scores[i] <= 0.0 {
            masks[i].pixels.fill(false);
            continue;
        }
        for j in (0..original.len()).filter(|&j| j != i && prompts[j] == prompts[i]) {
            let stronger = scores[j] > scores[i] || (scores[j] == scores[i] && j < i);
            if stronger {
                subtract(&mut masks[i], &original[j]);
            }
        }
    }
}

/// Clears the pixels of `mask` that are set in `other`.
fn subtract(mask: &mut Mask, other: &Mask) {
    let (x0, x1) = (mask.x.max(other.x), (mask.x + mask.width).min(other.x + other.width));
    let (y0, y1) = (mask.y.max(other.y), (mask.y + mask.height).min(other.y + other.height));
    for y in y0..y1 {
        for x in x0..x1 {
            if other.pixels[(y - other.y) * other.width + x - other.x] {
                mask.pixels[(y - mask.y) * mask.width + x - mask.x] = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enlarges_a_mask_within_its_rectangle() {
        let mut logits = vec![-1.0; 64];
        logits[8 * 3 + 5] = 1.0;
        let mask = Enlarger::new(8, (80, 160)).enlarge(&logits).unwrap();
        // The pixel's centre is at (110, 35) and the logit is 2·wx·wy − 1, which crosses 0 a little less than half a
        // low-resolution pixel away.
        assert_eq!((mask.x, mask.y, mask.width, mask.height), (101, 30, 18, 10));
        assert!(mask.contains(110, 35) && !mask.contains(99, 35));
        assert!(Enlarger::new(8, (80, 160)).enlarge(&[-1.0; 64]).is_none());
    }

    #[test]
    fn resizing_equals_interpolation_pixel_by_pixel() {
        let mut random = 7u32;
        let mut number = move || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 8) as f32 / (1u32 << 23) as f32 - 1.0
        };
        for (side, height, width) in [(8, 20, 33), (8, 3, 2), (12, 12, 12), (9, 1, 40), (16, 2, 1)] {
            let enlarger = Enlarger::new(side, (height, width));
            for threshold in [0.0, 0.5, 0.9, 0.99] {
                let logits: Vec<f32> = (0..side * side).map(|_| number() - threshold).collect();
                let value = |y: usize, x: usize| {
                    let (rows, columns) = (&enlarger.rows[y], &enlarger.columns[x]);
                    let row = |k: usize| columns.apply(&logits[(rows.first() + k) * side..][..side]);
                    rows.weights().iter().enumerate().map(|(k, w)| row(k) * w).sum::<f32>()
                };
                let mask = enlarger.enlarge(&logits);
                let contains = |x, y| mask.as_ref().is_some_and(|mask| mask.contains(x, y));
                for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                    assert_eq!(contains(x, y), value(y, x) > 0.0, "{side} to {height} x {width} at {x}, {y}");
                }
            }
        }
    }

    #[test]
    fn overlaps_belong_to_the_most_confident() {
        let mask = |x: usize| Mask { x, y: 0, width: 4, height: 1, pixels: vec![true; 4] };
        let mut masks = [mask(0), mask(2), mask(2)];
        resolve_overlaps(&mut masks, &[0, 0, 1], &[0.5, 0.9, 0.1]);
        assert_eq!(masks[0].pixels, [true, true, false, false]);
        assert_eq!((masks[1].area(), masks[2].area()), (4, 4));
    }
}
