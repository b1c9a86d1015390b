//! Boxes grouped by track instead of by frame.
//!
//! Boxes are collected in memory. When there are [`MAX_BUFFERED`] of them, they are moved to an unnamed file, sorted
//! by track; each track is then read back as a few runs. Memory is bounded by the buffer and an entry per track.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read, Result, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Number of boxes kept in memory, about 10 MB.
const MAX_BUFFERED: usize = 1 << 18;
/// Size of a box in the file: its frame and its coordinates, little-endian.
const RECORD_BYTES: usize = 5 * 8;

/// One box of a track.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shape {
    /// Frame number, from 0.
    pub(super) frame: i64,
    /// Left, top, width and height.
    pub(super) bbox: [f64; 4],
}

#[derive(Default)]
struct Track {
    buffered: Vec<Shape>,
    /// Offset in the file and number of boxes of each run, in the order they were added.
    runs: Vec<(u64, usize)>,
}

/// Boxes of all tracks.
pub(super) struct ByTrack {
    folder: PathBuf,
    max_buffered: usize,
    tracks: BTreeMap<i64, Track>,
    n_buffered: usize,
    /// The file with its size, created when the buffer is first full.
    file: Option<(File, u64)>,
}

impl ByTrack {
    /// Creates an empty collection whose unnamed file, if it needs one, is in `folder`.
    pub(super) fn new(folder: &Path) -> Self {
        Self::with_buffer(folder, MAX_BUFFERED)
    }

    fn with_buffer(folder: &Path, max_buffered: usize) -> Self {
        Self { folder: folder.to_owned(), max_buffered, tracks: BTreeMap::new(), n_buffered: 0, file: None }
    }

    /// Adds a box to a track.
    pub(super) fn push(&mut self, track_id: i64, shape: Shape) -> Result<()> {
        self.tracks.entry(track_id).or_default().buffered.push(shape);
        self.n_buffered += 1;
        if self.n_buffered == self.max_buffered { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let (file, mut end) = match self.file.take() {
            Some(file) => file,
            None => (tempfile::tempfile_in(&self.folder)?, 0),
        };
        let mut out = BufWriter::with_capacity(1 << 20, file);
        for track in self.tracks.values_mut().filter(|track| !track.buffered.is_empty()) {
            let shapes = std::mem::take(&mut track.buffered);
            track.runs.push((end, shapes.len()));
            end += (shapes.len() * RECORD_BYTES) as u64;
            shapes.iter().try_for_each(|shape| out.write_all(&to_bytes(shape)))?;
        }
        self.n_buffered = 0;
        self.file = Some((out.into_inner().map_err(|e| e.into_error())?, end));
        Ok(())
    }

    /// Calls `each` with every track id, ascending, and the track's boxes in the order they were added.
    pub(super) fn for_each<E: From<std::io::Error>>(
        mut self,
        mut each: impl FnMut(i64, &mut dyn Iterator<Item = Result<Shape>>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        for (track_id, track) in std::mem::take(&mut self.tracks) {
            let file = self.file.as_mut().map(|(file, _)| file);
            let mut runs = Runs { file, stored: track.runs.into_iter(), buffered: Some(track.buffered) };
            let mut current = Vec::new().into_iter();
            let mut shapes = std::iter::from_fn(|| {
                loop {
                    if let Some(shape) = current.next() {
                        return Some(Ok(shape));
                    }
                    match runs.next()? {
                        Ok(run) => current = run.into_iter(),
                        Err(error) => return Some(Err(error)),
                    }
                }
            });
            each(track_id, &mut shapes)?;
        }
        Ok(())
    }
}

/// A track's runs from the file, then those that are still in memory.
struct Runs<'a> {
    file: Option<&'a mut File>,
    stored: std::vec::IntoIter<(u64, usize)>,
    buffered: Option<Vec<Shape>>,
}

impl Iterator for Runs<'_> {
    type Item = Result<Vec<Shape>>;

    fn next(&mut self) -> Option<Self::Item> {
        match (self.file.as_deref_mut(), self.stored.next()) {
            (Some(file), Some((start, n_shapes))) => Some(read_run(file, start, n_shapes)),
            _ => self.buffered.take().map(Ok),
        }
    }
}

fn read_run(file: &mut File, start: u64, n_shapes: usize) -> Result<Vec<Shape>> {
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = vec![0; n_shapes * RECORD_BYTES];
    file.read_exact(&mut bytes)?;
    Ok(bytes.as_chunks::<RECORD_BYTES>().0.iter().map(from_bytes).collect())
}

fn to_bytes(shape: &Shape) -> [u8; RECORD_BYTES] {
    let mut out = [0; RECORD_BYTES];
    out[..8].copy_from_slice(&shape.frame.to_le_bytes());
    for (i, x) in shape.bbox.iter().enumerate() {
        out[8 + 8 * i..16 + 8 * i].copy_from_slice(&x.to_le_bytes());
    }
    out
}

fn from_bytes(bytes: &[u8; RECORD_BYTES]) -> Shape {
    let eight = |i: usize| -> [u8; 8] { std::array::from_fn(|k| bytes[i + k]) };
    Shape {
        frame: i64::from_le_bytes(eight(0)),
        bbox: std::array::from_fn(|i| f64::from_le_bytes(eight(8 + 8 * i))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracks_are_complete_and_ordered_for_any_buffer_size() {
        let folder = tempfile::tempdir().unwrap();
        for max_buffered in [1, 2, 7, 64, 1000] {
            let mut tracks = ByTrack::with_buffer(folder.path(), max_buffered);
            let mut expected: BTreeMap<i64, Vec<Shape>> = BTreeMap::new();
            for frame in 0..100 {
                for track_id in [5, -1, 3] {
                    if frame % (track_id + 2) == 0 {
                        let shape = Shape { frame, bbox: [frame as f64 / 7.0, -0.1, 1e9, track_id as f64] };
                        tracks.push(track_id, shape).unwrap();
                        expected.entry(track_id).or_default().push(shape);
                    }
                }
            }
            let mut actual = Vec::new();
            tracks
                .for_each(|id, shapes| {
                    actual.push((id, shapes.collect::<Result<Vec<_>>>()?));
                    Ok::<_, std::io::Error>(())
                })
                .unwrap();
            assert_eq!(actual, expected.into_iter().collect::<Vec<_>>(), "{max_buffered}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
