//! Low-resolution masks on the host: sets of pixels, overlap, holes and specks.

/// The pixels of a mask that are set, one bit each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bitmap {
    words: Vec<u64>,
}

impl Bitmap {
    /// Pixels whose logit is above 0.
    pub(crate) fn positive(logits: &[f32]) -> Self {
        let word = |chunk: &[f32]| {
            chunk.iter().enumerate().fold(0u64, |bits, (i, &x)| bits | (u64::from(x > 0.0) << i))
        };
        Self { words: logits.chunks(64).map(word).collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words.iter().all(|&w| w == 0)
    }

    /// Intersection over union; 0 if both are empty.
    pub(crate) fn iou(&self, other: &Self) -> f32 {
        let (mut both, mut either) = (0u32, 0u32);
        for (a, b) in self.words.iter().zip(&other.words) {
            both += (a & b).count_ones();
            either += (a | b).count_ones();
        }
        both as f32 / either.max(1) as f32
    }
}

/// Greedy suppression: from the highest score down, keeps a mask unless its IoU with a kept one is above
/// `threshold`. Returns the kept indices in their original order. Ties keep their order (reference: the
/// `generic_nms` kernel).
pub(crate) fn suppress_overlapping(masks: &[Bitmap], scores: &[f32], threshold: f32) -> Vec<usize> {
    let mut order: Vec<usize> = (0..masks.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let mut kept: Vec<usize> = Vec::new();
    for i in order {
        if kept.iter().all(|&j| masks[j].iou(&masks[i]) <= threshold) {
            kept.push(i);
        }
    }
    kept.sort_unstable();
    kept
}

/// Logits given to filled holes and to removed specks.
const FILLED: f32 = 0.1;
const REMOVED: f32 = -0.1;

/// Fills holes of at most `max_area` pixels and removes specks of at most `max_area` pixels and half the
/// mask, both 8-connected (reference: `fill_holes_in_mask_scores`).
pub(crate) fn fill_holes_and_remove_specks(logits: &mut [f32], side: usize, max_area: usize) {
    if max_area == 0 {
        return;
    }
    replace_small_components(logits, side, max_area, |x| x <= 0.0, FILLED);
    let area = logits.iter().filter(|&&x| x > 0.0).count();
    replace_small_components(logits, side, max_area.min(area / 2), |x| x > 0.0, REMOVED);
}

fn replace_small_components(
    logits: &mut [f32],
    side: usize,
    max_area: usize,
    member: impl Fn(f32) -> bool,
    value: f32,
) {
    if max_area == 0 {
        return;
    }
    let mut seen = vec![false; logits.len()];
    let mut stack = Vec::new();
    let mut component = Vec::new();
    for start in 0..logits.len() {
        if seen[start] || !member(logits[start]) {
            continue;
        }
        component.clear();
        seen[start] = true;
        stack.push(start);
        while let Some(pixel) = stack.pop() {
            component.push(pixel);
            for_each_neighbour(pixel, side, |n| {
                if !seen[n] && member(logits[n]) {
                    seen[n] = true;
                    stack.push(n);
                }
            });
        }
        if component.len() <= max_area {
            component.iter().for_each(|&pixel| logits[pixel] = value);
        }
    }
}

/// The up to eight pixels around one of a square mask.
fn for_each_neighbour(pixel: usize, side: usize, mut f: impl FnMut(usize)) {
    let (y, x) = (pixel / side, pixel % side);
    for ny in y.saturating_sub(1)..=(y + 1).min(side - 1) {
        for nx in x.saturating_sub(1)..=(x + 1).min(side - 1) {
            if (ny, nx) != (y, x) {
                f(ny * side + nx);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logits(rows: &[&str]) -> Vec<f32> {
        rows.iter().flat_map(|r| r.chars().map(|c| if c == '#' { 1.0 } else { -1.0 })).collect()
    }

    fn drawn(logits: &[f32], side: usize) -> Vec<String> {
        let cell = |&x: &f32| if x > 0.0 { '#' } else { '.' };
        logits.chunks(side).map(|r| r.iter().map(cell).collect()).collect()
    }

    #[test]
    fn small_holes_are_filled_and_specks_removed() {
        let mut mask = logits(&["#####.", "#.###.", "####..", "###...", "......", ".....#"]);
        fill_holes_and_remove_specks(&mut mask, 6, 2);
        assert_eq!(drawn(&mask, 6), ["#####.", "#####.", "####..", "###...", "......", "......"]);
        assert_eq!((mask[7], mask[35]), (FILLED, REMOVED));
    }

    #[test]
    fn a_tiny_object_is_not_a_speck_of_itself() {
        let mut mask = logits(&["....", ".##.", "....", "...."]);
        fill_holes_and_remove_specks(&mut mask, 4, 8);
        assert_eq!(drawn(&mask, 4), ["....", ".##.", "....", "...."]);
    }

    #[test]
    fn diagonal_pixels_are_connected() {
        let mut mask = logits(&["#...", ".#..", "..#.", "...#"]);
        fill_holes_and_remove_specks(&mut mask, 4, 1);
        assert_eq!(drawn(&mask, 4), ["#...", ".#..", "..#.", "...#"]);
    }

    #[test]
    fn suppression_keeps_the_stronger_of_two() {
        let masks: Vec<Bitmap> =
            ["##..", "###.", "...#"].iter().map(|r| Bitmap::positive(&logits(&[r]))).collect();
        assert_eq!(suppress_overlapping(&masks, &[0.8, 0.9, 0.7], 0.5), [1, 2]);
        assert_eq!(suppress_overlapping(&masks, &[0.9, 0.8, 0.7], 0.5), [0, 2]);
        assert_eq!(suppress_overlapping(&masks, &[0.8, 0.9, 0.7], 0.7), [0, 1, 2]);
    }

    #[test]
    fn iou_of_empty_masks_is_zero() {
        let empty = Bitmap::positive(&[-1.0; 70]);
        assert!(empty.is_empty());
        assert_eq!(empty.iou(&empty), 0.0);
    }
}
