//! What is simulated: who takes part, what goes wrong and how often. Every seed draws its own, so that some
//! worlds are quiet but for one kind of fault and some are mad.

use std::sync::Arc;
use std::time::Duration;

use jobs::Timing;
use jobs::manifest::{Manifest, Status};
use tokio::task::JoinSet;

use super::desk::Role;
use super::dice::Dice;
use super::network::Weather;
use super::process::{Fates, keep_running};
use super::record::Rules;
use super::request::Honours;
use super::tracking::Signature;
use super::worker::Habits;
use super::world::{Story, World};
use super::{older, people, worker};

/// All that can be set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Knobs {
    pub(super) n_jobs: usize,
    pub(super) n_workers: usize,
    /// So many of them never die.
    pub(super) n_immortal: usize,
    pub(super) n_importers: usize,
    pub(super) n_people: usize,
    pub(super) n_older: usize,
    /// Jobs that were over long before.
    pub(super) n_old_jobs: usize,
    pub(super) weather: Weather,
    pub(super) fates: Fates,
    pub(super) habits: Habits,
    pub(super) timing: Timing,
    /// By how much a monotonic clock is wrong at most, of one.
    pub(super) drift: f64,
    pub(super) rules: Rules,
    pub(super) honours: Honours,
    /// Longest time from one submission to the next, in seconds.
    pub(super) longest_break: f64,
    /// When everything begins to go well.
    pub(super) calm_at: Duration,
}

/// How long after that every job must have come to its end.
const PATIENCE: Duration = Duration::from_secs(6 * 3600);
/// How long after that a straggling request may arrive.
const AFTERMATH: Duration = Duration::from_secs(40 * 60);

impl Knobs {
    /// Nothing goes wrong; requests take what they take.
    pub(super) fn calm(dice: &mut Dice) -> Self {
        Self {
            n_jobs: dice.count(1..4) as usize,
            n_workers: dice.count(2..5) as usize,
            n_immortal: 0,
            n_importers: 1,
            n_people: 0,
            n_older: 0,
            n_old_jobs: 0,
            weather: Weather { p_slow: dice.float(0.0..0.3), slowest: 15.0, ..Weather::default() },
            fates: Fates::default(),
            habits: Habits {
                signature: *dice.pick(&[Signature::Attempt, Signature::Attempt, Signature::None]),
                slowest_frame: dice.float(5.0..90.0),
                p_checkpoint: dice.float(0.0..1.0),
                p_fail: 0.0,
                p_no_hope: 0.0,
                p_release: 0.0,
            },
            timing: Timing::default(),
            drift: 0.02,
            rules: Rules { is_fair: true, longest_orphanage: None },
            honours: Honours::All,
            longest_break: 240.0,
            calm_at: Duration::from_secs(20 * 60),
        }
    }

    /// Workers die while another one has nothing to do; the bucket answers well.
    pub(super) fn deaths(dice: &mut Dice) -> Self {
        let calm = Self::calm(dice);
        Self {
            n_jobs: 1,
            n_workers: 4,
            n_immortal: 1,
            fates: Fates {
                mean_seconds: dice.any_seconds(20.0..3000.0).as_secs_f64(),
                p_die_at_write: 0.6,
                last_deadly_write: dice.float(1.5..5.0),
                longest_downtime: dice.any_seconds(5.0..900.0).as_secs_f64(),
                ..Fates::default()
            },
            weather: Weather::default(),
            drift: 0.005,
            longest_break: 900.0,
            rules: Rules { is_fair: true, longest_orphanage: Some(Duration::from_secs(240)) },
            ..calm
        }
    }

    /// Everything goes wrong.
    pub(super) fn chaos(dice: &mut Dice) -> Self {
        let calm = Self::calm(dice);
        // Half of all faults are absent from any one world.
        let mut sometimes = |most: f64| if dice.chance(0.5) { dice.float(0.0..most) } else { 0.0 };
        let weather = Weather {
            p_lost: sometimes(0.1),
            p_unanswered: sometimes(0.15),
            p_late: sometimes(0.15),
            p_echo: sometimes(0.15),
            p_ghost: sometimes(0.1),
            p_slow: sometimes(0.3),
            slowest: 120.0,
            latest: 1800.0,
        };
        let habits = Habits {
            p_fail: sometimes(0.1),
            p_no_hope: sometimes(0.03),
            p_release: sometimes(0.1),
            ..calm.habits
        };
        let p_pause_before_results = sometimes(0.5);
        let fates = Fates {
            mean_seconds: dice.float(60.0..1200.0),
            p_pause: dice.unit(),
            p_die_at_write: dice.float(0.0..0.5),
            last_deadly_write: 30.0,
            p_pause_before_results,
            longest_downtime: 300.0,
            longest_pause: 1200.0,
        };
        let n_people = dice.count(0..3) as usize;
        let n_importers = dice.count(1..3) as usize;
        let rules = Rules::default();
        let calm_at = Duration::from_secs(40 * 60);
        let (n_jobs, n_workers) = (dice.count(1..6) as usize, dice.count(2..6) as usize);
        Self { n_jobs, n_workers, weather, habits, fates, n_people, n_importers, rules, calm_at, ..calm }
    }

    /// Owners stop when they have proved their ownership, and wake when others have done their work.
    pub(super) fn zombies(dice: &mut Dice) -> Self {
        let chaos = Self::chaos(dice);
        let weather = Weather { p_late: 0.1, p_unanswered: 0.1, latest: 1800.0, ..Weather::default() };
        let habits = Habits { slowest_frame: 5.0, ..Self::calm(dice).habits };
        let fates = Fates { p_pause_before_results: 0.5, longest_pause: 1800.0, ..chaos.fates };
        Self { n_jobs: 4, n_workers: 4, weather, habits, fates, n_people: 0, ..chaos }
    }

    /// A program of another make takes jobs too.
    pub(super) fn mixed(dice: &mut Dice) -> Self {
        let calm = Self::calm(dice);
        let fates =
            Fates { mean_seconds: dice.float(600.0..7200.0), longest_downtime: 600.0, ..Fates::default() };
        let (n_older, n_workers) = (1, dice.count(1..3) as usize);
        Self { n_older, n_workers, fates, calm_at: Duration::from_secs(2 * 3600), ..calm }
    }

    /// Many jobs are over, and some of them are wanted again.
    pub(super) fn crowded(dice: &mut Dice) -> Self {
        Self { n_old_jobs: 70, n_people: 1, n_workers: 2, ..Self::chaos(dice) }
    }
}

/// Simulates one world.
pub(super) fn simulate(seed: u64, draw: fn(&mut Dice) -> Knobs) -> Story {
    let dice = Dice::new(seed);
    let knobs = draw(&mut dice.fork("knobs"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(live(dice, knobs))
}

async fn live(dice: Dice, knobs: Knobs) -> Story {
    let world = World::new(dice.clone(), knobs);
    let plan: Vec<Manifest> = (0..knobs.n_jobs as u64)
        .map(|number| people::plan(number, dice.fork(&format!("job {number}"))))
        .collect();
    let mut ids: Vec<_> = plan.iter().map(|job| job.job_id.clone()).collect();
    for number in 0..knobs.n_old_jobs as u64 {
        let mut job = people::plan(1000 + number, dice.fork("old"));
        (job.status, job.rev, job.attempt) = (Status::Cancelled, 4, 1);
        ids.push(job.job_id.clone());
        world.place(job.job_id.register(), job.to_bytes());
    }
    let mut processes = JoinSet::new();
    populate(&world, &knobs, plan, ids, &mut processes);
    let end = knobs.calm_at + PATIENCE;
    while !world.is_settled() && world.now() < end {
        tokio::select! {
            biased;
            () = world.broken() => return world.close(),
            Some(Err(error)) = processes.join_next() => world.violated(format!("a process panics: {error}")),
            () = tokio::time::sleep(Duration::from_secs(30)) => {}
        }
    }
    // Whatever is still on its way arrives at what is left.
    processes.abort_all();
    tokio::time::sleep(AFTERMATH).await;
    world.close()
}

fn populate(
    world: &Arc<World>,
    knobs: &Knobs,
    plan: Vec<Manifest>,
    ids: Vec<jobs::JobId>,
    processes: &mut JoinSet<()>,
) {
    let timing = knobs.timing;
    let name = |what: &str, i: usize| format!("{what} {i}");
    for i in 0..knobs.n_workers {
        let program = move |desk| worker::work(desk, timing);
        let fates = if i < knobs.n_immortal { Fates::default() } else { knobs.fates };
        processes.spawn(keep_running(world.clone(), Role::Worker, name("worker", i), fates, program));
    }
    for i in 0..knobs.n_importers {
        processes.spawn(keep_running(
            world.clone(),
            Role::Importer,
            name("importer", i),
            knobs.fates,
            people::import,
        ));
    }
    for i in 0..knobs.n_older {
        processes.spawn(keep_running(world.clone(), Role::Older, name("older", i), knobs.fates, older::work));
    }
    for i in 0..knobs.n_people {
        let ids = ids.clone();
        let program = move |desk| people::meddle(desk, ids.clone());
        let run = keep_running(world.clone(), Role::Person, name("person", i), knobs.fates, program);
        let world = world.clone();
        processes.spawn(async move {
            run.await;
            world.left();
        });
    }
    let program = move |desk| people::submit(desk, plan.clone());
    processes.spawn(keep_running(world.clone(), Role::Submitter, name("submitter", 0), knobs.fates, program));
}
