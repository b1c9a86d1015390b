//! The model: complete on this machine, or downloadable.

use std::sync::mpsc;
use std::time::Duration;

use sam3::Model;

use super::{Check, Level, OnCheck};
use client::failure::{Failure, Kind};
use worker::failure::engine_failure;
use worker::model_folder;

const NAME: &str = "model";
const HINT: &str = "only tracking on this machine needs a model; to use a model folder, set CLOUD_MODEL_PATH";
/// Timeout of the request to the Hugging Face Hub.
const TIMEOUT: Duration = Duration::from_secs(20);

pub(super) fn check(on_check: OnCheck<'_>) {
    on_check(match model_folder::local(None) {
        // CLOUD_MODEL_PATH names a folder that does not exist.
        Err(failure) => Check::fail(NAME, &failure),
        Ok(Some(folder)) => match Model::check(&folder) {
            Ok(_) => Check::ok(NAME, format!("{} is complete", folder.display())),
            Err(error) => Check::fail(NAME, &engine_failure(error)),
        },
        Ok(None) => check_download(),
    });
}

/// Checks whether the model could be downloaded. If not, that is a warning: submitting, importing and serving work
/// without a model.
fn check_download() -> Check {
    let token = if model_folder::has_token() { "HF_TOKEN is set" } else { "HF_TOKEN is not set" };
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(model_folder::check_access()));
    let access = receiver
        .recv_timeout(TIMEOUT)
        .unwrap_or_else(|_| Err(Failure::msg(Kind::Remote, "the Hugging Face Hub does not respond")));
    match access {
        Ok(()) => Check::ok(
            NAME,
            format!("not on this machine; will be downloaded when needed ({token}, access granted)"),
        ),
        Err(failure) => {
            let failure = failure.context(format!("not on this machine, and cannot be downloaded ({token})"));
            let failure = if failure.hint_text().is_some() { failure } else { failure.hint(HINT) };
            Check { status: Level::Warn, ..Check::fail(NAME, &failure) }
        }
    }
}
