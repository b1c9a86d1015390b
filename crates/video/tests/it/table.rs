//! The table of what is accepted: container by codec by oddity. By default a few rows are checked; with
//! `COURTSIDE_FORMATS_TABLE=FILE` all of them, and the table is written to that file (`scripts/formats_table.sh`).

use std::fmt::Write;
use std::path::{Path, PathBuf};

use video::{DecodeOptions, GrowingFile, Limits, Video};

use crate::barcode::{self, Turn};
use crate::clips::{ffmpeg, hide_box, make, make_from, tools};
use crate::field_pictures;
use crate::truth;

const N: usize = 90;

/// A codec: the name in the table, the options that encode it, and those that make open groups of pictures.
struct Codec {
    name: &'static str,
    options: &'static str,
    open_groups: Option<&'static str>,
}

const H264: Codec = Codec {
    name: "H.264",
    options: "-pix_fmt yuv420p -c:v libx264 -preset veryfast -bf 3 -g 30 -keyint_min 30 -sc_threshold 0",
    open_groups: Some("-x264-params open-gop=1"),
};
const HEVC: Codec = Codec {
    name: "HEVC",
    options: "-pix_fmt yuv420p -c:v libx265 -preset ultrafast -x265-params \
              log-level=error:bframes=3:keyint=30:min-keyint=30:scenecut=0:pools=2:open-gop=0",
    open_groups: Some(
        "-x265-params log-level=error:bframes=3:keyint=30:min-keyint=30:scenecut=0:pools=2:open-gop=1",
    ),
};
const VP8: Codec = Codec {
    name: "VP8",
    options: "-pix_fmt yuv420p -c:v libvpx -deadline realtime -cpu-used 4 -b:v 400k -g 30",
    open_groups: None,
};
const VP9: Codec = Codec {
    name: "VP9",
    options: "-pix_fmt yuv420p -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 30",
    open_groups: None,
};
const AV1: Codec = Codec {
    name: "AV1",
    options: "-pix_fmt yuv420p -c:v libaom-av1 -cpu-used 8 -usage realtime -g 30 -b:v 400k",
    open_groups: None,
};
const MPEG4: Codec =
    Codec { name: "MPEG-4 part 2", options: "-pix_fmt yuv420p -c:v mpeg4 -q:v 4 -g 30", open_groups: None };
const MPEG2: Codec = Codec {
    name: "MPEG-2",
    options: "-pix_fmt yuv420p -c:v mpeg2video -q:v 4 -g 30 -bf 2",
    open_groups: Some("-flags -cgop"),
};
const MPEG1: Codec =
    Codec { name: "MPEG-1", options: "-pix_fmt yuv420p -c:v mpeg1video -q:v 4 -g 30", open_groups: None };
const MSMPEG4: Codec =
    Codec { name: "MS MPEG-4 v3", options: "-pix_fmt yuv420p -c:v msmpeg4 -q:v 4 -g 30", open_groups: None };
const MJPEG: Codec =
    Codec { name: "Motion JPEG", options: "-pix_fmt yuvj420p -c:v mjpeg -q:v 4", open_groups: None };
const PRORES: Codec =
    Codec { name: "ProRes", options: "-pix_fmt yuv422p10le -c:v prores_ks -profile:v 0", open_groups: None };
const DNXHR: Codec =
    Codec { name: "DNxHR", options: "-pix_fmt yuv422p -c:v dnxhd -profile:v dnxhr_lb", open_groups: None };
const DV: Codec =
    Codec { name: "DV", options: "-vf scale=720:576 -pix_fmt yuv420p -c:v dvvideo", open_groups: None };

/// File name extensions of containers, and the codecs that are tried in them.
const CONTAINERS: [(&str, &[&Codec]); 10] = [
    ("mp4", &[&H264, &HEVC, &VP9, &AV1, &MPEG4]),
    ("mov", &[&H264, &HEVC, &MPEG2, &MJPEG, &PRORES, &DNXHR, &DV]),
    ("mkv", &[&H264, &HEVC, &VP8, &VP9, &AV1, &MPEG4, &MPEG2, &MSMPEG4, &MJPEG, &PRORES]),
    ("webm", &[&VP8, &VP9, &AV1]),
    ("avi", &[&H264, &MPEG4, &MSMPEG4, &MJPEG, &DV]),
    ("flv", &[&H264]),
    ("ts", &[&H264, &HEVC, &MPEG2]),
    ("m2ts", &[&H264]),
    ("mpg", &[&MPEG1, &MPEG2]),
    ("vob", &[&MPEG2]),
];

/// A property of a file that makes frame numbers difficult.
#[derive(Clone, Copy, PartialEq)]
enum Oddity {
    None,
    VariableRate,
    RepeatedTimestamps,
    OpenGroups,
    NoKeyFlags,
    OnlyKeyFlags,
    EditList,
    Rotation,
    FieldPictures,
    JoinedClocks,
    CutBeginning,
    Fragments,
}

impl Oddity {
    const ALL: [(Oddity, &'static str); 12] = [
        (Oddity::None, "constant rate"),
        (Oddity::VariableRate, "variable rate"),
        (Oddity::RepeatedTimestamps, "repeated timestamps"),
        (Oddity::OpenGroups, "open groups"),
        (Oddity::NoKeyFlags, "no keyframe flags"),
        (Oddity::OnlyKeyFlags, "wrong keyframe flags"),
        (Oddity::EditList, "edit list"),
        (Oddity::Rotation, "rotation"),
        (Oddity::FieldPictures, "field pictures"),
        (Oddity::JoinedClocks, "joined recordings"),
        (Oddity::CutBeginning, "cut beginning"),
        (Oddity::Fragments, "fragments"),
    ];

    fn applies_to(self, container: &str, codec: &Codec) -> bool {
        let (is_mp4, is_stream) = (["mp4", "mov"].contains(&container), ["ts", "m2ts"].contains(&container));
        let has_groups = ![MJPEG.name, PRORES.name, DNXHR.name, DV.name].contains(&codec.name);
        match self {
            Oddity::None => true,
            Oddity::VariableRate => {
                let can_vary = [H264.name, HEVC.name, VP8.name, VP9.name, AV1.name].contains(&codec.name);
                can_vary && (is_mp4 || ["mkv", "webm"].contains(&container))
            }
            Oddity::RepeatedTimestamps => container == "mkv" && [H264.name, VP9.name].contains(&codec.name),
            Oddity::OpenGroups => codec.open_groups.is_some() && (is_mp4 || is_stream || container == "mkv"),
            Oddity::NoKeyFlags | Oddity::OnlyKeyFlags => is_mp4 && has_groups,
            Oddity::EditList => is_mp4 && has_groups,
            Oddity::Rotation | Oddity::Fragments => is_mp4 && [H264.name, HEVC.name].contains(&codec.name),
            Oddity::FieldPictures => {
                codec.name == H264.name && ["mp4", "mkv", "ts", "m2ts"].contains(&container)
            }
            Oddity::JoinedClocks => container == "ts",
            // The HEVC decoder delivers gray frames for what comes before the first keyframe.
            Oddity::CutBeginning => is_stream && codec.name != HEVC.name,
        }
    }
}

/// A clip with an oddity: the file, its number of frames, the number that frame `i` shows, and its rotation.
struct Clip {
    path: PathBuf,
    n_frames: usize,
    number: Box<dyn Fn(u64) -> usize>,
    turn: Turn,
}

fn clip(folder: &Path, container: &str, codec: &Codec, oddity: Oddity) -> Clip {
    let name = format!("clip.{container}");
    let tagged =
        if codec.name == HEVC.name && container != "mkv" && container != "ts" { "-tag:v hvc1" } else { "" };
    let options = format!("{} {tagged}", codec.options);
    let plain =
        |path: PathBuf, n_frames| Clip { path, n_frames, number: Box::new(|i| i as usize), turn: Turn::No };
    match oddity {
        Oddity::None => plain(make(folder, N, &options, &name), N),
        Oddity::VariableRate => {
            let scale = if ["mp4", "mov"].contains(&container) { "-video_track_timescale 90000" } else { "" };
            let rate = "-vf settb=1/1000,setpts=N*40+mod(N*N*7\\,37)+gt(N\\,40)*3000 -fps_mode passthrough -enc_time_base 1:1000";
            plain(make(folder, N, &format!("{rate} {scale} {options}"), &name), N)
        }
        Oddity::RepeatedTimestamps => {
            let rate =
                "-vf settb=1/10000,setpts=N*400-gt(N\\,49)*397 -fps_mode passthrough -enc_time_base 1:10000";
            plain(make(folder, N, &format!("{rate} {options} -bf 0"), &name), N)
        }
        Oddity::OpenGroups => {
            plain(make(folder, N, &format!("{options} {}", codec.open_groups.unwrap()), &name), N)
        }
        Oddity::NoKeyFlags => {
            let path = make(folder, N, &options, &name);
            let mut bytes = std::fs::read(&path).unwrap();
            // A sync sample table without entries.
            if let Some(at) = bytes.windows(4).rposition(|window| window == b"stss") {
                bytes[at + 8..at + 12].fill(0);
                std::fs::write(&path, bytes).unwrap();
            }
            plain(path, N)
        }
        Oddity::OnlyKeyFlags => {
            let path = make(folder, N, &options, &name);
            hide_box(&path, b"stss");
            plain(path, N)
        }
        Oddity::EditList => {
            make(folder, N + 43, &options, &format!("long.{container}"));
            ffmpeg(folder, &format!("-ss 1.72 -i long.{container} -c copy {name}"));
            Clip { number: Box::new(|i| i as usize + 43), ..plain(folder.join(&name), N) }
        }
        Oddity::Rotation => {
            make(folder, N, &options, &format!("long.{container}"));
            ffmpeg(folder, &format!("-i long.{container} -c copy -metadata:s:v rotate=90 {name}"));
            Clip { turn: Turn::ThreeQuarters, ..plain(folder.join(&name), N) }
        }
        Oddity::FieldPictures => {
            std::fs::write(folder.join("fields.264"), field_pictures::encode(0..N, |_| false)).unwrap();
            ffmpeg(folder, &format!("-r 25 -i fields.264 -c copy {name}"));
            plain(folder.join(&name), N)
        }
        Oddity::JoinedClocks => {
            let part = |numbers, offset: &str, name: &str| {
                std::fs::read(make_from(
                    folder,
                    numbers,
                    "",
                    &format!("{options} -output_ts_offset {offset}"),
                    name,
                ))
                .unwrap()
            };
            let bytes = [part(0..N, "0", "a.ts"), part(N..2 * N, "0.215", "b.ts")].concat();
            std::fs::write(folder.join(&name), bytes).unwrap();
            plain(folder.join(&name), 2 * N)
        }
        Oddity::CutBeginning => {
            let path = make(folder, N, &options, &name);
            let bytes = std::fs::read(&path).unwrap();
            let packet = if container == "m2ts" { 192 } else { 188 };
            std::fs::write(&path, &bytes[bytes.len() / packet / 10 * packet..]).unwrap();
            let n_frames = crate::clips::open(&path).n_frames() as usize;
            assert!(n_frames < N);
            Clip { number: Box::new(move |i| i as usize + N - n_frames), ..plain(path, n_frames) }
        }
        Oddity::Fragments => {
            let flags = "-movflags +empty_moov+default_base_moof+frag_keyframe";
            plain(make(folder, N, &format!("{options} {flags}"), &name), N)
        }
    }
}

/// Decodes the tables of a file that is still arriving in pieces, and checks each frame.
fn check_pieces(clip: &Clip) -> bool {
    let Some(growing) = GrowingFile::open(tools(), &clip.path, None, &Limits::default()) else {
        return false;
    };
    let n = growing.video().n_frames();
    for range in [0..n / 3, n / 3..n / 2, n / 2..n] {
        let options = DecodeOptions { range: range.clone(), ..DecodeOptions::default() };
        let mut next = range.start;
        for frame in growing.video().frames(&options).unwrap() {
            let frame = frame.unwrap();
            assert_eq!(frame.frame_idx, next);
            assert_eq!(barcode::read(&frame, clip.turn), Ok((clip.number)(next)), "frame {next}");
            next += 1;
        }
        assert_eq!(next, range.end);
    }
    true
}

/// Checks one row and returns its cells after the name of the oddity.
fn check_row(container: &str, codec: &Codec, oddity: Oddity) -> String {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path(), container, codec, oddity);
    let video: Video = truth::check_turned(&clip.path, clip.n_frames, clip.turn, &*clip.number);
    let resumes = if video.is_counted() { "decodes from the start" } else { "seeks" };
    let arriving = if check_pieces(&clip) { "yes" } else { "no" };
    format!("{resumes} | {arriving}")
}

/// The rows that are checked by default: those that no other test has.
const QUICK: [(&str, &str, Oddity); 5] = [
    ("mp4", "HEVC", Oddity::NoKeyFlags),
    ("mov", "HEVC", Oddity::EditList),
    ("mkv", "VP9", Oddity::VariableRate),
    ("m2ts", "H.264", Oddity::FieldPictures),
    ("mov", "DV", Oddity::None),
];

/// Every row of the table.
fn rows() -> impl Iterator<Item = (&'static str, &'static Codec, Oddity, &'static str)> {
    CONTAINERS.into_iter().flat_map(|(container, codecs)| {
        codecs.iter().flat_map(move |&codec| {
            let applies = move |(oddity, _): &(Oddity, _)| oddity.applies_to(container, codec);
            Oddity::ALL
                .into_iter()
                .filter(applies)
                .map(move |(oddity, name)| (container, codec, oddity, name))
        })
    })
}

#[test]
fn every_accepted_format_has_exact_frame_numbers() {
    let target = std::env::var_os("COURTSIDE_FORMATS_TABLE");
    let mut failed = Vec::new();
    let mut table = String::from(
        "| Container | Codec | Property | Resuming | Tracked while it arrives |\n|---|---|---|---|---|\n",
    );
    for (container, codec, oddity, name) in rows() {
        if target.is_none() && !QUICK.contains(&(container, codec.name, oddity)) {
            continue;
        }
        match std::panic::catch_unwind(|| check_row(container, codec, oddity)) {
            Ok(cells) => writeln!(table, "| {container} | {} | {name} | {cells} |", codec.name).unwrap(),
            Err(_) => failed.push(format!("{container}, {}, {name}", codec.name)),
        }
    }
    assert_eq!(failed, [""; 0]);
    if let Some(target) = target {
        std::fs::write(target, table).unwrap();
    }
}

#[test]
fn the_documented_table_has_every_row() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/formats.md");
    let document = std::fs::read_to_string(document).unwrap();
    let documented: Vec<&str> = document.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    let expected: Vec<String> = rows()
        .map(|(container, codec, _, name)| format!("| {container} | {} | {name} | ", codec.name))
        .collect();
    assert_eq!(documented.len(), expected.len());
    for (documented, expected) in documented.iter().zip(&expected) {
        assert!(
            documented.starts_with(expected),
            "run scripts/formats_table.sh: {documented} is not {expected}"
        );
    }
}
