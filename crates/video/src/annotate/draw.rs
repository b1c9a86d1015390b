//! Drawing boxes and labels into the planes of a frame.

use crate::annotate::font;

/// A labelled box to draw around a track on one frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Overlay {
    /// The track. Determines the colour, and is the first part of the label.
    pub track_id: u64,
    /// Left edge in source pixels, after rotation.
    pub x: f32,
    /// Top edge in source pixels, after rotation.
    pub y: f32,
    /// Width in source pixels.
    pub width: f32,
    /// Height in source pixels.
    pub height: f32,
    /// Text after the track id, at most 24 characters; may be empty.
    pub label: String,
}

/// Maximum length of the text after the track id, in characters.
const MAX_LABEL: usize = 24;

/// An image of three planes. Width and height are even; the U and V planes have half of each.
pub(crate) struct Canvas<'a> {
    y: &'a mut [u8],
    u: &'a mut [u8],
    v: &'a mut [u8],
    width: usize,
    height: usize,
}

/// A Y, U and V value in video range.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Colour([u8; 3]);

const BLACK: Colour = Colour([16, 128, 128]);
const WHITE: Colour = Colour([235, 128, 128]);

/// A rectangle within the image, in pixels, half open.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Area {
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
}

impl<'a> Canvas<'a> {
    /// Wraps an I420 image: the three planes in `width * height * 3 / 2` bytes.
    pub(crate) fn new(bytes: &'a mut [u8], width: usize, height: usize) -> Canvas<'a> {
        let (y, chroma) = bytes.split_at_mut(width * height);
        let (u, v) = chroma.split_at_mut(width * height / 4);
        Canvas { y, u, v, width, height }
    }

    /// Draws the boxes, and then their labels, so that no box cuts the label of another one.
    pub(crate) fn overlays(&mut self, overlays: &[Overlay]) {
        overlays.iter().for_each(|overlay| self.outline(overlay));
        for overlay in overlays {
            let (left, top) = (overlay.x.round() as i64, overlay.y.round() as i64);
            self.label(left, top, &label_text(overlay), track_colour(overlay.track_id));
        }
    }

    fn outline(&mut self, overlay: &Overlay) {
        let colour = track_colour(overlay.track_id);
        let line = (self.height / 240).max(2) as i64;
        // These casts turn NaN into 0 and saturate at the limits of i64.
        let (left, top) = (overlay.x.round() as i64, overlay.y.round() as i64);
        let right = left.saturating_add(overlay.width.max(0.0).round() as i64);
        let bottom = top.saturating_add(overlay.height.max(0.0).round() as i64);
        self.fill(left, top, right, top.saturating_add(line).min(bottom), colour);
        self.fill(left, bottom.saturating_sub(line).max(top), right, bottom, colour);
        self.fill(left, top, left.saturating_add(line).min(right), bottom, colour);
        self.fill(right.saturating_sub(line).max(left), top, right, bottom, colour);
    }

    /// Writes text on a filled rectangle above (`left`, `top`), or below if there is no room above.
    fn label(&mut self, left: i64, top: i64, text: &str, colour: Colour) {
        let dot = (self.height / 360).max(1) as i64;
        let pitch = (font::WIDTH as i64 + 1) * dot;
        let (label_width, label_height) =
            (text.chars().count() as i64 * pitch + 3 * dot, (font::HEIGHT as i64 + 4) * dot);
        let left = left.clamp(0, (self.width as i64 - label_width).max(0));
        let above = top.saturating_sub(label_height);
        let top = if above < 0 { top.clamp(0, (self.height as i64 - label_height).max(0)) } else { above };
        self.fill(left, top, left + label_width, top.saturating_add(label_height), colour);
        let ink = if colour.0[0] > 110 { BLACK } else { WHITE };
        for (i, letter) in text.chars().enumerate() {
            let x = left + 2 * dot + i as i64 * pitch;
            for (row, bits) in font::glyph(letter).into_iter().enumerate() {
                for column in (0..font::WIDTH).filter(|column| bits >> (font::WIDTH - 1 - column) & 1 == 1) {
                    let (x, y) = (x + column as i64 * dot, top.saturating_add((row as i64 + 2) * dot));
                    self.fill(x, y, x + dot, y.saturating_add(dot), ink);
                }
            }
        }
    }

    fn clip(&self, left: i64, top: i64, right: i64, bottom: i64) -> Option<Area> {
        let within = |value: i64, max: usize| value.clamp(0, max as i64) as usize;
        let (left, right) = (within(left, self.width), within(right, self.width));
        let (top, bottom) = (within(top, self.height), within(bottom, self.height));
        (left < right && top < bottom).then_some(Area { left, top, right, bottom })
    }

    fn fill(&mut self, left: i64, top: i64, right: i64, bottom: i64, Colour([y, u, v]): Colour) {
        let Some(area) = self.clip(left, top, right, bottom) else { return };
        for row in self.y.chunks_exact_mut(self.width).take(area.bottom).skip(area.top) {
            row[area.left..area.right].fill(y);
        }
        let (left, right) = (area.left / 2, area.right.div_ceil(2));
        let (top, bottom) = (area.top / 2, area.bottom.div_ceil(2));
        for (plane, value) in [(&mut *self.u, u), (&mut *self.v, v)] {
            for row in plane.chunks_exact_mut(self.width / 2).take(bottom).skip(top) {
                row[left..right].fill(value);
            }
        }
    }
}

fn label_text(overlay: &Overlay) -> String {
    let mut text = format!("#{}", overlay.track_id);
    if !overlay.label.is_empty() {
        text.push(' ');
        text.extend(overlay.label.chars().take(MAX_LABEL));
    }
    text
}

/// Colours that differ in hue, in lightness or in both, so that any two are told apart: those of Sasha Trubetskoy's list
/// of 20 simple, distinct colours (<https://sashamaps.net/docs/resources/20-colors/>) without the two that are closest to
/// others. Red, green and blue.
const PALETTE: [[u8; 3]; 18] = [
    [230, 25, 75],
    [60, 180, 75],
    [255, 225, 25],
    [67, 99, 216],
    [245, 130, 49],
    [145, 30, 180],
    [66, 212, 244],
    [240, 50, 230],
    [191, 239, 69],
    [250, 190, 212],
    [70, 153, 144],
    [220, 190, 255],
    [154, 99, 36],
    [255, 250, 200],
    [128, 0, 0],
    [170, 255, 195],
    [128, 128, 0],
    [0, 0, 117],
];

/// The colour of a track. Of neighbouring ids, up to 18 have different ones.
fn track_colour(track_id: u64) -> Colour {
    let rgb = PALETTE[(track_id % PALETTE.len() as u64) as usize];
    let [red, green, blue] = rgb.map(|value| f64::from(value) / 255.0);
    from_rgb(red, green, blue)
}

/// Converts red, green and blue (0 to 1) with the BT.709 matrix.
fn from_rgb(red: f64, green: f64, blue: f64) -> Colour {
    let luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    let quantize = |value: f64, scale: f64, offset: f64| (offset + scale * value).round() as u8;
    Colour([
        quantize(luma, 219.0, 16.0),
        quantize((blue - luma) / 1.8556, 224.0, 128.0),
        quantize((red - luma) / 1.5748, 224.0, 128.0),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlay(x: f32, y: f32, width: f32, height: f32) -> Overlay {
        Overlay { track_id: 7, x, y, width, height, label: String::from("player with a very long name") }
    }

    #[test]
    fn a_box_colours_only_its_edge() {
        let (width, height) = (64, 48);
        let mut bytes = vec![0; width * height * 3 / 2];
        Canvas::new(&mut bytes, width, height).overlays(&[overlay(10.0, 20.0, 30.0, 20.0)]);
        let luma = track_colour(7).0[0];
        let at = |x: usize, y: usize| bytes[y * width + x];
        assert_eq!([at(10, 39), at(25, 39), at(39, 30), at(11, 30)], [luma; 4]);
        assert_eq!([at(9, 30), at(40, 30), at(25, 40), at(25, 30), at(12, 37)], [0; 5]);
        assert_eq!(bytes[width * height + 19 * width / 2 + 6], track_colour(7).0[1]);
    }

    #[test]
    fn boxes_outside_the_image_or_without_size_do_not_panic() {
        let (width, height) = (16, 2);
        let mut bytes = vec![0; width * height * 3 / 2];
        let mut canvas = Canvas::new(&mut bytes, width, height);
        let unusual = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, -5.0, 0.0, 3.0, 1e9];
        for x in unusual {
            for width in unusual {
                canvas.overlays(&[overlay(x, width, width, x)]);
            }
        }
    }

    #[test]
    fn a_box_does_not_cut_the_label_of_its_neighbour() {
        let (width, height) = (160, 96);
        let draw = |overlays: &[Overlay]| {
            let mut bytes = vec![0; width * height * 3 / 2];
            Canvas::new(&mut bytes, width, height).overlays(overlays);
            bytes
        };
        let labelled = overlay(20.0, 40.0, 40.0, 40.0);
        // Its left edge crosses the label above the other box.
        let neighbour = Overlay { track_id: 8, ..overlay(40.0, 20.0, 60.0, 70.0) };
        let alone = draw(std::slice::from_ref(&labelled));
        let both = draw(&[labelled, neighbour]);
        let label = (29..39).flat_map(|y| (22..100).map(move |x| y * width + x));
        assert!(label.clone().all(|at| alone[at] == both[at]));
        assert!(label.clone().any(|at| alone[at] == track_colour(7).0[0]));
    }

    /// CIE L*a*b* of a colour, in which a distance of 2.3 is just noticeable.
    fn lab(rgb: [u8; 3]) -> [f64; 3] {
        let [r, g, b] = rgb.map(|value| {
            let value = f64::from(value) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        });
        let f = |t: f64| if t > 0.008856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 };
        let x = f((0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.95047);
        let y = f(0.2126 * r + 0.7152 * g + 0.0722 * b);
        let z = f((0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.08883);
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    #[test]
    fn tracks_4_and_17_and_all_other_neighbours_look_different() {
        for (i, a) in PALETTE.iter().enumerate() {
            for b in &PALETTE[i + 1..] {
                let square: f64 = lab(*a).iter().zip(lab(*b)).map(|(a, b)| (a - b).powi(2)).sum();
                assert!(square.sqrt() > 25.0, "{a:?} and {b:?} differ by {}", square.sqrt());
            }
        }
        assert_ne!(track_colour(4), track_colour(17));
        assert_ne!(track_colour(u64::MAX), track_colour(u64::MAX - 1));
    }
}
