//! Whether a stream may store the two fields of a frame in packets of their own, from its sequence header.
//!
//! What ffprobe calls the field order describes the first pictures only: a stream may begin with whole frames, and continue
//! with fields.

/// Whether a packet of the stream may be one field. `true` as well if the sequence headers in `extradata` are missing or
/// not understood, and if ffprobe could not decode a picture, so that it knows no `order` of fields.
pub(crate) fn may_occur(codec: &str, extradata: &[u8], order: Option<&str>) -> bool {
    let has_frames_only = match codec {
        "h264" => h264_has_frames_only(extradata).unwrap_or(false),
        "mpeg2video" => mpeg2_is_progressive(extradata),
        _ => return false,
    };
    !has_frames_only || order.is_none()
}

/// Whether all sequence parameter sets have `frame_mbs_only_flag`. `None` if none can be read.
fn h264_has_frames_only(extradata: &[u8]) -> Option<bool> {
    let sets = match extradata.first()? {
        1 => avc_parameter_sets(extradata)?,
        _ => units(extradata).filter(|unit| unit.first().is_some_and(|byte| byte & 0x1f == 7)).collect(),
    };
    let mut flags = sets.into_iter().map(frame_mbs_only);
    let first = flags.next()??;
    flags.try_fold(first, |all, flag| Some(all && flag?))
}

/// The sequence parameter sets of an `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15 §5.3.3.1).
fn avc_parameter_sets(record: &[u8]) -> Option<Vec<&[u8]>> {
    let (&count, mut rest) = record.get(5..)?.split_first()?;
    let mut sets = Vec::new();
    for _ in 0..count & 0x1f {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (set, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        sets.push(set);
        rest = after;
    }
    Some(sets)
}

/// The units between the start codes of a byte stream.
fn units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts: Vec<usize> = (3..=stream.len()).filter(|&at| stream[at - 3..at] == [0, 0, 1]).collect();
    let ends = starts.iter().skip(1).map(|start| start - 3).chain([stream.len()]).collect::<Vec<_>>();
    starts.into_iter().zip(ends).map(|(start, end)| &stream[start..end])
}

/// `frame_mbs_only_flag` of a sequence parameter set with its NAL unit header (ITU-T H.264 §7.3.2.1.1). `None` if it ends
/// before.
fn frame_mbs_only(unit: &[u8]) -> Option<bool> {
    let mut bits = Bits::of_payload(unit.get(1..)?);
    let profile = bits.read(8)?;
    // Constraint flags, level_idc, seq_parameter_set_id.
    bits.read(16)?;
    bits.golomb()?;
    if [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135].contains(&profile) {
        let chroma_format = bits.golomb()?;
        if chroma_format == 3 {
            bits.read(1)?;
        }
        // Bit depths of luma and chroma, qpprime_y_zero_transform_bypass_flag.
        bits.golomb()?;
        bits.golomb()?;
        bits.read(1)?;
        if bits.read(1)? == 1 {
            for i in 0..if chroma_format == 3 { 12 } else { 8 } {
                if bits.read(1)? == 1 {
                    bits.skip_scaling_list(if i < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    // log2_max_frame_num_minus4, pic_order_cnt_type.
    bits.golomb()?;
    match bits.golomb()? {
        0 => drop(bits.golomb()?),
        1 => {
            bits.read(1)?;
            bits.golomb()?;
            bits.golomb()?;
            for _ in 0..bits.golomb()? {
                bits.golomb()?;
            }
        }
        _ => {}
    }
    // max_num_ref_frames, gaps_in_frame_num_value_allowed_flag, width and height.
    bits.golomb()?;
    bits.read(1)?;
    bits.golomb()?;
    bits.golomb()?;
    Some(bits.read(1)? == 1)
}

/// Whether all sequence extensions have `progressive_sequence` (ISO/IEC 13818-2 §6.2.2.3), and there is one.
fn mpeg2_is_progressive(extradata: &[u8]) -> bool {
    let mut flags = units(extradata).filter_map(|unit| match unit {
        [0xb5, id, flags, ..] if id >> 4 == 1 => Some(flags >> 3 & 1 == 1),
        _ => None,
    });
    flags.next().is_some_and(|first| first && flags.all(|flag| flag))
}

/// Reads bits, the most significant first.
struct Bits {
    bytes: Vec<u8>,
    at: usize,
}

impl Bits {
    /// The payload of a NAL unit, without the bytes that prevent start codes (§7.4.1).
    fn of_payload(payload: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(payload.len());
        let mut zeros = 0;
        for &byte in payload {
            if zeros >= 2 && byte == 3 {
                zeros = 0;
                continue;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            bytes.push(byte);
        }
        Self { bytes, at: 0 }
    }

    fn read(&mut self, n: u32) -> Option<u32> {
        (0..n).try_fold(0, |value, _| {
            let byte = self.bytes.get(self.at / 8)?;
            let bit = byte >> (7 - self.at % 8) & 1;
            self.at += 1;
            Some(value << 1 | u32::from(bit))
        })
    }

    /// An exponential Golomb code, ue(v) (§9.1). A signed one, se(v), has the same length.
    fn golomb(&mut self) -> Option<u32> {
        let mut n_zeros = 0;
        while self.read(1)? == 0 {
            n_zeros += 1;
        }
        (n_zeros < 32).then_some(())?;
        let rest = self.read(n_zeros)?;
        u32::try_from((1_u64 << n_zeros) - 1 + u64::from(rest)).ok()
    }

    /// A scaling list (§7.3.2.1.1.1).
    fn skip_scaling_list(&mut self, size: u32) -> Option<()> {
        let (mut last, mut next) = (8_i64, 8_i64);
        for _ in 0..size {
            if next != 0 {
                let code = i64::from(self.golomb()?);
                let delta = if code % 2 == 0 { -code / 2 } else { (code + 1) / 2 };
                next = (last + delta).rem_euclid(256);
            }
            last = if next == 0 { last } else { next };
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn sequence_headers_say_whether_fields_may_occur() {
        let avc = "0164000dffe100196764000dacd94141fb011000000300100000030320f1429960010004";
        let avc_fields = "01640015ffe1001a67640015acd941410fcb808800000300080000030190f8a14cb001000468";
        let avc_444 = "01f4000dffe1001967f4000d919b28283f6022000003000200000300641e28532c010006";
        let stream =
            "000001676400 0dacd94141fb011000000300100000030320f142996000000001 68ef8fcb".replace(' ', "");
        for (codec, extradata, want) in [
            ("h264", avc, false),
            ("h264", avc_444, false),
            ("h264", "0142c00dffe100186742c00dd90141fb011000000300100000030320f142a48001000568", false),
            ("h264", avc_fields, true),
            ("h264", &stream, false),
            ("h264", &avc[..40], true),
            ("h264", "", true),
            ("mpeg2video", "000001b3 1400f023ffffe018 000001b5 148a00010000", false),
            ("mpeg2video", "000001b3 1400f023ffffe018 000001b5 148200010000", true),
            ("mpeg2video", "", true),
            ("prores", "", false),
        ] {
            let extradata = bytes(&extradata.replace(' ', ""));
            assert_eq!(may_occur(codec, &extradata, Some("progressive")), want, "{codec} {extradata:02x?}");
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic() {
        let record = bytes("0164000dffe100196764000dacd94141fb011000000300100000030320f1429960010004");
        for at in 0..record.len() {
            for value in [0, 0x7f, 0xff] {
                let mut record = record.clone();
                record[at] = value;
                may_occur("h264", &record, None);
                may_occur("h264", &record[at..], None);
                may_occur("mpeg2video", &record[at..], None);
            }
        }
    }

    #[test]
    fn scaling_lists_are_skipped() {
        // High profile with a matrix: one list of one code (the rest is the same), seven absent ones; 20x15 macroblocks.
        let mut text = String::from("01100100") + &"0".repeat(16) + "1" + "010" + "1" + "1" + "0" + "1";
        // delta_scale -8 ends the list: code number 16.
        text += &("1".to_owned() + "000010001" + &"0".repeat(7));
        text += &("1".to_owned() + "1" + "1" + "010" + "0" + "000010100" + "0001111");
        for (flag, want) in [("1", true), ("0", false)] {
            let text = text.clone() + flag + "1000000";
            let payload: Vec<u8> = text
                .as_bytes()
                .chunks(8)
                .map(|bits| {
                    u8::from_str_radix(&format!("{:0<8}", std::str::from_utf8(bits).unwrap()), 2).unwrap()
                })
                .collect();
            assert_eq!(frame_mbs_only(&[&[0x67][..], &payload].concat()), Some(want));
        }
    }
}
