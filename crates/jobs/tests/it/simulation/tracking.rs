//! Simulated tracking. Each frame's state follows from the previous one, so an attempt that resumes at the
//! wrong frame or mixes two runs produces other detections than an uninterrupted run.

use jobs::JobId;
use jobs::results::{Detection, Expected, ResultsHead, ResultsSummary, ResultsWriter, read_results};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::rng::{digest, mix};

/// What the results depend on in addition to the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signature {
    /// They contain the attempt, so no two are equal.
    Attempt,
    /// They depend on the machine only, so two attempts may produce equal results with different ones in
    /// between.
    Machine,
    /// Nothing: all attempts produce equal results.
    None,
}

/// A run over a video, which can be saved and resumed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) job_id: JobId,
    /// State after each tracked frame.
    states: Vec<u64>,
    /// The attempts so far: number and first frame.
    pub(super) chain: Vec<(u32, u64)>,
}

impl Run {
    pub(super) fn new(job_id: JobId) -> Self {
        Self { job_id, states: Vec::new(), chain: Vec::new() }
    }

    pub(super) fn next_frame(&self) -> u64 {
        self.states.len() as u64
    }

    /// Records that an attempt starts or resumes here.
    pub(super) fn begin(&mut self, attempt: u32) {
        self.chain.push((attempt, self.next_frame()));
    }

    pub(super) fn step(&mut self) {
        let before = self.states.last().copied().unwrap_or_else(|| digest(self.job_id.as_str().as_bytes()));
        self.states.push(mix(before));
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap()
    }

    pub(super) fn parse(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap()
    }

    /// Writes the results file.
    pub(super) fn results(
        &self,
        video_id: i64,
        signature: Signature,
        machine: &str,
    ) -> (Vec<u8>, ResultsSummary) {
        let mut extra = serde_json::Map::new();
        match signature {
            Signature::Attempt => drop(extra.insert("chain".to_owned(), json!(self.chain))),
            Signature::Machine => drop(extra.insert("machine".to_owned(), json!(machine))),
            Signature::None => {}
        }
        let job_id = self.job_id.to_string();
        let head = ResultsHead { job_id, video_id, extra, ..ResultsHead::default() };
        let mut writer = ResultsWriter::new(Vec::new(), &head).unwrap();
        self.detections().for_each(|detection| writer.push(&detection).unwrap());
        writer.finish().unwrap()
    }

    fn detections(&self) -> impl Iterator<Item = Detection> {
        self.states.iter().zip(0..).map(|(state, frame)| Detection {
            frame,
            track_id: state >> 32,
            bbox: [(state & 0xff) as f64, 0.0, 1.0, 1.0],
            confidence: 0.5,
        })
    }
}

/// Finds what is wrong with the results of a job with `n_frames` frames; `None` if they are correct.
pub(super) fn find_problem(
    bytes: &[u8],
    job_id: &JobId,
    n_frames: u64,
    attempt: Option<u32>,
) -> Option<String> {
    let mut found = Vec::new();
    let read = read_results(bytes, &Expected::of_job(job_id.as_str()), |batch| {
        found.extend_from_slice(batch);
        Ok::<_, std::convert::Infallible>(())
    });
    let head = match read {
        Ok((head, _)) => head,
        Err(error) => return Some(error.to_string()),
    };
    let mut uninterrupted = Run::new(job_id.clone());
    (0..n_frames).for_each(|_| uninterrupted.step());
    if found != uninterrupted.detections().collect::<Vec<_>>() {
        return Some("the detections differ from those of an uninterrupted run".to_owned());
    }
    let chain: Vec<(u32, u64)> = match head.extra.get("chain").cloned() {
        Some(chain) => serde_json::from_value(chain).unwrap(),
        None => return None,
    };
    let grows = chain.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
    let last = chain.last().map(|(attempt, _)| *attempt);
    (!grows || last != attempt)
        .then(|| format!("the attempts are {chain:?}, but the manifest names {attempt:?}"))
}
