//! What the server counts, as Prometheus reads it (text format 0.0.4).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::jobs::standings;
use super::problem::Answer;
use super::state::App;

/// Upper bounds of the histogram, in seconds.
const BOUNDS: [f64; 8] = [0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 30.0, 120.0];

/// What the server counts.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    requests: Mutex<BTreeMap<(String, String, u16), u64>>,
    durations: Mutex<BTreeMap<(String, String), Histogram>>,
    imports: AtomicU64,
    import_failures: AtomicU64,
}

#[derive(Debug, Default, Clone)]
struct Histogram {
    /// Requests up to each bound, each counted once.
    buckets: [u64; BOUNDS.len()],
    n: u64,
    sum_seconds: f64,
}

impl Metrics {
    /// Counts an import.
    pub(super) fn imported(&self) {
        self.imports.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an import that failed.
    pub(super) fn import_failed(&self) {
        self.import_failures.fetch_add(1, Ordering::Relaxed);
    }

    fn request(&self, method: &str, route: &str, status: u16, took: Duration) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((method.to_owned(), route.to_owned(), status)).or_default() += 1;
        drop(requests);
        let mut durations = self.durations.lock().unwrap_or_else(PoisonError::into_inner);
        let histogram = durations.entry((method.to_owned(), route.to_owned())).or_default();
        histogram.n += 1;
        histogram.sum_seconds += took.as_secs_f64();
        let fits = BOUNDS.iter().position(|bound| took.as_secs_f64() <= *bound);
        if let Some(bucket) = fits.and_then(|i| histogram.buckets.get_mut(i)) {
            *bucket += 1;
        }
    }

    fn text(&self, jobs: &BTreeMap<&str, usize>) -> String {
        let mut text = Text::default();
        text.head("courtside_build_info", "gauge", "Version of courtside.");
        text.line("courtside_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        text.head("courtside_http_requests_total", "counter", "Requests, by route and status.");
        for ((method, route, status), n) in &*self.requests.lock().unwrap_or_else(PoisonError::into_inner) {
            let labels = [("method", method.as_str()), ("route", route), ("status", &status.to_string())];
            text.line("courtside_http_requests_total", &labels, n);
        }
        let name = "courtside_http_request_duration_seconds";
        text.head(name, "histogram", "Time until an answer began, by route.");
        for ((method, route), histogram) in &*self.durations.lock().unwrap_or_else(PoisonError::into_inner) {
            text.histogram(name, &[("method", method), ("route", route)], histogram);
        }
        text.head("courtside_jobs", "gauge", "Jobs, by status.");
        for (status, n) in jobs {
            text.line("courtside_jobs", &[("status", status)], n);
        }
        for (name, counter, help) in [
            ("courtside_imports_total", &self.imports, "Jobs whose results this server imported."),
            ("courtside_import_failures_total", &self.import_failures, "Imports that failed."),
        ] {
            text.head(name, "counter", help);
            text.line(name, &[], counter.load(Ordering::Relaxed));
        }
        text.0
    }
}

/// The text under way. Writing to a string cannot fail.
#[derive(Default)]
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> =
            labels.iter().map(|(label, text)| format!("{label}=\"{}\"", escaped(text))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let mut n = 0;
        for (bound, count) in BOUNDS.iter().zip(histogram.buckets) {
            n += count;
            self.line(&format!("{name}_bucket"), &[labels, &[("le", &bound.to_string())]].concat(), n);
        }
        self.line(&format!("{name}_bucket"), &[labels, &[("le", "+Inf")]].concat(), histogram.n);
        self.line(&format!("{name}_sum"), labels, histogram.sum_seconds);
        self.line(&format!("{name}_count"), labels, histogram.n);
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Counts every request. Only names that we know become labels, whatever is asked for.
pub(super) async fn count(State(app): State<App>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", |path| path.as_str()).to_owned();
    let method = known(request.method());
    let started = Instant::now();
    let response = next.run(request).await;
    app.metrics.request(method, &route, response.status().as_u16(), started.elapsed());
    response
}

fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Figures for Prometheus.
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics", tag = "server",
    responses((status = 200, description = "Text format 0.0.4", body = String, content_type = "text/plain"))
)]
pub(super) async fn metrics(State(app): State<App>) -> Answer<impl IntoResponse> {
    let jobs = standings(&app).await?.into_iter().collect();
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], app.metrics.text(&jobs)))
}
