//! The counters behind `/metrics`, and their text format for Prometheus (0.0.4).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the duration histogram in seconds.
const BOUNDS_SECONDS: [f64; 8] = [0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 30.0, 120.0];

/// Counters since the server started.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// By method, route and status.
    requests: Mutex<BTreeMap<(String, String, u16), u64>>,
    /// By method and route.
    durations: Mutex<BTreeMap<(String, String), Histogram>>,
    imports: AtomicU64,
    import_failures: AtomicU64,
}

/// What clients have open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenCounts {
    pub(crate) connections: usize,
    pub(crate) event_streams: usize,
}

#[derive(Debug, Default, Clone)]
struct Histogram {
    /// Requests between the previous bound and this one; not cumulative.
    buckets: [u64; BOUNDS_SECONDS.len()],
    n: u64,
    sum_seconds: f64,
}

impl Metrics {
    /// Counts a successful import.
    pub(crate) fn record_import(&self) {
        self.imports.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a failed import.
    pub(crate) fn record_import_failure(&self) {
        self.import_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request and the time until its response began.
    pub(crate) fn record_request(&self, method: &str, route: &str, status: u16, took: Duration) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((method.to_owned(), route.to_owned(), status)).or_default() += 1;
        drop(requests);
        let mut durations = self.durations.lock().unwrap_or_else(PoisonError::into_inner);
        let histogram = durations.entry((method.to_owned(), route.to_owned())).or_default();
        histogram.n += 1;
        histogram.sum_seconds += took.as_secs_f64();
        let fits = BOUNDS_SECONDS.iter().position(|bound| took.as_secs_f64() <= *bound);
        if let Some(bucket) = fits.and_then(|i| histogram.buckets.get_mut(i)) {
            *bucket += 1;
        }
    }

    /// All metrics as text. `jobs` is the number of jobs by status, `open` what clients have open.
    pub(crate) fn to_text(&self, jobs: &BTreeMap<&str, usize>, open: &OpenCounts) -> String {
        let mut text = MetricsText::default();
        text.head("courtside_build_info", "gauge", "Version of Courtside.");
        text.line("courtside_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        text.head("courtside_http_requests_total", "counter", "Requests by route and status.");
        for ((method, route, status), n) in &*self.requests.lock().unwrap_or_else(PoisonError::into_inner) {
            let labels = [("method", method.as_str()), ("route", route), ("status", &status.to_string())];
            text.line("courtside_http_requests_total", &labels, n);
        }
        let name = "courtside_http_request_duration_seconds";
        text.head(name, "histogram", "Time until the response began, by route.");
        for ((method, route), histogram) in &*self.durations.lock().unwrap_or_else(PoisonError::into_inner) {
            text.histogram(name, &[("method", method), ("route", route)], histogram);
        }
        for (name, n, help) in [
            ("courtside_http_connections", open.connections, "Open connections."),
            ("courtside_http_event_streams", open.event_streams, "Open event streams."),
        ] {
            text.head(name, "gauge", help);
            text.line(name, &[], n);
        }
        text.head("courtside_jobs", "gauge", "Jobs by status.");
        for (status, n) in jobs {
            text.line("courtside_jobs", &[("status", status)], n);
        }
        for (name, counter, help) in [
            ("courtside_imports_total", &self.imports, "Imports that succeeded."),
            ("courtside_import_failures_total", &self.import_failures, "Imports that failed."),
        ] {
            text.head(name, "counter", help);
            text.line(name, &[], counter.load(Ordering::Relaxed));
        }
        text.0
    }
}

/// The text while it is written. Writing to a string cannot fail.
#[derive(Default)]
struct MetricsText(String);

impl MetricsText {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> =
            labels.iter().map(|(label, text)| format!("{label}=\"{}\"", escape_label(text))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let mut n = 0;
        for (bound, count) in BOUNDS_SECONDS.iter().zip(histogram.buckets) {
            n += count;
            self.line(&format!("{name}_bucket"), &[labels, &[("le", &bound.to_string())]].concat(), n);
        }
        self.line(&format!("{name}_bucket"), &[labels, &[("le", "+Inf")]].concat(), histogram.n);
        self.line(&format!("{name}_sum"), labels, histogram.sum_seconds);
        self.line(&format!("{name}_count"), labels, histogram.n);
    }
}

fn escape_label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
