//! A frame's number painted into its pixels, robust against lossy coding: twelve columns in the upper
//! half are the bits of the number, light for 1; in the lower half they are inverted, so that other
//! images are not mistaken for a bar code.

use video::Frame;

/// Size of the images, in pixels.
pub(crate) const WIDTH: usize = 320;
pub(crate) const HEIGHT: usize = 240;
const BITS: usize = 12;
const DARK: u8 = 40;
const LIGHT: u8 = 210;

/// The bar code of a number, one byte per pixel.
pub(crate) fn paint(number: usize) -> Vec<u8> {
    let mut image = Vec::with_capacity(WIDTH * HEIGHT);
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let bit = number >> (x * BITS / WIDTH) & 1 == 1;
            image.push(if bit == (y < HEIGHT / 2) { LIGHT } else { DARK });
        }
    }
    image
}

/// How far an image is rotated, clockwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Turn {
    No,
    Quarter,
    Half,
    ThreeQuarters,
}

/// Reads the number from an image that was rotated and possibly scaled.
pub(crate) fn read(frame: &Frame, turn: Turn) -> Result<usize, String> {
    let (width, height) = (frame.width as usize, frame.height as usize);
    assert_eq!(frame.rgb.len(), width * height * 3);
    // The green value at a position in the painted image, given as fractions of its width and height.
    let green = |x: f64, y: f64| {
        let (x, y) = match turn {
            Turn::No => (x, y),
            Turn::Quarter => (1.0 - y, x),
            Turn::Half => (1.0 - x, 1.0 - y),
            Turn::ThreeQuarters => (y, 1.0 - x),
        };
        frame.rgb[((y * height as f64) as usize * width + (x * width as f64) as usize) * 3 + 1]
    };
    let mut number = 0;
    for bit in 0..BITS {
        let x = (bit as f64 + 0.5) / BITS as f64;
        let (upper, lower) = (green(x, 0.25) > 125, green(x, 0.75) > 125);
        if upper == lower {
            return Err(format!("bit {bit} is broken"));
        }
        number |= usize::from(upper) << bit;
    }
    Ok(number)
}

#[test]
fn painted_numbers_are_read_back() {
    for number in [0, 1, 2, 100, 1364, 4095] {
        let rgb = paint(number).into_iter().flat_map(|grey| [grey; 3]).collect();
        let frame = Frame { frame_idx: 0, time_s: 0.0, width: WIDTH as u32, height: HEIGHT as u32, rgb };
        assert_eq!(read(&frame, Turn::No), Ok(number));
        assert_ne!(read(&frame, Turn::Half), Ok(number));
    }
}
