//! Batching of the vision encoder: concurrent sessions on one GPU encode their images together.
//!
//! Each session calls [`VisionBatch::encode`] from its own thread. The call that completes the batch, or that has waited
//! [`MAX_WAIT`] for the others, runs the encoder on all waiting images; each call returns its own result.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use candle_core::{Result, Tensor};

/// How long an image waits for those of other sessions. Shorter than a frame takes, and the GPU has other work in the
/// meantime.
const MAX_WAIT: Duration = Duration::from_millis(8);

/// The images of concurrent sessions that wait to be encoded.
#[derive(Default)]
pub(crate) struct VisionBatch {
    group: Mutex<Group>,
    changed: Condvar,
}

#[derive(Default)]
struct Group {
    /// Number of sessions that exist.
    n_members: usize,
    next_ticket: u64,
    waiting: Vec<(u64, Tensor)>,
    is_running: bool,
    /// Encoded images, or the text of the error, by ticket.
    done: HashMap<u64, std::result::Result<Tensor, String>>,
}

impl VisionBatch {
    fn group(&self) -> MutexGuard<'_, Group> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a session. Every session that joins must leave.
    pub(crate) fn join(&self) {
        self.group().n_members += 1;
    }

    /// Removes a session, so that the others no longer wait for it.
    pub(crate) fn leave(&self) {
        self.group().n_members -= 1;
        self.changed.notify_all();
    }

    /// Runs `encode` on an image `[1, ..]`, possibly in a batch `[n, ..]` with those of other sessions.
    pub(crate) fn encode(
        &self,
        image: &Tensor,
        encode: impl Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let mut group = self.group();
        if group.n_members < 2 {
            drop(group);
            return encode(image);
        }
        let ticket = group.next_ticket;
        group.next_ticket += 1;
        group.waiting.push((ticket, image.clone()));
        self.changed.notify_all();
        let deadline = Instant::now() + MAX_WAIT;
        loop {
            if let Some(done) = group.done.remove(&ticket) {
                return done.map_err(candle_core::Error::msg);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let is_complete = group.waiting.len() >= group.n_members || left.is_zero();
            if is_complete && !group.is_running && !group.waiting.is_empty() {
                group = self.run(group, &encode);
                continue;
            }
            // Past the deadline, another call is running the encoder and will notify this one.
            let wait = if left.is_zero() { MAX_WAIT } else { left };
            group = self.changed.wait_timeout(group, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Encodes all waiting images.
    fn run<'a>(
        &'a self,
        mut group: MutexGuard<'a, Group>,
        encode: &impl Fn(&Tensor) -> Result<Tensor>,
    ) -> MutexGuard<'a, Group> {
        let (tickets, images): (Vec<u64>, Vec<Tensor>) =
            std::mem::take(&mut group.waiting).into_iter().unzip();
        group.is_running = true;
        drop(group);
        let running = Running { batch: self, tickets: &tickets };
        let together = Tensor::cat(&images, 0).and_then(|batch| encode(&batch));
        let encoded: Vec<Result<Tensor>> = match together {
            Ok(all) => (0..images.len()).map(|i| all.narrow(0, i, 1)).collect(),
            // The batch may not fit into the device's memory while single images do.
            Err(_) => images.iter().map(encode).collect(),
        };
        let mut group = self.group();
        // The error was created on another thread: only its text is passed on.
        let encoded = encoded.into_iter().map(|one| one.map_err(|e| format!("{e:?}")));
        group.done.extend(tickets.iter().copied().zip(encoded));
        drop(group);
        drop(running);
        self.group()
    }
}

/// A run of the encoder. When it ends, even by a panic, the waiting calls are notified.
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

    fn image(value: usize) -> Tensor {
        Tensor::full(value as f32, (1, 2, 2, 3), &Device::Cpu).unwrap()
    }

    fn first(encoded: &Tensor) -> f32 {
        assert_eq!(encoded.dims(), [1, 2, 2, 3]);
        encoded.flatten_all().unwrap().get(0).unwrap().to_scalar().unwrap()
    }

    #[test]
    fn concurrent_sessions_share_runs_and_get_their_own_results() {
        const MEMBERS: usize = 4;
        const FRAMES: usize = 25;
        let (batch, runs) = (VisionBatch::default(), AtomicUsize::new(0));
        (0..MEMBERS).for_each(|_| batch.join());
        let encode = |images: &Tensor| {
            runs.fetch_add(1, Ordering::SeqCst);
            images.affine(2.0, 1.0)
        };
        std::thread::scope(|scope| {
            for member in 0..MEMBERS {
                let (batch, encode) = (&batch, &encode);
                scope.spawn(move || {
                    for t in 0..FRAMES {
                        let value = member * 1000 + t;
                        let encoded = batch.encode(&image(value), encode).unwrap();
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
    fn a_single_session_does_not_wait_and_an_idle_one_delays_others_only_briefly() {
        let batch = VisionBatch::default();
        batch.join();
        assert_eq!(first(&batch.encode(&image(3), |x| Ok(x.clone())).unwrap()), 3.0);
        batch.join();
        assert_eq!(first(&batch.encode(&image(4), |x| Ok(x.clone())).unwrap()), 4.0);
    }

    #[test]
    fn a_failed_batch_is_retried_one_by_one_and_errors_keep_their_text() {
        let batch = VisionBatch::default();
        batch.join();
        batch.join();
        let encode = |images: &Tensor| match images.dims() {
            [1, ..] if first(images) == 1.0 => Ok(images.clone()),
            _ => candle_core::bail!("CUDA_ERROR_OUT_OF_MEMORY"),
        };
        std::thread::scope(|scope| {
            let fits = scope.spawn(|| batch.encode(&image(1), encode));
            let never = scope.spawn(|| batch.encode(&image(2), encode));
            assert_eq!(first(&fits.join().unwrap().unwrap()), 1.0);
            let error = crate::Error::from(never.join().unwrap().unwrap_err());
            assert!(error.is_out_of_memory(), "{error:?}");
        });
    }
}
