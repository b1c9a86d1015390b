//! Boxes in the order of tracks instead of frames. They are gathered in memory until there are many, then put
//! aside in one unnamed file, each track's together; a track is read back as a few runs. Memory is bounded by
//! [`MAX_WAITING`] boxes and an entry for each track.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read, Result, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Boxes that are kept in memory; 10 MB.
const MAX_WAITING: usize = 1 << 18;
/// Bytes of a box in the file: frame and bounds, little-endian.
const RECORD: usize = 5 * 8;

/// One box of a track.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shape {
    /// Frame, from 0.
    pub(super) frame: i64,
    /// Left, top, width and height.
    pub(super) bbox: [f64; 4],
}

#[derive(Default)]
struct Track {
    waiting: Vec<Shape>,
    /// Where in the file its boxes are, and how many: in the order they came.
    runs: Vec<(u64, usize)>,
}

/// The tracks.
pub(super) struct ByTrack {
    folder: PathBuf,
    max_waiting: usize,
    tracks: BTreeMap<i64, Track>,
    n_waiting: usize,
    /// Made when it is needed, and its size.
    file: Option<(File, u64)>,
}

impl ByTrack {
    /// Empty. What does not fit into memory goes to an unnamed file in `folder`.
    pub(super) fn new(folder: &Path) -> Self {
        Self::holding(folder, MAX_WAITING)
    }

    fn holding(folder: &Path, max_waiting: usize) -> Self {
        Self { folder: folder.to_owned(), max_waiting, tracks: BTreeMap::new(), n_waiting: 0, file: None }
    }

    /// Adds a box to a track.
    pub(super) fn push(&mut self, track_id: i64, shape: Shape) -> Result<()> {
        self.tracks.entry(track_id).or_default().waiting.push(shape);
        self.n_waiting += 1;
        if self.n_waiting == self.max_waiting { self.put_aside() } else { Ok(()) }
    }

    fn put_aside(&mut self) -> Result<()> {
        let (file, mut end) = match self.file.take() {
            Some(file) => file,
            None => (tempfile::tempfile_in(&self.folder)?, 0),
        };
        let mut out = BufWriter::with_capacity(1 << 20, file);
        for track in self.tracks.values_mut().filter(|track| !track.waiting.is_empty()) {
            let shapes = std::mem::take(&mut track.waiting);
            track.runs.push((end, shapes.len()));
            end += (shapes.len() * RECORD) as u64;
            shapes.iter().try_for_each(|shape| out.write_all(&bytes(shape)))?;
        }
        self.n_waiting = 0;
        self.file = Some((out.into_inner().map_err(|e| e.into_error())?, end));
        Ok(())
    }

    /// Hands out every track by its number, with its boxes in the order in which they came, in portions.
    pub(super) fn for_each<E: From<std::io::Error>>(
        mut self,
        mut each: impl FnMut(i64, &mut dyn Iterator<Item = Result<Shape>>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        for (track_id, track) in std::mem::take(&mut self.tracks) {
            let file = self.file.as_mut().map(|(file, _)| file);
            let mut portions = Portions { file, runs: track.runs.into_iter(), last: Some(track.waiting) };
            let mut current = Vec::new().into_iter();
            let mut shapes = std::iter::from_fn(|| {
                loop {
                    if let Some(shape) = current.next() {
                        return Some(Ok(shape));
                    }
                    match portions.next()? {
                        Ok(portion) => current = portion.into_iter(),
                        Err(error) => return Some(Err(error)),
                    }
                }
            });
            each(track_id, &mut shapes)?;
        }
        Ok(())
    }
}

/// A track's runs in the file, then what never left memory.
struct Portions<'a> {
    file: Option<&'a mut File>,
    runs: std::vec::IntoIter<(u64, usize)>,
    last: Option<Vec<Shape>>,
}

impl Iterator for Portions<'_> {
    type Item = Result<Vec<Shape>>;

    fn next(&mut self) -> Option<Self::Item> {
        match (self.file.as_deref_mut(), self.runs.next()) {
            (Some(file), Some((start, n_shapes))) => Some(run(file, start, n_shapes)),
            _ => self.last.take().map(Ok),
        }
    }
}

fn run(file: &mut File, start: u64, n_shapes: usize) -> Result<Vec<Shape>> {
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = vec![0; n_shapes * RECORD];
    file.read_exact(&mut bytes)?;
    Ok(bytes.as_chunks::<RECORD>().0.iter().map(shape).collect())
}

fn bytes(shape: &Shape) -> [u8; RECORD] {
    let mut out = [0; RECORD];
    out[..8].copy_from_slice(&shape.frame.to_le_bytes());
    for (i, x) in shape.bbox.iter().enumerate() {
        out[8 + 8 * i..16 + 8 * i].copy_from_slice(&x.to_le_bytes());
    }
    out
}

fn shape(bytes: &[u8; RECORD]) -> Shape {
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
    fn tracks_come_whole_and_in_order_whatever_was_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        for max_waiting in [1, 2, 7, 64, 1000] {
            let mut tracks = ByTrack::holding(folder.path(), max_waiting);
            let mut want: BTreeMap<i64, Vec<Shape>> = BTreeMap::new();
            for frame in 0..100 {
                for track_id in [5, -1, 3] {
                    if frame % (track_id + 2) == 0 {
                        let shape = Shape { frame, bbox: [frame as f64 / 7.0, -0.1, 1e9, track_id as f64] };
                        tracks.push(track_id, shape).unwrap();
                        want.entry(track_id).or_default().push(shape);
                    }
                }
            }
            let mut got = Vec::new();
            tracks
                .for_each(|id, shapes| {
                    got.push((id, shapes.collect::<Result<Vec<_>>>()?));
                    Ok::<_, std::io::Error>(())
                })
                .unwrap();
            assert_eq!(got, want.into_iter().collect::<Vec<_>>(), "{max_waiting}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
