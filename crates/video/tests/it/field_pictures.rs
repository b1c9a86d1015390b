//! A minimal H.264 encoder (ITU-T H.264) whose pictures are single fields, as AVCHD camcorders and
//! broadcasters store them, or whole frames between them. No available encoder makes field pictures. Every macroblock is
//! I_PCM.

use crate::barcode;

/// Size of the frames in pixels. The height is a multiple of 32, so that fields are whole macroblocks.
pub(crate) const SIZE: (usize, usize) = (barcode::WIDTH, 256);

/// Bits of a syntax structure.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    n_free: u32,
}

impl Bits {
    /// `n` bits, most significant first: u(n).
    fn u(&mut self, n: u32, value: u32) -> &mut Self {
        for bit in (0..n).rev() {
            if self.n_free == 0 {
                self.bytes.push(0);
                self.n_free = 8;
            }
            self.n_free -= 1;
            *self.bytes.last_mut().unwrap() |= ((value >> bit & 1) as u8) << self.n_free;
        }
        self
    }

    /// An exponential Golomb code: ue(v).
    fn ue(&mut self, value: u32) -> &mut Self {
        let length = (value + 1).ilog2();
        self.u(length, 0).u(length + 1, value + 1)
    }

    fn align(&mut self) {
        self.n_free = 0;
    }

    fn trailing(mut self) -> Vec<u8> {
        self.u(1, 1);
        self.bytes
    }
}

/// A NAL unit with start code and emulation prevention (§7.4.1).
fn nal_unit(ref_idc: u8, unit_type: u8, payload: &[u8]) -> Vec<u8> {
    let mut unit = vec![0, 0, 0, 1, ref_idc << 5 | unit_type];
    let mut zeros = 0;
    for &byte in payload {
        if zeros >= 2 && byte <= 3 {
            unit.push(3);
            zeros = 0;
        }
        unit.push(byte);
        zeros = if byte == 0 { zeros + 1 } else { 0 };
    }
    unit
}

/// Main profile, 16-bit frame numbers and picture order counts, frame_mbs_only_flag 0, 25 frames per second.
fn sequence_parameters() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.u(8, 77).u(8, 0).u(8, 40).ue(0).ue(12).ue(0).ue(12).ue(1).u(1, 0);
    bits.ue(SIZE.0 as u32 / 16 - 1).ue(SIZE.1 as u32 / 32 - 1).u(1, 0).u(1, 0).u(1, 1).u(1, 0);
    // Timing in the video usability information.
    bits.u(1, 1).u(4, 0).u(1, 1).u(32, 1).u(32, 50).u(1, 1).u(4, 0);
    nal_unit(3, 7, &bits.trailing())
}

fn picture_parameters() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.ue(0).ue(0).u(2, 0).ue(0).ue(0).ue(0).u(3, 0).ue(0).ue(0).ue(0).u(1, 1).u(2, 0);
    nal_unit(3, 8, &bits.trailing())
}

/// What a picture contains of a frame.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Frame,
    Top,
    Bottom,
}

/// One field of an image, or all of it, as a slice of I_PCM macroblocks. `order` is the number of the frame in its group.
fn picture(image: &[u8], part: Part, order: u32) -> Vec<u8> {
    let bottom = part == Part::Bottom;
    let is_idr = order == 0 && !bottom;
    let is_reference = order == 0;
    let mut bits = Bits::default();
    // first_mb_in_slice, slice_type I, pic_parameter_set_id, frame_num, field_pic_flag, bottom_field_flag
    bits.ue(0).ue(7).ue(0).u(16, u32::from(order > 0));
    match part {
        Part::Frame => bits.u(1, 0),
        Part::Top | Part::Bottom => bits.u(1, 1).u(1, u32::from(bottom)),
    };
    if is_idr {
        bits.ue(0);
    }
    bits.u(16, 2 * order + u32::from(bottom));
    if is_reference {
        bits.u(if is_idr { 2 } else { 1 }, 0);
    }
    // slice_qp_delta 0, disable_deblocking_filter_idc 1
    bits.ue(0).ue(1);
    let step = if part == Part::Frame { 1 } else { 2 };
    for top in (0..SIZE.1 / step).step_by(16) {
        for left in (0..SIZE.0).step_by(16) {
            bits.ue(25).align();
            for y in top..top + 16 {
                let row = (step * y + usize::from(bottom)) * SIZE.0 + left;
                bits.bytes.extend_from_slice(&image[row..row + 16]);
            }
            bits.bytes.extend_from_slice(&[128; 128]);
        }
    }
    nal_unit(u8::from(is_reference), if is_idr { 5 } else { 1 }, &bits.trailing())
}

/// An H.264 byte stream of the numbers as bar codes, in groups of 25 frames: two field pictures each, or one picture
/// where `is_whole`.
pub(crate) fn encode(numbers: std::ops::Range<usize>, is_whole: impl Fn(usize) -> bool) -> Vec<u8> {
    let mut stream = Vec::new();
    for (i, number) in numbers.enumerate() {
        // The bar code's halves, each extended to half of the height.
        let painted = barcode::paint(number);
        let row = |y: usize| {
            let y = y * barcode::HEIGHT / SIZE.1;
            &painted[y * SIZE.0..(y + 1) * SIZE.0]
        };
        let image: Vec<u8> = (0..SIZE.1).flat_map(row).copied().collect();
        let parts = if is_whole(number) { &[Part::Frame][..] } else { &[Part::Top, Part::Bottom] };
        for &part in parts {
            stream.extend_from_slice(&[0, 0, 0, 1, 9, 0x10]);
            if i % 25 == 0 && part != Part::Bottom {
                stream.extend(sequence_parameters());
                stream.extend(picture_parameters());
            }
            stream.extend(picture(&image, part, (i % 25) as u32));
        }
    }
    stream
}
