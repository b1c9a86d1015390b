//! `courtside status`.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use jobs::JobId;
use jobs::machines::MachineNotice;
use jobs::manifest::Timestamp;
use serde::Serialize;
use store::Library;

use super::Context;
use client::failure::{Failure, Outcome};
use client::machine_notices::{describe, machine_notices};
use client::overview::{JobView, Overview, State, Watcher};
use client::progress::clock;
use client::stop::Stop;
use client::terminal::{Wrapped, notify, printable, width};

/// Time between two looks at rented machines, with --watch.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Show the state of all jobs
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Show only this job: its ID or the beginning of it, @latest, or the name of its video
    #[arg(value_name = "JOB")]
    job_id: Option<String>,
    /// Keep updating until no job is open, or until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// Time between updates
    #[arg(long, value_name = "SECONDS", default_value_t = 5, requires = "watch", value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
}

impl Args {
    pub(super) fn run(self, json: bool) -> Outcome<()> {
        let context = Context::new(json)?;
        let mut library = context.library_to_read()?;
        let path = library.path().to_owned();
        if path.exists() && !json && !context.is_library_above() {
            notify(format!("library: {}", path.display()));
        }
        let requested = self.job_id.as_deref().map(|name| context.job(&library, name)).transpose()?;
        let stop = if self.watch { Stop::on_signal("stopping")? } else { Stop::default() };
        context.block_on(async {
            let mut watcher = Watcher::new(&context.client)?;
            let (mut notices, mut looked_at) = (Vec::new(), None::<Instant>);
            loop {
                if looked_at.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
                    super::machines::reap_overdue(&context.client).await;
                    notices = machine_notices(&context.client).await;
                    looked_at = Some(Instant::now());
                }
                let overview = poll(&mut watcher, &mut library, requested.as_ref()).await?;
                let at = Timestamp::of(context.client.env.utc());
                let machine_notices = &notices;
                let report = Report {
                    library: &path,
                    at,
                    overview: &overview,
                    machine_notices,
                    has_clock: self.watch,
                };
                if !self.watch {
                    context.print(&report)?;
                    return fail_with_last(overview.bucket_errors);
                }
                if !show_update(&context, &report)? {
                    return Ok(());
                }
                tokio::select! {
                    () = stop.wait() => return Ok(()),
                    () = tokio::time::sleep(Duration::from_secs(self.interval)) => {}
                }
            }
        })
    }
}

/// Reads the state of all jobs, or of the requested one.
async fn poll(
    watcher: &mut Watcher<'_>,
    library: &mut Library,
    requested: Option<&JobId>,
) -> Outcome<Overview> {
    let mut overview = watcher.poll(library).await?;
    if let Some(id) = requested {
        overview.jobs.retain(|job| job.job_id == id.as_str());
        if overview.jobs.is_empty() && overview.bucket_errors.is_empty() {
            overview.jobs.push(watcher.unlisted(library, id).await?);
        }
    }
    Ok(overview)
}

/// Shows an update of `--watch`. Returns whether there may be another one.
fn show_update(context: &Context, report: &Report<'_>) -> Outcome<bool> {
    let overview = report.overview;
    context.clear_screen();
    let is_read = context.print_line_while_open(report)?;
    overview.bucket_errors.iter().for_each(notify);
    let is_over = overview.bucket_errors.is_empty() && !overview.jobs.iter().any(is_open);
    if is_read && is_over {
        notify(end_of_watching(overview));
    }
    Ok(is_read && !is_over)
}

/// Shows all failures but the last, which determines the exit code.
fn fail_with_last(mut failures: Vec<Failure>) -> Outcome<()> {
    let last = failures.pop();
    failures.iter().for_each(notify);
    last.map_or(Ok(()), Err)
}

/// Whether a worker, or an upload, can still change a job.
fn is_open(job: &JobView) -> bool {
    !matches!(
        job.state,
        State::ReadyToImport { .. } | State::Imported { .. } | State::Failed | State::Cancelled
    )
}

fn end_of_watching(overview: &Overview) -> &'static str {
    match overview.jobs.iter().any(|job| matches!(job.state, State::ReadyToImport { .. })) {
        true => "no job is open: nothing more to watch. Run `courtside import --all` to import the results",
        false => "no job is open: nothing more to watch",
    }
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    library: &'a Path,
    at: Timestamp,
    #[serde(flatten)]
    overview: &'a Overview,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    machine_notices: &'a [MachineNotice],
    #[serde(skip)]
    has_clock: bool,
}

/// Width of a row before its progress.
const PROGRESS_COLUMN: usize = 54;
/// Blanks before what belongs to the row above.
const INDENT: usize = 4;

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.has_clock {
            let now = self.at.moment();
            writeln!(
                f,
                "{:02}:{:02}:{:02} UTC, library {}",
                now.hour(),
                now.minute(),
                now.second(),
                self.library.display()
            )?;
        }
        writeln!(f, "{:<36} {:>5} {:<10} PROGRESS", "JOB_ID", "VIDEO", "STATUS")?;
        self.overview.jobs.iter().try_for_each(|job| write_job(f, job))?;
        for unreadable in &self.overview.unreadable {
            write!(f, "{}", Wrapped::new(&printable(&format!("skipped {unreadable}")), 0))?;
        }
        for (text, hint) in self.machine_notices.iter().map(describe) {
            write!(f, "{}", Wrapped::new(&format!("WARNING: {text}; {hint}"), 0))?;
        }
        Ok(())
    }
}

/// The row of a job, and what else there is to say: the name of its video, what does not fit into the row, how long it
/// took, a command if the user has to act, and warnings. On a terminal, these are lines below the row; otherwise, all of it
/// is one line.
fn write_job(f: &mut fmt::Formatter<'_>, job: &JobView) -> fmt::Result {
    let progress = printable(&progress(job));
    let (short, rest) = fitting(&progress, width().map(|width| width.saturating_sub(PROGRESS_COLUMN)));
    let video = job.video_id.map_or("-".to_owned(), |id| id.to_string());
    write!(f, "{:<36} {video:>5} {:<10} {short}", job.job_id, job.status)?;
    let warnings = job.warnings.iter().map(|warning| Some(format!("warning: {}", printable(warning))));
    let name = job.video.as_deref().filter(|_| job.other_library.is_none()).map(printable);
    let details = [Some(rest.to_owned()), next_step(job), name, speed(job)].into_iter().chain(warnings);
    let details = details.flatten().filter(|detail| !detail.is_empty());
    if width().is_none() {
        return writeln!(f, "{}", details.map(|detail| format!("; {detail}")).collect::<String>());
    }
    writeln!(f)?;
    for detail in details {
        write!(f, "{}", Wrapped::new(&detail, INDENT))?;
    }
    Ok(())
}

/// How long a finished job took, or what a job is tracked on.
fn speed(job: &JobView) -> Option<String> {
    let Some(seconds) = job.duration_seconds else {
        return job.device.as_ref().map(|device| format!("on {}", printable(device)));
    };
    let fps = job.average_fps.map(|fps| format!(", {fps:.1} fps")).unwrap_or_default();
    let machine = job.machine.as_ref().map(|machine| printable(&machine.provider));
    let cost = job.machine.as_ref().and_then(|machine| machine.cost_dollars);
    let cost = cost.zip(machine).map(|(cost, name)| format!(", ${cost:.2} at {name}")).unwrap_or_default();
    Some(format!("took {}{fps}{cost}", clock(Duration::from_secs_f64(seconds.min(1e9)))))
}

/// Splits a text with commas and semicolons into what fits into `width` characters, and the rest.
fn fitting(text: &str, width: Option<usize>) -> (&str, &str) {
    let Some(width) = width.filter(|width| text.chars().count() > *width) else { return (text, "") };
    let ends = text.match_indices([',', ';', ':']).map(|(at, _)| at);
    let at = ends.take_while(|at| text[..*at].chars().count() <= width).last().unwrap_or(0);
    (&text[..at], text[at..].trim_start_matches([',', ';', ':', ' ']))
}

/// The progress column: whose job it is if it is another library's, and what it is doing.
fn progress(job: &JobView) -> String {
    let Some(library) = &job.other_library else { return action(job) };
    let video = job.video.as_deref().unwrap_or("a video");
    let owner = library.host.as_deref().unwrap_or("another library");
    format!("{video} of {owner}: {}", job.state)
}

/// What a job is doing.
fn action(job: &JobView) -> String {
    let reason = job.error.as_deref().unwrap_or("no reason given");
    match &job.state {
        State::Waiting { .. } if job.error.is_some() => {
            format!("{}; last attempt failed: {reason}", job.state)
        }
        State::Failed => reason.to_owned(),
        state => state.to_string(),
    }
}

/// The command that continues a job which waits for the user.
fn next_step(job: &JobView) -> Option<String> {
    let id = &job.job_id;
    match &job.state {
        // Its owner decides.
        _ if job.other_library.is_some() => None,
        State::Uploading => Some(format!("resume with `courtside submit --resume {id}`")),
        State::ResultsCorrupt { .. } => Some(format!("run `courtside retry {id}`")),
        State::CancelOverridden { is_completed: true } => {
            Some(format!("import it anyway with `courtside import --job-id {id} --force`"))
        }
        State::ImportedElsewhere | State::RemovedFromBucket => {
            Some(format!("submit it again with `courtside retry {id}`"))
        }
        State::Failed => Some(format!("retry with `courtside retry {id}`")),
        _ => None,
    }
}
