//! `courtside launch`.

use std::io::IsTerminal;
use std::time::Duration;

use providers::{ImageCheck, Timeouts, check_image, machines_to_start};

use client::Client;
use client::estimate::cloud_time;
use client::failure::{Failure, Kind, Outcome};
use client::machine_notices::{describe, machine_notices};
use client::stop::Stop;
use client::terminal::{counted, notify, printable};
use store::Library;

use super::Context;
use super::values::{above_zero, long_duration};
use crate::rent::create::{Order, ROUNDING, price_rose, rent};
use crate::rent::follow::{Followed, follow};
use crate::rent::plan::{Offer, Plan, Wishes, frames, nothing_free, offers};
use crate::rent::{Jobs, Renter, provider_failure};

/// Rent machines at RunPod that track the jobs that wait in the bucket
///
/// Shows the cards that are free with their prices, the time and the dollars that the waiting jobs are expected to take, and
/// asks once. Each machine runs a worker from the image, gets the bucket's settings as secrets of your RunPod account, and
/// ends itself when there is nothing left to do, or after --max-runtime. The command follows the machines until they are
/// gone; after Ctrl-C they run on.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    /// Card to rent: a part of its name, such as "A100"; several are alternatives [default: an H100 or H200]
    #[arg(long, value_name = "NAME")]
    gpu: Vec<String>,
    /// Machines to rent [default: one, unless there are as many machines as jobs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=50))]
    count: Option<u8>,
    /// Highest price of a machine, in dollars per hour
    #[arg(long, value_name = "DOLLARS", value_parser = above_zero, allow_negative_numbers = true)]
    max_price: Option<f64>,
    /// End each machine after this long, such as 90m or 6h, whatever it does then
    #[arg(long, value_name = "TIME", default_value = "6h", value_parser = long_duration)]
    max_runtime: Duration,
    /// End each machine after it was idle this long
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = long_duration)]
    idle_exit: Duration,
    /// Image of the worker [default: COURTSIDE_IMAGE]
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// ID of the registry login in your RunPod account, for a private image [default: COURTSIDE_REGISTRY]
    #[arg(long, value_name = "ID")]
    registry: Option<String>,
    /// Frames tracked per second, for the estimate [default: as in the last cloud job, or published figures]
    #[arg(long, value_name = "FPS", value_parser = above_zero, allow_negative_numbers = true)]
    fps: Option<f64>,
    /// Only show what would be rented
    #[arg(long)]
    dry_run: bool,
    /// Rent without asking
    #[arg(long)]
    yes: bool,
    /// Do not follow the machines
    #[arg(long)]
    detach: bool,
    /// Seconds between two looks at the machines
    #[arg(long, value_name = "SECONDS", default_value_t = 15, hide = true)]
    interval: u64,
}

impl Args {
    /// What `courtside submit FILE --launch` does.
    pub(super) fn after_submit(yes: bool) -> Self {
        Self {
            gpu: Vec::new(),
            count: None,
            max_price: None,
            max_runtime: Duration::from_secs(6 * 3600),
            idle_exit: Duration::from_secs(300),
            image: None,
            registry: None,
            fps: None,
            dry_run: false,
            yes,
            detach: false,
            interval: 15,
        }
    }

    pub(super) fn run(self, json: bool) -> Outcome<()> {
        let context = Context::new(json)?;
        let library = context.library_to_read()?;
        self.run_in(&context, &library, None)
    }

    /// Rents, and follows. Without a `stop`, listens for Ctrl-C itself, after the question.
    pub(super) fn run_in(&self, context: &Context, library: &Library, stop: Option<Stop>) -> Outcome<()> {
        let image = self.image()?;
        let renter = Renter::new(&context.client)?;
        renter.check_reachable()?;
        let plan = context.block_on(self.plan(&context.client, &renter, library, &image))?;
        if self.dry_run {
            return context.print(&plan);
        }
        if !context.json {
            context.print(&plan)?;
        }
        if plan.n_machines == 0 {
            let machines = counted(plan.n_existing, "machine");
            let message =
                format!("already rented: {machines}, for {}", counted(plan.n_waiting, "waiting job"));
            return Err(Failure::msg(Kind::Failed, message).hint(
                "`courtside launch --count 1` rents another one, and `courtside machines` lists them",
            ));
        }
        let offer = plan.first()?.clone();
        self.ask(&offer, plan.n_machines)?;
        let stop = stop.map_or_else(|| Stop::on_signal("stopping"), Ok)?;
        let offer = context.block_on(self.still_offered(&renter, offer))?;
        let order = Order {
            plan: &plan,
            offer: &offer,
            insists: self.count.is_some(),
            interval: Duration::from_secs(self.interval),
            stop: &stop,
        };
        let rented = context.block_on(rent(&context.client, &renter, &order))?;
        let ids: Vec<String> = rented.machines.iter().map(|machine| machine.id.clone()).collect();
        context.print_line_while_open(&rented)?;
        if ids.is_empty() {
            return Err(Failure::msg(Kind::Failed, "nothing was rented")
                .hint("`courtside machines` lists the machines of this bucket"));
        }
        if self.detach {
            return rented.result();
        }
        let price = offer.price_per_hour;
        let followed = follow(&context.client, &renter, &ids, price, order.interval, &stop, |update| {
            context.print_line_while_open(update)
        });
        match context.block_on(followed)? {
            Followed::Gone => context.block_on(report_end(&context.client, &ids))?,
            Followed::Unread => notify("no longer following; the machines run on until their work is done"),
        }
        rented.result()
    }

    /// The id of the login with which RunPod pulls the image, if it is private.
    fn registry(&self) -> Option<String> {
        let set = || std::env::var("COURTSIDE_REGISTRY").ok();
        self.registry.clone().or_else(set).filter(|id| !id.is_empty())
    }

    fn image(&self) -> Outcome<String> {
        let set = || std::env::var("COURTSIDE_IMAGE").ok().filter(|image| !image.is_empty());
        self.image.clone().or_else(set).ok_or_else(|| {
            Failure::msg(Kind::Config, "no image is named for the machines").hint(
                "name the image that you pushed with --image or COURTSIDE_IMAGE, such as ghcr.io/me/courtside-worker:1",
            )
        })
    }

    /// Looks at the jobs, the machines, the image and the cards. Ends machines that are overdue.
    async fn plan(&self, client: &Client, renter: &Renter, library: &Library, image: &str) -> Outcome<Plan> {
        let (machines, n_others) = renter.fleet.machines_and_others().await.map_err(provider_failure)?;
        let existing = if self.dry_run { machines } else { renter.reap(machines).await };
        let jobs = Jobs::read(client).await?;
        let waiting = jobs.waiting();
        if waiting.is_empty() {
            let message = format!("no job waits in the bucket {}", renter.bucket.bucket);
            return Err(
                Failure::msg(Kind::Failed, message).hint("submit a video with `courtside submit FILE`")
            );
        }
        let registry = self.registry();
        check(image, registry.is_some()).await?;
        let n_existing = existing.len();
        let gpus = renter.fleet.api().gpus().await.map_err(provider_failure)?;
        let offers = offers(&gpus, &self.wishes());
        if !offers.iter().any(|offer| offer.is_chosen) && !self.dry_run {
            return Err(nothing_free(&gpus, &offers, &self.wishes()));
        }
        let (n_frames, n_unknown) = frames(&waiting);
        Ok(Plan {
            offers,
            image: image.to_owned(),
            registry,
            n_waiting: waiting.len(),
            n_existing,
            existing: existing.into_iter().map(|machine| machine.id).collect(),
            n_others,
            n_machines: machines_to_start(self.count.map(usize::from), waiting.len(), n_existing),
            n_frames,
            n_unknown,
            time: cloud_time(library, n_frames, self.fps)?,
            max_runtime_seconds: self.max_runtime.as_secs(),
            idle_exit_seconds: self.idle_exit.as_secs(),
        })
    }

    fn wishes(&self) -> Wishes {
        Wishes { gpus: self.gpu.clone(), max_price: self.max_price }
    }

    /// Asks once, on the terminal.
    fn ask(&self, offer: &Offer, n: usize) -> Outcome<()> {
        if self.yes {
            return Ok(());
        }
        let price = offer.price_per_hour;
        let refused = |message: &str| {
            Err(Failure::msg(Kind::Failed, message).hint(
                "`courtside launch --yes` rents without asking, and `--dry-run` only shows what it would",
            ))
        };
        if !std::io::stdin().is_terminal() {
            return refused("nothing is rented without asking, and there is no terminal to ask on");
        }
        notify(format!("rent {n} x {} for ${price:.2} per hour each? [y/N]", printable(&offer.gpu)));
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => refused("nothing was rented"),
        }
    }

    /// The same card at its present price, which may have risen since the question.
    async fn still_offered(&self, renter: &Renter, agreed: Offer) -> Outcome<Offer> {
        let gpus = renter.fleet.api().gpus().await.map_err(provider_failure)?;
        let offers = offers(&gpus, &self.wishes());
        let Some(offer) = offers.iter().find(|offer| offer.gpu == agreed.gpu && offer.is_chosen) else {
            return Err(nothing_free(&gpus, &offers, &self.wishes()));
        };
        if offer.price_per_hour > agreed.price_per_hour * ROUNDING {
            return Err(price_rose(agreed.price_per_hour, offer.price_per_hour));
        }
        Ok(offer.clone())
    }
}

/// Says that all machines are gone.
///
/// # Errors
/// If jobs still wait: then with what the machines left behind about that.
async fn report_end(client: &Client, ids: &[String]) -> Outcome<()> {
    let n_waiting = Jobs::read(client).await?.waiting().len();
    let notices = machine_notices(client).await;
    let own = notices.iter().filter(|notice| ids.contains(&notice.machine.id));
    let own: Vec<String> = own.map(|notice| describe(notice).0).collect();
    own.iter().for_each(|text| notify(format!("WARNING: {text}")));
    if n_waiting > 0 {
        let jobs = counted(n_waiting, "job");
        let message = format!("all machines are gone; still waiting: {jobs}");
        let hint = match own.is_empty() {
            true => "`courtside launch` rents again, with a longer --max-runtime if that has ended them",
            false => "correct what the warnings say, then run `courtside launch` again",
        };
        return Err(Failure::msg(Kind::Failed, message).hint(hint));
    }
    notify(
        "all machines are gone. Run `courtside status` for the jobs, and `courtside import --all` for the results",
    );
    Ok(())
}

/// Checks that the image can be pulled: without a login, unless RunPod has one for its registry.
async fn check(image: &str, has_login: bool) -> Outcome<()> {
    match check_image(image, Timeouts::default()).await {
        ImageCheck::Public => Ok(()),
        ImageCheck::NotPublic if has_login => Ok(()),
        ImageCheck::Invalid(why) => Err(Failure::msg(Kind::Config, why)
            .hint("name it as you pushed it, such as ghcr.io/me/courtside-worker:1")),
        ImageCheck::NotPublic => {
            let message = format!("the image {} does not exist, or is not public", printable(image));
            Err(Failure::msg(Kind::Config, message).hint(
                "check its name and tag; for a private image, store the login of its registry at \
                 https://console.runpod.io/user/settings and give its ID with --registry or COURTSIDE_REGISTRY",
            ))
        }
        ImageCheck::Unknown(why) => {
            notify(format!("warning: cannot check the image {}: {why}", printable(image)));
            Ok(())
        }
    }
}
