//! What would be rented: the cards that are free, with price, and the time and the dollars that the waiting jobs take.

use std::fmt;
use std::time::Duration;

use jobs::manifest::Manifest;
use providers::{Availability, GpuType};
use serde::Serialize;

use client::estimate::CloudTime;
use client::failure::{Failure, Kind, Outcome};
use client::progress::clock;
use client::terminal::{counted, printable};

/// Memory in gigabytes that a card needs.
const MIN_MEMORY: u64 = 24;
/// Cards that are chosen if the user names none: the speed of these is known.
const KNOWN: [&str; 2] = ["H100", "H200"];
/// Cards that the kernels are not built for: older than compute capability 8.0.
const TOO_OLD: [&str; 6] = ["V100", "T4", "P100", "RTX 20", "Quadro RTX", "GTX"];
/// Most cards that are listed.
const MAX_LISTED: usize = 12;

/// What the user wants.
#[derive(Debug, Clone)]
pub(crate) struct Wishes {
    /// Parts of the names of cards; none for the known ones.
    pub(crate) gpus: Vec<String>,
    /// Dollars per hour and machine, at most.
    pub(crate) max_price: Option<f64>,
}

/// A card that can be rented.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Offer {
    /// Id of the card at the provider.
    pub(crate) gpu: String,
    pub(crate) memory_gb: u64,
    pub(crate) price_per_hour: f64,
    pub(crate) availability: Availability,
    /// Whether it fits what the user wants.
    pub(crate) is_chosen: bool,
}

/// What would be rented, for what.
#[derive(Debug, Serialize)]
pub(crate) struct Plan {
    /// Cards that are free, those that would be rented first.
    pub(crate) offers: Vec<Offer>,
    pub(crate) image: String,
    /// Id of the account's registry login, for a private image.
    pub(crate) registry: Option<String>,
    pub(crate) n_waiting: usize,
    /// Machines of this bucket that exist already.
    pub(crate) n_existing: usize,
    /// Their ids.
    #[serde(skip)]
    pub(crate) existing: Vec<String>,
    /// Other machines in the account, which are left alone.
    pub(crate) n_others: usize,
    pub(crate) n_machines: usize,
    pub(crate) n_frames: u64,
    /// Jobs whose number of frames is unknown.
    pub(crate) n_unknown: usize,
    pub(crate) time: CloudTime,
    pub(crate) max_runtime_seconds: u64,
    pub(crate) idle_exit_seconds: u64,
}

/// The frames of the waiting jobs that are known, and the number of jobs whose are not.
pub(crate) fn frames(waiting: &[&Manifest]) -> (u64, usize) {
    let known = waiting.iter().filter_map(|job| {
        let video = job.video.as_ref()?;
        Some(job.parameters.n_tracked_frames(video.n_frames?, video.fps.unwrap_or_default()))
    });
    let known: Vec<u64> = known.collect();
    (known.iter().sum(), waiting.len() - known.len())
}

/// The cards that are free and large enough: those that fit the wishes first, then by price.
pub(crate) fn offers(gpus: &[GpuType], wishes: &Wishes) -> Vec<Offer> {
    let is_usable = |gpu: &&GpuType| {
        gpu.manufacturer == "NVIDIA"
            && gpu.memory >= MIN_MEMORY
            && gpu.is_free()
            && !TOO_OLD.iter().any(|old| gpu.id.contains(old))
    };
    let offer = |gpu: &GpuType| {
        let price_per_hour = gpu.price()?;
        let is_affordable = wishes.max_price.is_none_or(|limit| price_per_hour <= limit);
        Some(Offer {
            gpu: gpu.id.clone(),
            memory_gb: gpu.memory,
            price_per_hour,
            availability: gpu.availability,
            is_chosen: is_affordable && is_named(gpu, wishes),
        })
    };
    let mut offers: Vec<Offer> = gpus.iter().filter(is_usable).filter_map(offer).collect();
    offers.sort_by(|a, b| b.is_chosen.cmp(&a.is_chosen).then(a.price_per_hour.total_cmp(&b.price_per_hour)));
    offers
}

fn is_named(gpu: &GpuType, wishes: &Wishes) -> bool {
    let contains = |part: &str| {
        let part = part.to_lowercase();
        gpu.id.to_lowercase().contains(&part) || gpu.name.to_lowercase().contains(&part)
    };
    match wishes.gpus.as_slice() {
        [] => KNOWN.into_iter().any(contains),
        named => named.iter().any(|part| contains(part)),
    }
}

/// Why nothing can be rented, of a catalogue without a card that fits.
pub(crate) fn nothing_free(gpus: &[GpuType], offers: &[Offer], wishes: &Wishes) -> Failure {
    let named: Vec<&GpuType> = gpus.iter().filter(|gpu| is_named(gpu, wishes)).collect();
    let cheapest =
        named.iter().filter(|gpu| gpu.is_free()).filter_map(|gpu| gpu.price()).min_by(f64::total_cmp);
    let names = if wishes.gpus.is_empty() { KNOWN.join(" or ") } else { wishes.gpus.join(" or ") };
    if let Some((price, limit)) = cheapest.zip(wishes.max_price).filter(|(price, limit)| price > limit) {
        let message =
            format!("the cheapest free {names} costs ${price:.2} per hour, more than --max-price {limit}");
        return Failure::msg(Kind::Failed, message)
            .hint(format!("allow it with `courtside launch --max-price {price}`"));
    }
    let message = match named.is_empty() {
        true => format!("RunPod has no card whose name contains {names}"),
        false => format!("no {names} is free at RunPod now"),
    };
    let hint = match offers.first() {
        Some(offer) => format!(
            "these are free: `courtside launch --gpu '{}'` or, with a list, `--dry-run --gpu nvidia`",
            offer.gpu
        ),
        None => "try again later; `courtside launch --dry-run --gpu nvidia` lists all cards that are free"
            .to_owned(),
    };
    Failure::msg(Kind::Failed, message).hint(hint)
}

impl Plan {
    /// The card that would be rented first.
    ///
    /// # Errors
    /// If none fits.
    pub(crate) fn first(&self) -> Outcome<&Offer> {
        let first = self.offers.first().filter(|offer| offer.is_chosen);
        first.ok_or_else(|| Failure::msg(Kind::Failed, "no card is free"))
    }

    /// Seconds that the machines run, each, from the shortest to the longest that is expected.
    fn seconds(&self) -> [f64; 2] {
        let parallel = self.n_machines.clamp(1, self.n_waiting.max(1)) as f64;
        self.time.tracking_seconds.map(|seconds| seconds / parallel + self.time.overhead_seconds)
    }

    /// Dollars, all machines together, with the idle time at the end.
    fn dollars(&self, price: f64) -> [f64; 2] {
        let extra = self.time.overhead_seconds + self.idle_exit_seconds as f64;
        self.time.tracking_seconds.map(|seconds| (seconds + extra * self.n_machines as f64) / 3600.0 * price)
    }

    /// Dollars at most: every machine until its `--max-runtime`.
    fn most(&self, price: f64) -> f64 {
        self.n_machines as f64 * self.max_runtime_seconds as f64 / 3600.0 * price
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {:<40} {:>6} {:>9} {:<6}", "CARD", "GB", "$/HOUR", "FREE")?;
        for offer in self.offers.iter().take(MAX_LISTED) {
            let mark = if offer.is_chosen { '*' } else { ' ' };
            let (gpu, free) = (printable(&offer.gpu), offer.availability.as_str());
            writeln!(f, "{mark} {gpu:<40} {:>6} {:>9.2} {free:<6}", offer.memory_gb, offer.price_per_hour)?;
        }
        let unknown = match self.n_unknown {
            0 => String::new(),
            n => format!(", and {n} of unknown length, which are not counted"),
        };
        let jobs = counted(self.n_waiting, "job");
        writeln!(f, "waiting: {jobs}, {}{unknown}", counted(self.n_frames, "frame"))?;
        writeln!(
            f,
            "machines of this bucket: {}; others in the account: {}",
            self.n_existing, self.n_others
        )?;
        let Some(offer) = self.offers.first().filter(|offer| offer.is_chosen) else { return Ok(()) };
        let price = offer.price_per_hour;
        writeln!(f, "to rent: {} x {} at ${price:.2} per hour", self.n_machines, printable(&offer.gpu))?;
        writeln!(f, "image: {}", printable(&self.image))?;
        let time = self.seconds().map(|s| clock(Duration::try_from_secs_f64(s).unwrap_or(Duration::MAX)));
        writeln!(f, "expected time: {}", range(&time))?;
        let dollars = self.dollars(price).map(|dollars| format!("${dollars:.2}"));
        let most = self.most(price);
        writeln!(f, "expected cost: {}; at most ${most:.2}, when --max-runtime ends it", range(&dollars))?;
        writeln!(f, "speed: {}", self.time.source)
    }
}

fn range(ends: &[String; 2]) -> String {
    let [low, high] = ends;
    if low == high { low.clone() } else { format!("{low} to {high}") }
}
