//! The engine's errors as failures of a command: exit code and hint.

use client::failure::{Failure, Kind, Outcome};

/// Turns results of the engine into results of a command.
pub trait EngineResult<T> {
    /// The value, or a [`Failure`] with the exit code and the hint that fit the error.
    ///
    /// # Errors
    /// The engine's error.
    fn or_failure(self) -> Outcome<T>;
}

impl<T> EngineResult<T> for sam3::Result<T> {
    fn or_failure(self) -> Outcome<T> {
        self.map_err(engine_failure)
    }
}

/// Classifies an error of the engine: exit code, and a hint where a command helps.
pub fn engine_failure(error: sam3::Error) -> Failure {
    use sam3::Error as E;
    let kind = match &error {
        E::Model { .. } | E::Config { .. } | E::Tensors { .. } | E::Device { .. } => Kind::Config,
        E::Prompt { .. } | E::SavedSession { .. } => Kind::Failed,
        E::Frame { .. } | E::Tensor(_) => Kind::Job,
    };
    let is_model = matches!(&error, E::Model { .. } | E::Config { .. } | E::Tensors { .. });
    let is_out_of_memory = error.is_out_of_memory();
    let failure = Failure::new(kind, error);
    if is_model {
        failure.hint("`courtside model check DIR` verifies a model folder")
    } else if is_out_of_memory {
        failure.context(
            "the device is out of memory: end other programs that use it, use fewer prompts, or a larger device",
        )
    } else {
        failure
    }
}

/// Whether a saved run cannot be resumed: its checkpoint is damaged, or belongs to another run.
pub fn is_about_checkpoint(failure: &Failure) -> bool {
    matches!(failure.cause(), Some(sam3::Error::SavedSession { .. }))
        || failure.cause::<crate::track::UnusableCheckpoint>().is_some()
}

/// Whether the detections on disk are not those that the run wrote: the run resumes from its checkpoint.
pub fn is_about_detections(failure: &Failure) -> bool {
    failure.cause::<crate::track::DamagedSpool>().is_some()
}
