//! `courtside logs`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jobs::JobId;
use jobs::manifest::Manifest;
use serde::Serialize;
use store::Library;

use client::estimate::remembered_price;
use client::failure::Outcome;
use client::job_actions::explain_missing;
use client::logs::{Logs, logs};
use client::overview::{JobView, Origins, State, view};
use client::stop::Stop;
use client::terminal::{notify, printable};

use super::Context;

/// Show the history of a job and the logs of its workers
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Job: its ID or the beginning of it, @latest, or the name of its video
    #[arg(value_name = "JOB")]
    job_id: String,
    /// Keep printing what is new, with frames, speed and cost so far, until the job ends or Ctrl-C
    ///
    /// The cost is that of the current attempt, at the price of its rented machine, or that of the last
    /// `courtside submit FILE --dry-run --price-per-hour N`.
    /// With --json, each line is an object.
    #[arg(long)]
    follow: bool,
    /// Time between updates
    #[arg(long, value_name = "SECONDS", default_value_t = 10, requires = "follow", value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
}

impl Args {
    pub(super) fn run(self, json: bool) -> Outcome<()> {
        let context = Context::new(json)?;
        let library = context.library_to_read()?;
        let id = context.job(&library, &self.job_id)?;
        if !self.follow {
            let logs = context.block_on(logs(&context.client, &id));
            let row = library.job(id.as_str())?;
            let (_, logs) = logs.map_err(|failure| explain_missing(failure, row.as_ref()))?;
            return context.print(&LogText(logs));
        }
        let price = remembered_price(&library)?;
        let stop = Stop::on_signal("stopping")?;
        context.block_on(follow(&context, &library, &id, price, Duration::from_secs(self.interval), &stop))
    }
}

/// Prints the lines that are new since the last update, and how far the job is.
async fn follow(
    context: &Context,
    library: &Library,
    id: &JobId,
    price: Option<f64>,
    interval: Duration,
    stop: &Stop,
) -> Outcome<()> {
    let mut shown = Shown::default();
    loop {
        let (manifest, logs) = logs(&context.client, id).await?;
        let origin = Origins::read(&context.client, library)?.of(&manifest);
        let job = view(&manifest, origin, context.client.default_target(), context.client.env.utc());
        let new = shown.new_lines(&logs).into_iter().map(|line| Update::line(id, line));
        let progress = Progress::of(&manifest, &job, price, context);
        let is_ended = manifest.status.is_finished() || matches!(job.state, State::ReadyToImport { .. });
        for update in new.chain(progress) {
            if !context.print_line_while_open(&update)? {
                return Ok(());
            }
        }
        if is_ended {
            notify(format!("job {id} is {}", manifest.status));
            return Ok(());
        }
        tokio::select! {
            () = stop.wait() => return Ok(()),
            () = tokio::time::sleep(interval) => {}
        }
    }
}

/// How many events and log lines were printed.
#[derive(Default)]
struct Shown {
    last_event: Option<String>,
    lines: BTreeMap<String, usize>,
}

impl Shown {
    fn new_lines(&mut self, logs: &Logs) -> Vec<String> {
        // A manifest keeps the latest events only.
        let known =
            self.last_event.as_ref().and_then(|last| logs.events.iter().rposition(|event| event == last));
        let mut new: Vec<String> = logs.events.iter().skip(known.map_or(0, |at| at + 1)).cloned().collect();
        self.last_event = logs.events.last().cloned().or(self.last_event.take());
        for attempt in &logs.attempts {
            let n_shown = self.lines.entry(attempt.key.clone()).or_default();
            new.extend(attempt.lines.iter().skip(*n_shown).cloned());
            *n_shown = attempt.lines.len();
        }
        new
    }
}

/// One line of `--follow`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Update {
    Line { job_id: String, line: String },
    Progress(Progress),
}

impl Update {
    fn line(id: &JobId, line: String) -> Self {
        Self::Line { job_id: id.to_string(), line }
    }
}

/// How far a worker is with the job.
#[derive(Debug, Serialize)]
struct Progress {
    job_id: String,
    frames: u64,
    total: Option<u64>,
    fps: Option<f64>,
    device: Option<String>,
    seconds: Option<f64>,
    cost_dollars: Option<f64>,
    #[serde(skip)]
    state: State,
}

impl Progress {
    /// `None` while no worker tracks the job.
    fn of(manifest: &Manifest, job: &JobView, price: Option<f64>, context: &Context) -> Option<Update> {
        let State::Tracking { current, total, fps } = job.state else { return None };
        let now = context.client.env.utc();
        let price = job.machine.as_ref().and_then(|machine| machine.price_per_hour).or(price);
        let seconds = manifest.started_at.as_ref().map(|at| (now - at.moment()).as_seconds_f64().max(0.0));
        Some(Update::Progress(Self {
            job_id: job.job_id.clone(),
            frames: current,
            total,
            fps,
            device: job.device.clone(),
            seconds,
            cost_dollars: seconds.zip(price).map(|(seconds, price)| seconds / 3600.0 * price),
            state: job.state.clone(),
        }))
    }
}

impl fmt::Display for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { line, .. } => writeln!(f, "{line}"),
            Self::Progress(progress) => {
                write!(f, "{}", progress.state)?;
                if let Some(cost) = progress.cost_dollars {
                    write!(f, ", ${cost:.2} so far")?;
                }
                match &progress.device {
                    Some(device) => writeln!(f, ", on {}", printable(device)),
                    None => writeln!(f),
                }
            }
        }
    }
}

/// The logs as text.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct LogText(Logs);

impl fmt::Display for LogText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "job {}", self.0.job_id)?;
        self.0.events.iter().try_for_each(|event| writeln!(f, "  {event}"))?;
        for attempt in &self.0.attempts {
            writeln!(f, "{}", attempt.key)?;
            attempt.lines.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        }
        Ok(())
    }
}
