//! What the fake knows, and what it was asked.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::faults::{Fault, Rule};

/// What a key may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rights {
    /// Everything.
    All,
    /// Everything with one machine, and nothing else.
    Machine(String),
    /// Reading only.
    Read,
}

/// A kind of card in the catalogue.
#[derive(Debug, Clone)]
pub struct Gpu {
    /// Its id, which is also its name.
    pub id: &'static str,
    /// Memory in gigabytes.
    pub memory: u64,
    /// Dollars per hour.
    pub price: f64,
    /// `NONE`, `LOW`, `MEDIUM` or `HIGH`.
    pub availability: &'static str,
}

/// A request that arrived.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method, in capitals.
    pub method: String,
    /// The path, with the query.
    pub path: String,
    /// The body as text.
    pub body: String,
}

/// The state of both providers.
#[derive(Debug)]
pub struct State {
    /// RunPod's machines, by id.
    pub pods: BTreeMap<String, Value>,
    /// Vast's machines, by id: `running`, `stopped`.
    pub instances: BTreeMap<String, &'static str>,
    /// RunPod's secrets: id, name and value.
    pub secrets: Vec<(String, String, String)>,
    /// RunPod's catalogue.
    pub gpus: Vec<Gpu>,
    /// Keys of both providers.
    pub keys: BTreeMap<String, Rights>,
    /// Images that can be pulled from the registry at the same address.
    pub images: Vec<String>,
    /// Whether the account has credit.
    pub has_credit: bool,
    /// What new pods cost, if not what the catalogue says.
    pub price_of_new_pods: Option<f64>,
    /// The providers' clock; the system's if it is not set.
    pub now: Option<OffsetDateTime>,
    /// All requests, in order.
    pub requests: Vec<Request>,
    /// Bodies that do not follow the schemas, with the reason.
    pub violations: Vec<String>,
    pub(crate) rules: Vec<Rule>,
    n_created: BTreeMap<String, usize>,
}

impl Default for State {
    fn default() -> Self {
        let gpu = |id, memory, price, availability| Gpu { id, memory, price, availability };
        Self {
            pods: BTreeMap::new(),
            instances: BTreeMap::new(),
            secrets: Vec::new(),
            gpus: vec![
                gpu("NVIDIA H100 80GB HBM3", 80, 2.69, "HIGH"),
                gpu("NVIDIA A100 80GB PCIe", 80, 1.19, "LOW"),
                gpu("NVIDIA H200", 141, 3.59, "NONE"),
            ],
            keys: BTreeMap::from([("rpa_user".to_owned(), Rights::All)]),
            images: vec!["me/courtside-worker:1".to_owned()],
            has_credit: true,
            price_of_new_pods: None,
            now: None,
            requests: Vec::new(),
            violations: Vec::new(),
            rules: Vec::new(),
            n_created: BTreeMap::new(),
        }
    }
}

impl State {
    /// The providers' clock.
    pub fn utc(&self) -> OffsetDateTime {
        self.now.unwrap_or_else(OffsetDateTime::now_utc)
    }

    /// Adds a pod that runs.
    pub fn add_pod(&mut self, id: &str, name: &str, args: &str, price: f64) {
        let created_at = self.utc().format(&Rfc3339).unwrap();
        let pod = json!({
            "id": id, "name": name, "status": "RUNNING", "actions": ["stop", "restart", "terminate"],
            "image": "me/courtside-worker:1", "args": args, "disk": 50, "mounts": {}, "ports": [], "env": {},
            "registry": null, "cloud": "SECURE", "dataCenterId": "US-KS-2", "cudaVersion": "12.8",
            "ssh": { "proxy": null, "direct": null }, "template": null, "cost": price, "locked": false,
            "runtime": null, "createdAt": created_at, "startedAt": created_at,
            "globalNetworking": { "enabled": false },
            "gpu": { "id": "NVIDIA H100 80GB HBM3", "count": 1, "vcpuCount": 16, "memory": 64 },
        });
        self.pods.insert(id.to_owned(), pod);
    }

    /// Fails the next `n` requests with this method whose path begins so.
    pub fn fail(&mut self, method: &'static str, path: &str, fault: Fault, n: usize) {
        self.rules.push(Rule { method, path: path.to_owned(), fault, n_left: n });
    }

    /// Ends all faults.
    pub fn heal(&mut self) {
        self.rules.clear();
    }

    pub(crate) fn fault(&mut self, method: &str, path: &str) -> Option<Fault> {
        let applies =
            |rule: &&mut Rule| rule.n_left > 0 && rule.method == method && path.starts_with(&rule.path);
        let rule = self.rules.iter_mut().find(applies)?;
        rule.n_left -= 1;
        Some(rule.fault.clone())
    }

    pub(crate) fn new_id(&mut self, prefix: &str) -> String {
        let n = self.n_created.entry(prefix.to_owned()).or_default();
        *n += 1;
        format!("{prefix}{n}")
    }

    /// Requests with this method whose path begins so.
    pub fn n_requests(&self, method: &str, path: &str) -> usize {
        self.requests.iter().filter(|r| r.method == method && r.path.starts_with(path)).count()
    }
}
