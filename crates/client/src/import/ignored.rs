//! What a worker ignored that the job asked for. Older workers know neither prompts nor time limits.

use jobs::manifest::{Manifest, Parameters, frames_within};
use jobs::quote::quoted;

use super::results_file::ReadReport;

/// What the results show that the worker ignored, as messages for the user. `fps`: frames per second of the video.
pub(super) fn ignored_parameters(manifest: &Manifest, fps: Option<f64>, read: &ReadReport) -> Vec<String> {
    let Parameters { prompt, max_seconds, .. } = &manifest.parameters;
    let prompt = prompt.as_deref().and_then(|prompt| ignored_prompt(prompt, &read.prompts));
    let limit = max_seconds.zip(fps).and_then(|(seconds, fps)| ignored_limit(seconds, fps, read.last_frame?));
    prompt.into_iter().chain(limit).collect()
}

fn ignored_prompt(asked: &str, named: &[String]) -> Option<String> {
    let asked = quoted(asked);
    if named.is_empty() {
        return Some(format!(
            "the results name no prompt: an older worker may have ignored {asked} and tracked something else"
        ));
    }
    let is_named = named.iter().any(|name| quoted(name) == asked);
    (!is_named).then(|| format!("the results are of {}, not of {asked}", quoted(&named.join(", "))))
}

fn ignored_limit(seconds: f64, fps: f64, last_frame: u64) -> Option<String> {
    let end = frames_within(seconds, fps);
    (last_frame >= end).then(|| {
        format!("the results reach frame {last_frame}, but only the first {seconds} s ({end} frames) were to be tracked")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_that_exceed_the_limit_or_name_no_prompt_give_a_warning() {
        let report = |last_frame, prompts: &[&str]| ReadReport {
            last_frame,
            prompts: prompts.iter().map(|&prompt| prompt.to_owned()).collect(),
            ..ReadReport::default()
        };
        let json = |parameters: &str| {
            let text = format!(
                r#"{{"job_id":"j","video_id":1,"status":"completed","created_at":"2025-01-02T03:04:05Z",
                "parameters":{parameters}}}"#
            );
            Manifest::parse("jobs/j.json", text.as_bytes()).unwrap()
        };
        for (parameters, fps, read, want) in [
            (r#"{}"#, Some(10.0), report(Some(500), &[]), None),
            (r#"{"prompt":"ball"}"#, None, report(Some(5), &["ball"]), None),
            (r#"{"prompt":"ball"}"#, None, report(Some(5), &[]), Some("name no prompt")),
            (r#"{"prompt":"ball"}"#, None, report(Some(5), &["player"]), Some("not of ball")),
            (r#"{"max_seconds":2}"#, Some(10.0), report(Some(19), &[]), None),
            (r#"{"max_seconds":2}"#, Some(10.0), report(Some(20), &[]), Some("reach frame 20")),
            (r#"{"max_seconds":2}"#, Some(10.0), report(None, &[]), None),
        ] {
            let warnings = ignored_parameters(&json(parameters), fps, &read);
            match want {
                Some(want) => assert!(warnings.concat().contains(want), "{parameters}: {warnings:?}"),
                None => assert!(warnings.is_empty(), "{parameters}: {warnings:?}"),
            }
        }
    }
}
