//! Low-resolution masks on the host: bitmaps, overlap suppression, filling of holes and removal of specks.

/// A mask with one bit per pixel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bitmap {
    words: Vec<u64>,
}

impl Bitmap {
    /// The mask of pixels whose logit is above 0.
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

/// Greedy non-maximum suppression: in descending order of score, keeps a mask unless its IoU with a kept one is above
/// `threshold`. Masks with equal scores stay in order. Returns the kept indices in ascending order (reference: the
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

/// Logits of filled holes and of removed specks.
const FILLED: f32 = 0.1;
const REMOVED: f32 = -0.1;

/// Fills holes of at most `max_area` pixels, and removes specks of at most `max_area` pixels and at most half the
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
    let mut runs = Runs::default();
    for row in logits.chunks(side) {
        runs.add_row(row, &member);
    }
    for i in 0..runs.all.len() {
        let root = runs.root(i);
        if runs.all[root].area <= max_area {
            let Run { start, end, .. } = runs.all[i];
            logits[start..end].fill(value);
        }
    }
}

/// Consecutive pixels of one row, as a range of pixel indices.
struct Run {
    start: usize,
    end: usize,
    /// An earlier run of the same component, or the run itself.
    parent: usize,
    /// Number of pixels of the component; valid if the run is its own parent.
    area: usize,
}

/// 8-connected components as a union-find structure of runs (L. He, Y. Chao, K. Suzuki, "A run-based two-scan labeling
/// algorithm", IEEE TIP 2008).
#[derive(Default)]
struct Runs {
    all: Vec<Run>,
    /// Index of the first run of the last row.
    last_row: usize,
    /// Number of pixels of all rows so far.
    pixels: usize,
}

impl Runs {
    /// Adds the runs of the next row, and joins them with the runs above that they touch.
    fn add_row(&mut self, row: &[f32], member: impl Fn(f32) -> bool) {
        let (mut above, this_row) = (self.last_row, self.all.len());
        let mut x = 0;
        while let Some(skipped) = row[x..].iter().position(|&logit| member(logit)) {
            let start = x + skipped;
            let len = row[start..].iter().position(|&logit| !member(logit)).unwrap_or(row.len() - start);
            x = start + len;
            let (start, end) = (self.pixels + start, self.pixels + x);
            let new = self.all.len();
            self.all.push(Run { start, end, parent: new, area: len });
            // The range in the row above; touching at a corner is enough.
            let (left, right) = (start.saturating_sub(row.len()), end.saturating_sub(row.len()));
            while above < this_row && self.all[above].end < left {
                above += 1;
            }
            let mut touching = above;
            while touching < this_row && self.all[touching].start <= right {
                self.join(touching, new);
                touching += 1;
            }
        }
        self.last_row = this_row;
        self.pixels += row.len();
    }

    fn root(&mut self, mut run: usize) -> usize {
        while self.all[run].parent != run {
            let parent = self.all[run].parent;
            self.all[run].parent = self.all[parent].parent;
            run = parent;
        }
        run
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        if a != b {
            let (first, second) = (a.min(b), a.max(b));
            self.all[second].parent = first;
            self.all[first].area += self.all[second].area;
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
    fn a_small_object_is_not_removed_as_a_speck() {
        let mut mask = logits(&["....", ".##.", "....", "...."]);
        fill_holes_and_remove_specks(&mut mask, 4, 8);
        assert_eq!(drawn(&mask, 4), ["....", ".##.", "....", "...."]);
    }

    /// For each pixel, the size of its component, found by flood fill.
    fn flooded(member: &[bool], side: usize) -> Vec<usize> {
        let mut area = vec![0; member.len()];
        for start in 0..member.len() {
            if !member[start] || area[start] != 0 {
                continue;
            }
            let (mut component, mut next) = (vec![start], 0);
            area[start] = 1;
            while next < component.len() {
                let (y, x) = (component[next] / side, component[next] % side);
                next += 1;
                for ny in y.saturating_sub(1)..=(y + 1).min(side - 1) {
                    for nx in x.saturating_sub(1)..=(x + 1).min(side - 1) {
                        let n = ny * side + nx;
                        if member[n] && area[n] == 0 {
                            area[n] = 1;
                            component.push(n);
                        }
                    }
                }
            }
            component.iter().for_each(|&pixel| area[pixel] = component.len());
        }
        area
    }

    #[test]
    fn component_sizes_equal_those_of_a_flood_fill() {
        let mut random = 1u32;
        for (image, side) in (0..400).map(|i| (i, 1 + i % 23)) {
            let density = image as u32 * 37 % 100;
            let mut is_member = || {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (random >> 8) % 100 < density
            };
            let logits: Vec<f32> = (0..side * side).map(|_| if is_member() { 1.0 } else { -1.0 }).collect();
            let member: Vec<bool> = logits.iter().map(|&x| x > 0.0).collect();
            let area = flooded(&member, side);
            for max_area in [1, 2, 5, 16] {
                let mut replaced = logits.clone();
                replace_small_components(&mut replaced, side, max_area, |x| x > 0.0, 7.0);
                let small = |i: usize| member[i] && area[i] <= max_area;
                let want: Vec<f32> =
                    (0..logits.len()).map(|i| if small(i) { 7.0 } else { logits[i] }).collect();
                assert_eq!(replaced, want, "image {image} of {side} x {side}, at most {max_area}");
            }
        }
    }

    #[test]
    fn diagonal_pixels_are_connected() {
        let mut mask = logits(&["#...", ".#..", "..#.", "...#"]);
        fill_holes_and_remove_specks(&mut mask, 4, 1);
        assert_eq!(drawn(&mask, 4), ["#...", ".#..", "..#.", "...#"]);
    }

    #[test]
    fn suppression_keeps_the_mask_with_the_higher_score() {
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
