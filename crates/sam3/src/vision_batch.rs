//! Several videos on one GPU: their pictures go through the vision encoder together.
//!
//! Each session asks by itself, from a thread of its own. Whoever makes the group complete, or has waited long
//! enough for the others, runs the encoder for all who asked; everyone takes home their own picture.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use candle_core::{Result, Tensor};

/// How long a picture waits for the others'. A frame takes longer, and the GPU has other work meanwhile.
const PATIENCE: Duration = Duration::from_millis(8);

/// Where pictures meet.
#[derive(Default)]
pub(crate) struct VisionBatch {
    group: Mutex<Group>,
    changed: Condvar,
}

#[derive(Default)]
struct Group {
    /// Sessions that are alive.
    n_members: usize,
    next_ticket: u64,
    waiting: Vec<(u64, Tensor)>,
    is_running: bool,
    /// What came out, by ticket.
    done: HashMap<u64, std::result::Result<Tensor, String>>,
}

impl VisionBatch {
    fn group(&self) -> MutexGuard<'_, Group> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One session more.
    pub(crate) fn join(&self) {
        self.group().n_members += 1;
    }

    /// One session less; nobody waits for it any more.
    pub(crate) fn leave(&self) {
        self.group().n_members -= 1;
        self.changed.notify_all();
    }

    /// Runs `encode` on a picture `[1, ..]`, perhaps together with others' as `[n, ..]`.
    pub(crate) fn encode(
        &self,
        picture: &Tensor,
        encode: impl Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let mut group = self.group();
        if group.n_members < 2 {
            drop(group);
            return encode(picture);
        }
        let ticket = group.next_ticket;
        group.next_ticket += 1;
        group.waiting.push((ticket, picture.clone()));
        self.changed.notify_all();
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(done) = group.done.remove(&ticket) {
                return done.map_err(candle_core::Error::msg);
            }
            let left = give_up.saturating_duration_since(Instant::now());
            let is_complete = group.waiting.len() >= group.n_members || left.is_zero();
            if is_complete && !group.is_running && !group.waiting.is_empty() {
                group = self.run(group, &encode);
                continue;
            }
            // Somebody else may be at it: then there is no hurry.
            let wait = if left.is_zero() { PATIENCE } else { left };
            group = self.changed.wait_timeout(group, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Encodes for all who wait.
    fn run<'a>(
        &'a self,
        mut group: MutexGuard<'a, Group>,
        encode: &impl Fn(&Tensor) -> Result<Tensor>,
    ) -> MutexGuard<'a, Group> {
        let (tickets, pictures): (Vec<u64>, Vec<Tensor>) =
            std::mem::take(&mut group.waiting).into_iter().unzip();
        group.is_running = true;
        drop(group);
        let running = Running { batch: self, tickets: &tickets };
        let together = Tensor::cat(&pictures, 0).and_then(|batch| encode(&batch));
        let encoded: Vec<Result<Tensor>> = match together {
            Ok(all) => (0..pictures.len()).map(|i| all.narrow(0, i, 1)).collect(),
            // Many may not fit the device's memory where one does.
            Err(_) => pictures.iter().map(encode).collect(),
        };
        let mut group = self.group();
        // An error's own words, since it was made on another thread.
        let encoded = encoded.into_iter().map(|one| one.map_err(|e| format!("{e:?}")));
        group.done.extend(tickets.iter().copied().zip(encoded));
        drop(group);
        drop(running);
        self.group()
    }
}

/// A run of the encoder. However it ends, nobody waits for ever.
struct Running<'a> {
    batch: &'a VisionBatch,
    tickets: &'a [u64],
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut group = self.batch.group();
        group.is_running = false;
        if std::thread::panicking() {
            let failed =
                |ticket: &u64| (*ticket, Err("the vision encoder panicked on another thread".to_owned()));
            group.done.extend(self.tickets.iter().map(failed));
        }
        self.batch.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use candle_core::Device;

    use super::*;

    fn picture(value: usize) -> Tensor {
        Tensor::full(value as f32, (1, 2, 2, 3), &Device::Cpu).unwrap()
    }

    fn first(encoded: &Tensor) -> f32 {
        assert_eq!(encoded.dims(), [1, 2, 2, 3]);
        encoded.flatten_all().unwrap().get(0).unwrap().to_scalar().unwrap()
    }

    #[test]
    fn everyone_gets_their_own_picture_and_few_runs_serve_all() {
        const MEMBERS: usize = 4;
        const FRAMES: usize = 25;
        let (batch, runs) = (VisionBatch::default(), AtomicUsize::new(0));
        (0..MEMBERS).for_each(|_| batch.join());
        let encode = |pictures: &Tensor| {
            runs.fetch_add(1, Ordering::SeqCst);
            pictures.affine(2.0, 1.0)
        };
        std::thread::scope(|scope| {
            for member in 0..MEMBERS {
                let (batch, encode) = (&batch, &encode);
                scope.spawn(move || {
                    for t in 0..FRAMES {
                        let value = member * 1000 + t;
                        let encoded = batch.encode(&picture(value), encode).unwrap();
                        assert_eq!(first(&encoded), 2.0 * value as f32 + 1.0);
                    }
                    batch.leave();
                });
            }
        });
        let runs = runs.into_inner();
        assert!((FRAMES..MEMBERS * FRAMES).contains(&runs), "{runs} runs");
    }

    #[test]
    fn one_alone_does_not_wait_and_a_missing_member_is_not_waited_for_long() {
        let batch = VisionBatch::default();
        batch.join();
        assert_eq!(first(&batch.encode(&picture(3), |x| Ok(x.clone())).unwrap()), 3.0);
        batch.join();
        assert_eq!(first(&batch.encode(&picture(4), |x| Ok(x.clone())).unwrap()), 4.0);
    }

    #[test]
    fn what_fails_together_is_tried_one_by_one_and_errors_keep_their_words() {
        let batch = VisionBatch::default();
        batch.join();
        batch.join();
        let encode = |pictures: &Tensor| match pictures.dims() {
            [1, ..] if first(pictures) == 1.0 => Ok(pictures.clone()),
            _ => candle_core::bail!("CUDA_ERROR_OUT_OF_MEMORY"),
        };
        std::thread::scope(|scope| {
            let fits = scope.spawn(|| batch.encode(&picture(1), encode));
            let never = scope.spawn(|| batch.encode(&picture(2), encode));
            assert_eq!(first(&fits.join().unwrap().unwrap()), 1.0);
            let error = crate::Error::from(never.join().unwrap().unwrap_err());
            assert!(error.is_out_of_memory(), "{error:?}");
        });
    }
}
