//! `/healthz` and `/metrics`.

use std::convert::Infallible;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use nodeset::client::Proofs;
use nodeset::server::Stats;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections at once: a scraper and a few people. More wait to be accepted.
const CONNECTIONS_MAX: usize = 16;
/// How long one connection may take from its first byte to its last.
const CONNECTION_MAX: Duration = Duration::from_secs(10);
/// How long the registry may take to answer before it counts as unhealthy.
const HEALTH_MAX: Duration = Duration::from_secs(2);
/// How long to wait after a failed accept; see the registry's own.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the pages show.
pub(crate) struct Page {
    registry: String,
    stats: Stats,
    lease: Duration,
    max_peers: usize,
}

impl Page {
    pub(crate) fn new(registry: String, stats: Stats, lease: Duration, max_peers: usize) -> Self {
        Self {
            registry,
            stats,
            lease,
            max_peers,
        }
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n".into());
        }
        match request.uri().path() {
            "/healthz" => self.health().await,
            "/metrics" => text(StatusCode::OK, self.metrics()),
            _ => text(StatusCode::NOT_FOUND, "there are /healthz and /metrics\n".into()),
        }
    }

    /// Asks the registry as everybody else would.
    async fn health(&self) -> Response<Full<Bytes>> {
        match nodeset::client::health(&self.registry, &Proofs::none(), HEALTH_MAX).await {
            Ok(_) => text(StatusCode::OK, "ok\n".into()),
            Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
        }
    }

    /// The Prometheus text format, version 0.0.4.
    fn metrics(&self) -> String {
        let n = self.stats.counts();
        let gauges = [
            ("peers_live", "Live peers.", n.live as f64),
            ("peers_max", "Most live peers admitted.", self.max_peers as f64),
            ("lease_seconds", "How long a lease lasts.", self.lease.as_secs_f64()),
        ];
        let counters = [
            ("joins_total", "Leases taken.", n.joins),
            (
                "updates_total",
                "Changes of what a live peer says about itself.",
                n.updates,
            ),
            ("leaves_total", "Leases given back.", n.leaves),
            ("expirations_total", "Leases that ran out.", n.expirations),
            ("evictions_total", "Leases taken away.", n.evictions),
            ("requests_total", "Requests answered.", n.requests),
            ("requests_refused_total", "Requests refused.", n.refused_requests),
            ("connections_total", "Connections admitted.", n.connections),
            (
                "connections_refused_total",
                "Connections over the limit.",
                n.refused_connections,
            ),
            (
                "connections_broken_total",
                "Connections cut for nonsense.",
                n.broken_connections,
            ),
        ];
        let version = env!("CARGO_PKG_VERSION");
        let mut page = format!(
            "# HELP nodesetd_build_info Always 1.\n# TYPE nodesetd_build_info gauge\n\
             nodesetd_build_info{{version=\"{version}\"}} 1\n"
        );
        let mut metric = |name: &str, help: &str, kind: &str, value: f64| {
            page.push_str(&format!(
                "# HELP nodesetd_{name} {help}\n# TYPE nodesetd_{name} {kind}\n\
                 nodesetd_{name} {value}\n"
            ));
        };
        gauges
            .into_iter()
            .for_each(|(name, help, n)| metric(name, help, "gauge", n));
        counters
            .into_iter()
            .for_each(|(name, help, n)| metric(name, help, "counter", n as f64));
        page
    }
}

/// Serves the pages until `shutdown`.
pub(crate) async fn serve(listener: StdListener, page: Page, shutdown: impl Future<Output = ()>) {
    let listener = match listener
        .set_nonblocking(true)
        .and_then(|()| TcpListener::from_std(listener))
    {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("no HTTP: {error}"),
    };
    if let Ok(addr) = listener.local_addr() {
        tracing::info!("http on {addr}: /healthz and /metrics");
    }
    tokio::select! {
        () = accept(listener, Arc::new(page)) => {}
        () = shutdown => {}
    }
}

async fn accept(listener: TcpListener, page: Arc<Page>) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(seat) = Arc::clone(&seats).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let page = Arc::clone(&page);
                tokio::spawn(async move {
                    connection(stream, page).await;
                    drop(seat);
                });
            }
            Err(error) => {
                tracing::warn!("an HTTP connection could not be accepted: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, page: Arc<Page>) {
    let service = service_fn(|request| {
        let page = Arc::clone(&page);
        async move { Ok::<_, Infallible>(page.answer(&request).await) }
    });
    let mut http = http1::Builder::new();
    http.keep_alive(false); // a seat is for one question
    let serving = http.serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_MAX, serving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("HTTP connection ended: {error}"),
        Err(_) => tracing::debug!("HTTP connection cut after {CONNECTION_MAX:?}"),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
