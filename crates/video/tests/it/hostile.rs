//! Files from strangers: each gets a clear error, and none reaches another file or address.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use video::{DecodeOptions, Limits, Video, VideoError};

use crate::clips::{ffprobe, make, open, tools};

const H264: &str = "-pix_fmt yuv420p -c:v libx264 -preset veryfast -g 30";

fn refused(path: &Path) -> VideoError {
    match Video::open(tools(), path, &Limits::default()) {
        Err(error) => {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(error.to_string().contains(name), "the file is not named: {error}");
            error
        }
        Ok(video) => panic!("{} was taken: {video:?}", path.display()),
    }
}

#[test]
fn files_that_are_no_videos_are_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let noise: Vec<u8> =
        (0..200_000_u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    let files: [(&str, &[u8], &str); 5] = [
        ("empty.mp4", b"", "it is empty"),
        ("text.mp4", b"This is a text about a video.\n", "is not a readable video"),
        ("noise.mp4", &noise, "is not a readable video"),
        ("box.mp4", b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41\0\0\0\x08free", "is not a readable video"),
        ("page.mp4", b"<!DOCTYPE html><html><body>404</body></html>", "is not a readable video"),
    ];
    for (name, bytes, reason) in files {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let error = refused(&path);
        assert!(matches!(error, VideoError::NotVideo { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
    let missing = refused(&folder.path().join("missing.mp4"));
    assert!(matches!(missing, VideoError::Io { .. }), "{missing}");
    assert!(matches!(refused(folder.path()), VideoError::NotVideo { .. }));
}

#[test]
fn a_pipe_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe.mp4");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(refused(&path).to_string().contains("not a regular file"));
}

#[test]
fn a_video_cut_before_its_index_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = make(folder.path(), 60, H264, "a.mp4");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = refused(&path);
    assert!(error.to_string().contains("moov atom not found"), "{error}");
    assert!(matches!(error, VideoError::NotVideo { .. }));
}

#[test]
fn sound_alone_and_other_codecs_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    crate::clips::ffmpeg(folder.path(), "-f lavfi -i sine=d=1 sound.mp4");
    assert!(refused(&folder.path().join("sound.mp4")).to_string().contains("no video stream"));
    let error = refused(&make(folder.path(), 10, "-c:v ffv1", "other.mkv"));
    assert!(matches!(&error, VideoError::UnsupportedCodec { codec, .. } if codec == "ffv1"), "{error}");
    assert!(error.to_string().contains("libx264"), "no way out: {error}");
}

/// What a naive player would follow: each points at a real video of someone else.
#[test]
fn playlists_do_not_lead_to_other_files() {
    let folder = tempfile::tempdir().unwrap();
    let other = make(folder.path(), 30, H264, "other.ts");
    let other = other.display();
    let lists = [
        (
            "hls.mp4",
            format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.2,\nfile://{other}\n#EXT-X-ENDLIST\n"),
        ),
        ("plain.mp4", format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.2,\n{other}\n#EXT-X-ENDLIST\n")),
        (
            "near.m3u8",
            String::from("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.2,\nother.ts\n#EXT-X-ENDLIST\n"),
        ),
        ("concat.mp4", format!("ffconcat version 1.0\nfile {other}\n")),
        ("near.ffconcat", String::from("ffconcat version 1.0\nfile other.ts\n")),
        (
            "dash.mpd",
            format!(
                "<?xml version=\"1.0\"?><MPD type=\"static\" xmlns=\"urn:mpeg:dash:schema:mpd:2011\"><Period>\
             <AdaptationSet mimeType=\"video/mp2t\"><Representation id=\"1\" bandwidth=\"1\"><BaseURL>{other}</BaseURL>\
             </Representation></AdaptationSet></Period></MPD>"
            ),
        ),
    ];
    for (name, text) in lists {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        let error = refused(&path);
        assert!(matches!(error, VideoError::NotVideo { .. }), "{error}");
    }
    // The first of them does work where nobody minds, or this test would prove nothing.
    assert!(
        ffprobe(&folder.path().join("near.m3u8"), "-show_entries stream=codec_name -of csv=p=0")
            .contains("h264")
    );
    let error = refused(&folder.path().join("near.m3u8")).to_string();
    assert!(error.contains("playlists"), "{error}");
}

#[test]
fn playlists_do_not_lead_to_addresses() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        (
            "hls.mp4",
            format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\nhttp://{address}/a.ts\n#EXT-X-ENDLIST\n"),
        ),
        ("concat.mp4", format!("ffconcat version 1.0\nfile http://{address}/a.ts\n")),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        refused(&path);
    }
    // An address is no file either.
    assert!(matches!(refused(Path::new(&format!("http://{address}/a.mp4"))), VideoError::Io { .. }));
    let nobody = listener.accept().unwrap_err();
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock);
}

/// A VP8 keyframe says its size in two plain numbers, so that a few bytes make a bomb.
#[test]
fn a_bomb_of_a_picture_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let options = "-pix_fmt yuv420p -c:v libvpx -deadline realtime -cpu-used 8 -g 5";
    let path = make(folder.path(), 20, options, "bomb.webm");
    let mut bytes = fs::read(&path).unwrap();
    let side = 16_000_u16.to_le_bytes();
    let starts: Vec<usize> =
        (0..bytes.len() - 7).filter(|&i| bytes[i..i + 3] == [0x9d, 0x01, 0x2a]).collect();
    assert_eq!(starts.len(), 4, "keyframes");
    for start in starts {
        bytes[start + 3..start + 5].copy_from_slice(&side);
        bytes[start + 5..start + 7].copy_from_slice(&side);
    }
    fs::write(&path, bytes).unwrap();
    let outcome = Video::open(tools(), &path, &Limits::default())
        .and_then(|video| video.frames(&DecodeOptions::default())?.collect::<Result<Vec<_>, _>>());
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("16000x16000"), "{error}");
}

#[test]
fn limits_on_pixels_and_frames_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = make(folder.path(), 60, H264, "a.mp4");
    let exact = Limits { max_pixels: 320 * 240, max_frames: 60, ..Limits::default() };
    assert!(Video::open(tools(), &path, &exact).is_ok());
    let error =
        Video::open(tools(), &path, &Limits { max_pixels: 320 * 240 - 1, ..exact.clone() }).unwrap_err();
    assert!(matches!(error, VideoError::TooLarge { .. }), "{error}");
    let error = Video::open(tools(), &path, &Limits { max_frames: 59, ..exact }).unwrap_err();
    assert!(matches!(error, VideoError::TooLarge { .. }), "{error}");
    assert!(error.to_string().contains("59"), "{error}");
}

/// Tables that announce two thousand million entries: refused or read for what they hold.
#[test]
fn absurd_counts_in_the_header_are_survived() {
    let folder = tempfile::tempdir().unwrap();
    let good = fs::read(make(folder.path(), 60, H264, "a.mp4")).unwrap();
    for (table, offset) in [(b"stsz", 12), (b"stts", 8), (b"ctts", 8), (b"stco", 8), (b"stsc", 8)] {
        let mut bytes = good.clone();
        let at = bytes.windows(4).position(|name| name == table).unwrap() + offset;
        bytes[at..at + 4].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff]);
        let path = folder.path().join("absurd.mp4");
        fs::write(&path, bytes).unwrap();
        match Video::open(tools(), &path, &Limits::default()) {
            Ok(video) => assert!(video.n_frames() <= 60, "{table:?}: {}", video.n_frames()),
            Err(error) => {
                assert!(matches!(error, VideoError::NotVideo { .. } | VideoError::TooLarge { .. }), "{error}")
            }
        }
    }
}

/// Names that ffmpeg would take for options, protocols or patterns.
#[test]
fn odd_names_are_just_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = make(folder.path(), 5, H264, "a.mp4");
    for name in [
        "-i.mp4",
        "concat:a.mp4|b.mp4",
        "a%03d.mp4",
        "with 'quotes' and : = , ; [x].mp4",
        "\u{e9}\u{1f3c0}.mp4",
    ] {
        let odd = folder.path().join(name);
        fs::copy(&path, &odd).unwrap();
        let frames = open(&odd).frames(&DecodeOptions::default()).unwrap();
        assert_eq!(frames.map(Result::unwrap).count(), 5, "{name}");
    }
}
