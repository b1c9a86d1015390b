//! The checkpoint that tracking needs: a whole one on this machine, or the right to download it.

use std::sync::mpsc;
use std::time::Duration;

use sam3::Model;

use super::{Check, OnCheck};
use client::failure::{Failure, Kind};
use worker::model_folder;

const NAME: &str = "checkpoint";
const NEEDED: &str = "tracking on this machine needs it, submitting, importing and serving do not; CLOUD_MODEL_PATH \
                      names a folder that holds it";
/// How long the hub may think about one small request.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn check(each: OnCheck<'_>) {
    each(match model_folder::local(None) {
        // A place that was named and is none: whoever named it means it.
        Err(failure) => Check::fail(NAME, &failure),
        Ok(Some(folder)) => match Model::check(&folder) {
            Ok(_) => Check::ok(NAME, format!("{}: every tensor is there", folder.display())),
            Err(error) => Check::fail(NAME, &worker::failure::engine_failure(error)),
        },
        Ok(None) => on_the_hub(),
    });
}

/// Whoever only submits needs no checkpoint: what is wrong here is no more than a warning.
fn on_the_hub() -> Check {
    let token = if model_folder::has_token() { "HF_TOKEN is set" } else { "HF_TOKEN is not set" };
    let (sender, answer) = mpsc::channel();
    std::thread::spawn(move || sender.send(model_folder::check_access()));
    let accessible = answer
        .recv_timeout(PATIENCE)
        .unwrap_or_else(|_| Err(Failure::msg(Kind::Remote, "the Hugging Face hub does not answer")));
    match accessible {
        Ok(()) => {
            Check::ok(NAME, format!("none here; it is downloaded at first use ({token}, access granted)"))
        }
        Err(failure) => {
            let failure = failure.context(format!("none here ({token})"));
            let failure = if failure.hint_text().is_some() { failure } else { failure.hint(NEEDED) };
            Check::fail(NAME, &failure).only_a_warning()
        }
    }
}
