//! Naming a container that is not accepted, from the first bytes of the file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A file that ffprobe refused because of its container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// A container of video, which can be converted.
    Container(&'static str),
    /// A text that refers to other files.
    Playlist,
    /// Something else.
    Unknown,
}

/// First bytes of containers that are not accepted.
const SIGNATURES: [(&[u8], &str); 7] = [
    (&[0x30, 0x26, 0xb2, 0x75, 0x8e, 0x66, 0xcf, 0x11], "WMV (ASF)"),
    (b"OggS", "Ogg"),
    (&[0x06, 0x0e, 0x2b, 0x34], "MXF"),
    (&[0x1f, 0x07, 0x00], "raw DV"),
    (b".RMF", "RealMedia"),
    (b"GIF8", "GIF"),
    (b"DKIF", "IVF"),
];

/// First bytes of texts that name other files.
const PLAYLISTS: [&[u8]; 6] = [b"#EXTM3U", b"ffconcat", b"<?xml", b"<MPD", b"v=0", b"[playlist]"];

/// What kind of file this is, by its first bytes.
pub(crate) fn identify(path: &Path) -> Refused {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(64).read_to_end(&mut start));
    if read.is_err() {
        return Refused::Unknown;
    }
    let container = SIGNATURES.iter().find(|(signature, _)| start.starts_with(signature));
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&start).trim_ascii_start();
    match container {
        Some((_, name)) => Refused::Container(name),
        None if PLAYLISTS.iter().any(|playlist| text.starts_with(playlist)) => Refused::Playlist,
        None => Refused::Unknown,
    }
}
