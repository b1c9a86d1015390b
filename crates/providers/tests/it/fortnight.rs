//! Two weeks of random jobs, crashes and refusals, minute by minute, by a clock of the simulation: no machine outlives its
//! work by more than the idle time, plus what its provider refuses. What the programs decide is simulated; ending and
//! reaping machines is the real code, over HTTP.

use std::collections::BTreeMap;

use provider_fixture::{FakeProviders, Fault, Rights};
use providers::{ApiKey, Fleet, Machine, NewPod, ProviderOptions, RunPod, machines_to_start};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use time::{Duration, OffsetDateTime};

use crate::support::{options, run};

const MINUTES: i64 = 14 * 24 * 60;
/// Idle minutes after which a program ends its machine.
const IDLE: i64 = 5;
/// Minutes after which a program repeats a refused end.
const RETRY: i64 = 10;
/// Minutes that a program may run.
const MAX_RUNTIME: i64 = 6 * 60;
/// Minutes between the user's commands, at most. Each of them reaps.
const COMMANDS: i64 = 12 * 60;

/// The program on a machine.
struct Program {
    rented: i64,
    /// When it finishes its job.
    busy_until: Option<i64>,
    idle_since: i64,
    /// When it asks the provider to end the machine, and since when it has tried.
    ends_at: Option<(i64, i64)>,
    /// It hangs and will never end anything.
    is_hung: bool,
    /// Minutes in which the provider refused.
    n_refused: i64,
}

struct World {
    fake: FakeProviders,
    options: ProviderOptions,
    fleet: Fleet,
    rng: StdRng,
    programs: BTreeMap<String, Program>,
    n_waiting: usize,
    refuses_until: i64,
    n_rented: usize,
    n_reaped: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let fake = FakeProviders::start();
        let options = options(&fake).0;
        let api = RunPod::new(ApiKey::new("rpa_user").unwrap(), &options).unwrap();
        let fleet = Fleet::new(api, "bucket");
        fake.state().add_pod("theirs", "jupyter", "", 1.0);
        let rng = StdRng::seed_from_u64(seed);
        let programs = BTreeMap::new();
        Self { fake, options, fleet, rng, programs, n_waiting: 0, refuses_until: 0, n_rented: 0, n_reaped: 0 }
    }

    fn chance(&mut self, one_in: u32) -> bool {
        self.rng.random_ratio(1, one_in)
    }

    /// Jobs arrive, and the user rents machines.
    fn user(&mut self, now: i64) {
        if self.chance(180) {
            self.n_waiting += self.rng.random_range(1..4);
        }
        if now % COMMANDS == 0 || (self.n_waiting > 0 && self.chance(20)) {
            self.command(now);
        }
    }

    /// `courtside launch`: reaps, counts, rents.
    fn command(&mut self, now: i64) {
        let machines = run(self.fleet.machines()).unwrap();
        let reaped: Vec<String> = run(self.fleet.reap(&machines))
            .into_iter()
            .filter(|(_, error)| error.is_none())
            .map(|(machine, _)| machine.id.clone())
            .collect();
        for id in reaped {
            self.n_reaped += 1;
            let program = self.programs.remove(&id).unwrap();
            assert!(program.is_hung || program.n_refused > 0, "a machine that works was reaped");
        }
        let existing = self.programs.len();
        for _ in 0..machines_to_start(None, self.n_waiting, existing) {
            let unique = format!("{:08x}", self.rng.random::<u32>());
            let pod = NewPod {
                name: self.fleet.new_name(&unique),
                gpu: "NVIDIA H100 80GB HBM3".to_owned(),
                image: "me/w:1".to_owned(),
                args: format!("worker --max-runtime {}", MAX_RUNTIME * 60),
                env: BTreeMap::new(),
                disk_gb: 40,
                min_cuda: "12.4".to_owned(),
                is_secure: true,
                registry: None,
            };
            let id = run(self.fleet.api().create(&pod)).unwrap().id;
            self.fake.state().keys.insert(format!("key-{id}"), Rights::Machine(id.clone()));
            self.n_rented += 1;
            self.programs.insert(id, Program::started(now));
        }
    }

    /// The provider refuses to end machines for a while.
    fn provider(&mut self, now: i64) {
        if now == self.refuses_until {
            self.fake.state().heal();
        }
        if now > self.refuses_until && self.chance(700) {
            self.refuses_until = now + self.rng.random_range(5..240);
            let faults = [
                Fault::Status(500, "boom"),
                Fault::Status(403, "denied"),
                Fault::Status(409, "state"),
                Fault::TooMany(5),
                Fault::Reset,
            ];
            let fault = faults[self.rng.random_range(0..faults.len())].clone();
            self.fake.state().fail("DELETE", "/v2/pods", fault, usize::MAX);
        }
    }

    /// One minute of the program on each machine.
    fn programs(&mut self, now: i64) {
        let ids: Vec<String> = self.programs.keys().cloned().collect();
        for id in ids {
            let (crashes, hangs) = (self.chance(900), self.chance(4000));
            let minutes = self.rng.random_range(20..150);
            let program = self.programs.get_mut(&id).unwrap();
            program.is_hung |= hangs;
            if program.is_hung {
                continue;
            }
            if crashes {
                // The container starts again on the same machine. Its job waits for a worker again.
                self.n_waiting += usize::from(program.busy_until.is_some());
                // Its limit counts from when it was rented.
                let Program { rented, n_refused, .. } = *program;
                *program = Program { rented, n_refused, ..Program::started(now) };
            }
            program.work(now, &mut self.n_waiting, minutes);
            if program.ends_at.is_some_and(|(at, _)| at <= now) {
                self.end(&id, now);
            }
        }
    }

    /// The program asks the provider to end its machine.
    fn end(&mut self, id: &str, now: i64) {
        let key = format!("key-{id}");
        let lookup = |name: &str| match name {
            "RUNPOD_POD_ID" => Some(id.to_owned()),
            "RUNPOD_API_KEY" => Some(key.clone()),
            _ => None,
        };
        let machine = Machine::detect(&lookup, &self.options).unwrap().unwrap();
        let program = self.programs.get_mut(id).unwrap();
        match run(machine.terminate()) {
            Ok(_) => {
                assert!(!self.fake.state().pods.contains_key(id), "{id} still exists");
                let program = self.programs.remove(id).unwrap();
                let since_work = now - program.idle_since;
                let allowed = IDLE + program.n_refused + RETRY * i64::from(program.n_refused > 0);
                assert!(since_work <= allowed, "{id} ended {since_work} min after its work, not {allowed}");
            }
            Err(_) => {
                assert!(now < self.refuses_until, "the provider did not refuse");
                program.n_refused += RETRY;
                program.ends_at = Some((now + RETRY, now));
            }
        }
    }
}

impl Program {
    fn started(now: i64) -> Self {
        Self { rented: now, busy_until: None, idle_since: now, ends_at: None, is_hung: false, n_refused: 0 }
    }

    /// Takes a job, finishes one, or notices that there is none.
    fn work(&mut self, now: i64, n_waiting: &mut usize, minutes: i64) {
        if self.busy_until.is_some_and(|end| end <= now) {
            self.busy_until = None;
            self.idle_since = now;
        }
        let is_over = now - self.rented >= MAX_RUNTIME;
        if is_over && self.busy_until.take().is_some() {
            // It releases its job.
            *n_waiting += 1;
            self.idle_since = now;
        }
        if self.ends_at.is_none() && self.busy_until.is_none() {
            if is_over || now - self.idle_since >= IDLE {
                self.ends_at = Some((now, now));
            } else if *n_waiting > 0 {
                *n_waiting -= 1;
                self.busy_until = Some(now + minutes);
            }
        }
    }
}

#[test]
fn no_machine_outlives_its_work_in_a_fortnight() {
    for seed in 1..=3 {
        println!("seed {seed}");
        let mut world = World::new(seed);
        let start = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        for now in 1..MINUTES {
            world.fake.state().now = Some(start + Duration::minutes(now));
            world.provider(now);
            world.user(now);
            world.programs(now);
            for (id, program) in &world.programs {
                let age = now - program.rented;
                assert!(age <= MAX_RUNTIME + COMMANDS * 2 + program.n_refused, "{id} is {age} min old");
            }
        }
        // Every machine that the provider bills has a program, and every program a machine that is billed.
        let billed: Vec<String> =
            world.fake.state().pods.keys().filter(|id| *id != "theirs").cloned().collect();
        let known: Vec<String> = world.programs.keys().cloned().collect();
        assert_eq!(billed, known);
        assert!(world.fake.state().pods.contains_key("theirs"));
        assert!(world.n_rented > 50 && world.n_reaped > 0, "{} {}", world.n_rented, world.n_reaped);
    }
}
