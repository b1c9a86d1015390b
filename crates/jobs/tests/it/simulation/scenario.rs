//! What is simulated: who takes part, what fails, and how often. Every seed draws its own scenario, so some
//! have just one kind of fault and others have all of them.

use std::sync::Arc;
use std::time::Duration;

use jobs::Timing;
use jobs::manifest::{Manifest, Status};
use tokio::task::JoinSet;

use super::job_record::Rules;
use super::network::NetworkFaults;
use super::process::{ProcessFaults, run_with_restarts};
use super::process_context::Role;
use super::request::ConditionSupport;
use super::rng::Rng;
use super::tracking::Signature;
use super::worker::WorkerBehaviour;
use super::world::{Report, World};
use super::{clients, legacy_worker, worker};

/// The parameters of a simulation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scenario {
    pub(super) n_jobs: usize,
    pub(super) n_workers: usize,
    /// How many of the workers never crash.
    pub(super) n_crash_free_workers: usize,
    pub(super) n_importers: usize,
    pub(super) n_users: usize,
    pub(super) n_legacy_workers: usize,
    /// Number of jobs that were finished before the simulation starts.
    pub(super) n_old_jobs: usize,
    pub(super) network: NetworkFaults,
    pub(super) process_faults: ProcessFaults,
    pub(super) behaviour: WorkerBehaviour,
    pub(super) timing: Timing,
    /// Largest relative error of the speed of a monotonic clock.
    pub(super) drift: f64,
    pub(super) rules: Rules,
    pub(super) conditions: ConditionSupport,
    /// Longest time between two submissions, in seconds.
    pub(super) max_submit_interval: f64,
    /// When the last fault is injected.
    pub(super) faults_end_at: Duration,
}

/// How long after the last fault every job must be finished.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(6 * 3600);
/// How long the simulation then continues, so that late requests arrive.
const DRAIN_TIME: Duration = Duration::from_secs(40 * 60);

impl Scenario {
    /// No faults; some requests are slow.
    pub(super) fn fault_free(rng: &mut Rng) -> Self {
        Self {
            n_jobs: rng.count(1..4) as usize,
            n_workers: rng.count(2..5) as usize,
            n_crash_free_workers: 0,
            n_importers: 1,
            n_users: 0,
            n_legacy_workers: 0,
            n_old_jobs: 0,
            network: NetworkFaults { p_slow: rng.float(0.0..0.3), slowest: 15.0, ..NetworkFaults::default() },
            process_faults: ProcessFaults::default(),
            behaviour: WorkerBehaviour {
                signature: *rng.pick(&[Signature::Attempt, Signature::Attempt, Signature::None]),
                slowest_frame: rng.float(5.0..90.0),
                p_checkpoint: rng.float(0.0..1.0),
                p_fail: 0.0,
                p_fatal: 0.0,
                p_release: 0.0,
            },
            timing: Timing::default(),
            drift: 0.02,
            rules: Rules { is_fair: true, max_takeover_delay: None },
            conditions: ConditionSupport::All,
            max_submit_interval: 240.0,
            faults_end_at: Duration::from_secs(20 * 60),
        }
    }

    /// Workers crash while another one is idle; the network has no faults.
    pub(super) fn crashes(rng: &mut Rng) -> Self {
        let fault_free = Self::fault_free(rng);
        Self {
            n_jobs: 1,
            n_workers: 4,
            n_crash_free_workers: 1,
            process_faults: ProcessFaults {
                mean_seconds: rng.log_uniform_seconds(20.0..3000.0).as_secs_f64(),
                p_crash_at_write: 0.6,
                latest_crash_write: rng.float(1.5..5.0),
                longest_downtime: rng.log_uniform_seconds(5.0..900.0).as_secs_f64(),
                ..ProcessFaults::default()
            },
            network: NetworkFaults::default(),
            drift: 0.005,
            max_submit_interval: 900.0,
            rules: Rules { is_fair: true, max_takeover_delay: Some(Duration::from_secs(240)) },
            ..fault_free
        }
    }

    /// Faults of all kinds.
    pub(super) fn chaos(rng: &mut Rng) -> Self {
        let fault_free = Self::fault_free(rng);
        // Each kind of fault is absent from half of the runs.
        let mut sometimes = |most: f64| if rng.chance(0.5) { rng.float(0.0..most) } else { 0.0 };
        let network = NetworkFaults {
            p_lost: sometimes(0.1),
            p_unanswered: sometimes(0.15),
            p_late: sometimes(0.15),
            p_client_retry: sometimes(0.15),
            p_duplicate: sometimes(0.1),
            p_slow: sometimes(0.3),
            slowest: 120.0,
            latest: 1800.0,
        };
        let behaviour = WorkerBehaviour {
            p_fail: sometimes(0.1),
            p_fatal: sometimes(0.03),
            p_release: sometimes(0.1),
            ..fault_free.behaviour
        };
        let p_pause_before_results = sometimes(0.5);
        let process_faults = ProcessFaults {
            mean_seconds: rng.float(60.0..1200.0),
            p_pause: rng.unit(),
            p_crash_at_write: rng.float(0.0..0.5),
            latest_crash_write: 30.0,
            p_pause_before_results,
            longest_downtime: 300.0,
            longest_pause: 1200.0,
        };
        let n_users = rng.count(0..3) as usize;
        let n_importers = rng.count(1..3) as usize;
        let rules = Rules::default();
        let faults_end_at = Duration::from_secs(40 * 60);
        let (n_jobs, n_workers) = (rng.count(1..6) as usize, rng.count(2..6) as usize);
        Self {
            n_jobs,
            n_workers,
            network,
            behaviour,
            process_faults,
            n_users,
            n_importers,
            rules,
            faults_end_at,
            ..fault_free
        }
    }

    /// Owners pause after confirming their ownership, and resume when others have taken over.
    pub(super) fn stale_owners(rng: &mut Rng) -> Self {
        let chaos = Self::chaos(rng);
        let network =
            NetworkFaults { p_late: 0.1, p_unanswered: 0.1, latest: 1800.0, ..NetworkFaults::default() };
        let behaviour = WorkerBehaviour { slowest_frame: 5.0, ..Self::fault_free(rng).behaviour };
        let process_faults =
            ProcessFaults { p_pause_before_results: 0.5, longest_pause: 1800.0, ..chaos.process_faults };
        Self { n_jobs: 4, n_workers: 4, network, behaviour, process_faults, n_users: 0, ..chaos }
    }

    /// A legacy worker takes jobs too.
    pub(super) fn with_legacy_worker(rng: &mut Rng) -> Self {
        let fault_free = Self::fault_free(rng);
        let process_faults = ProcessFaults {
            mean_seconds: rng.float(600.0..7200.0),
            longest_downtime: 600.0,
            ..ProcessFaults::default()
        };
        let (n_legacy_workers, n_workers) = (1, rng.count(1..3) as usize);
        Self {
            n_legacy_workers,
            n_workers,
            process_faults,
            faults_end_at: Duration::from_secs(2 * 3600),
            ..fault_free
        }
    }

    /// Many jobs are finished, and some of them are retried.
    pub(super) fn many_finished_jobs(rng: &mut Rng) -> Self {
        Self { n_old_jobs: 70, n_users: 1, n_workers: 2, ..Self::chaos(rng) }
    }
}

/// Runs one simulation.
pub(super) fn simulate(seed: u64, draw: fn(&mut Rng) -> Scenario) -> Report {
    let rng = Rng::new(seed);
    let scenario = draw(&mut rng.fork("scenario"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(live(rng, scenario))
}

async fn live(rng: Rng, scenario: Scenario) -> Report {
    let world = World::new(rng.clone(), scenario);
    let plan: Vec<Manifest> = (0..scenario.n_jobs as u64)
        .map(|number| clients::plan(number, rng.fork(&format!("job {number}"))))
        .collect();
    let mut ids: Vec<_> = plan.iter().map(|job| job.job_id.clone()).collect();
    for number in 0..scenario.n_old_jobs as u64 {
        let mut job = clients::plan(1000 + number, rng.fork("finished"));
        (job.status, job.rev, job.attempt) = (Status::Cancelled, 4, 1);
        ids.push(job.job_id.clone());
        world.add_object(job.job_id.manifest_key(), job.to_bytes());
    }
    let mut processes = JoinSet::new();
    populate(&world, &scenario, plan, ids, &mut processes);
    let end = scenario.faults_end_at + SETTLE_TIMEOUT;
    while !world.is_settled() && world.now() < end {
        tokio::select! {
            biased;
            () = world.wait_for_violation() => return world.close(),
            Some(Err(error)) = processes.join_next() => world.report_violation(format!("a process panicked: {error}")),
            () = tokio::time::sleep(Duration::from_secs(30)) => {}
        }
    }
    // Let the requests that are still in flight arrive.
    processes.abort_all();
    tokio::time::sleep(DRAIN_TIME).await;
    world.close()
}

fn populate(
    world: &Arc<World>,
    scenario: &Scenario,
    plan: Vec<Manifest>,
    ids: Vec<jobs::JobId>,
    processes: &mut JoinSet<()>,
) {
    let timing = scenario.timing;
    let name = |what: &str, i: usize| format!("{what} {i}");
    for i in 0..scenario.n_workers {
        let program = move |ctx| worker::work(ctx, timing);
        let process_faults = if i < scenario.n_crash_free_workers {
            ProcessFaults::default()
        } else {
            scenario.process_faults
        };
        processes.spawn(run_with_restarts(
            world.clone(),
            Role::Worker,
            name("worker", i),
            process_faults,
            program,
        ));
    }
    for i in 0..scenario.n_importers {
        processes.spawn(run_with_restarts(
            world.clone(),
            Role::Importer,
            name("importer", i),
            scenario.process_faults,
            clients::import,
        ));
    }
    for i in 0..scenario.n_legacy_workers {
        processes.spawn(run_with_restarts(
            world.clone(),
            Role::LegacyWorker,
            name("legacy worker", i),
            scenario.process_faults,
            legacy_worker::work,
        ));
    }
    for i in 0..scenario.n_users {
        let ids = ids.clone();
        let program = move |ctx| clients::cancel_and_retry(ctx, ids.clone());
        let run =
            run_with_restarts(world.clone(), Role::User, name("user", i), scenario.process_faults, program);
        let world = world.clone();
        processes.spawn(async move {
            run.await;
            world.user_finished();
        });
    }
    let program = move |ctx| clients::submit(ctx, plan.clone());
    processes.spawn(run_with_restarts(
        world.clone(),
        Role::Submitter,
        name("submitter", 0),
        scenario.process_faults,
        program,
    ));
}
