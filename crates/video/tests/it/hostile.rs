//! Malicious files: each causes a clear error, and none gives access to another file or address.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use video::{DecodeOptions, Limits, Video, VideoError};

use crate::clips::{ffprobe, make, open, tools};

const H264: &str = "-pix_fmt yuv420p -c:v libx264 -preset veryfast -g 30";

/// The error of opening a file, which must name the file.
fn open_error(path: &Path) -> VideoError {
    match Video::open(tools(), path, &Limits::default()) {
        Err(error) => {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(error.to_string().contains(name), "the error does not name the file: {error}");
            error
        }
        Ok(video) => panic!("{} was accepted: {video:?}", path.display()),
    }
}

#[test]
fn errors_for_files_that_are_not_videos_name_the_reason() {
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
        let error = open_error(&path);
        assert!(matches!(error, VideoError::NotVideo { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
    let missing = open_error(&folder.path().join("missing.mp4"));
    assert!(matches!(missing, VideoError::Io { .. }), "{missing}");
    assert!(matches!(open_error(folder.path()), VideoError::NotVideo { .. }));
}

#[test]
fn a_named_pipe_is_rejected_without_blocking() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe.mp4");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(open_error(&path).to_string().contains("not a regular file"));
}

#[test]
fn a_video_truncated_before_its_index_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let path = make(folder.path(), 60, H264, "a.mp4");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = open_error(&path);
    assert!(error.to_string().contains("moov atom not found"), "{error}");
    assert!(matches!(error, VideoError::NotVideo { .. }));
}

#[test]
fn audio_files_and_other_codecs_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    crate::clips::ffmpeg(folder.path(), "-f lavfi -i sine=d=1 sound.mp4");
    assert!(open_error(&folder.path().join("sound.mp4")).to_string().contains("no video stream"));
    let error = open_error(&make(folder.path(), 10, "-c:v ffv1", "other.mkv"));
    assert!(matches!(&error, VideoError::UnsupportedCodec { codec, .. } if codec == "ffv1"), "{error}");
    assert!(error.to_string().contains("libx264"), "the error has no hint: {error}");
}

/// A naive player would follow these playlists, each of which refers to another user's video.
#[test]
fn playlists_do_not_open_other_files() {
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
        let error = open_error(&path);
        assert!(matches!(error, VideoError::NotVideo { .. }), "{error}");
    }
    // An unrestricted ffprobe does follow the playlist; otherwise this test would prove nothing.
    assert!(
        ffprobe(&folder.path().join("near.m3u8"), "-show_entries stream=codec_name -of csv=p=0")
            .contains("h264")
    );
    let error = open_error(&folder.path().join("near.m3u8")).to_string();
    assert!(error.contains("it is a playlist"), "{error}");
}

#[test]
fn playlists_do_not_open_addresses() {
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
        open_error(&path);
    }
    // A URL is not accepted as a file name either.
    assert!(matches!(open_error(Path::new(&format!("http://{address}/a.mp4"))), VideoError::Io { .. }));
    let no_connection = listener.accept().unwrap_err();
    assert_eq!(no_connection.kind(), std::io::ErrorKind::WouldBlock);
}

/// A VP8 keyframe stores its size as two plain numbers, so changing a few bytes declares a huge image.
#[test]
fn a_frame_that_declares_a_huge_size_is_rejected() {
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
fn limits_on_pixels_and_frames_are_enforced() {
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

/// Tables that declare two billion entries are rejected, or only their actual entries are read.
#[test]
fn excessive_table_sizes_are_handled() {
    let folder = tempfile::tempdir().unwrap();
    let good = fs::read(make(folder.path(), 60, H264, "a.mp4")).unwrap();
    for (table, offset) in [(b"stsz", 12), (b"stts", 8), (b"ctts", 8), (b"stco", 8), (b"stsc", 8)] {
        let mut bytes = good.clone();
        let at = bytes.windows(4).position(|name| name == table).unwrap() + offset;
        bytes[at..at + 4].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff]);
        let path = folder.path().join("excessive.mp4");
        fs::write(&path, bytes).unwrap();
        match Video::open(tools(), &path, &Limits::default()) {
            Ok(video) => assert!(video.n_frames() <= 60, "{table:?}: {}", video.n_frames()),
            Err(error) => {
                assert!(matches!(error, VideoError::NotVideo { .. } | VideoError::TooLarge { .. }), "{error}")
            }
        }
    }
}

/// Names that ffmpeg could interpret as options, protocols or patterns.
#[test]
fn unusual_file_names_are_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let path = make(folder.path(), 5, H264, "a.mp4");
    for name in [
        "-i.mp4",
        "concat:a.mp4|b.mp4",
        "a%03d.mp4",
        "with 'quotes' and : = , ; [x].mp4",
        "\u{e9}\u{1f3c0}.mp4",
    ] {
        let unusual = folder.path().join(name);
        fs::copy(&path, &unusual).unwrap();
        let frames = open(&unusual).frames(&DecodeOptions::default()).unwrap();
        assert_eq!(frames.map(Result::unwrap).count(), 5, "{name}");
    }
}
