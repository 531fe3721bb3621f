//! The HTTP port: `/metrics` for Prometheus, `/healthz` and `/readyz` for probes, and a page with links.
//!
//! It runs on a thread of its own, so that a scrape takes no turn from clients. Bounded in every direction: one request
//! a connection, a few connections at once (others wait in the kernel's backlog), a short header, no body read, a time
//! limit for the whole connection. It changes nothing and asks for no password, so it listens on loopback unless told
//! otherwise.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::base::limits::{
    ACCEPT_BACKOFF_MS, HTTP_BACKLOG, HTTP_CONNECTION_MAX_MS, HTTP_CONNECTIONS_MAX, HTTP_HEADER_MAX_BYTES,
    HTTP_HEADERS_MAX,
};
use crate::config::Config;
use crate::server::listener::{self, Bound};

/// Makes the page for Prometheus; called once for each request to `/metrics`, on the HTTP thread.
pub type Page = Arc<dyn Fn() -> String + Send + Sync>;

/// Whether the server takes requests, and if not, why, in one line; called once for each request to `/readyz`.
pub type Ready = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
/// What Prometheus calls its text format.
const EXPOSITION: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const INDEX: &str = "<!DOCTYPE html>\n<html lang=\"en\"><title>Larder</title><h1>Larder</h1>\n<ul>\
    <li><a href=\"/metrics\">/metrics</a>: for Prometheus</li>\
    <li><a href=\"/healthz\">/healthz</a>: 200 while the process lives</li>\
    <li><a href=\"/readyz\">/readyz</a>: 200 while it serves, else 503</li>\
    </ul></html>\n";

/// The running HTTP port. Dropping it closes the port and ends its thread.
#[derive(Debug)]
pub struct Http {
    local_addrs: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Http {
    /// Binds `metrics-bind` at `metrics-port`, without serving yet; nothing where the port is 0. The error is one line
    /// for people.
    pub fn bind(config: &Config) -> Result<Vec<Bound>, String> {
        if config.metrics_port == 0 {
            return Ok(Vec::new());
        }
        let mut bound = Vec::new();
        for &address in &config.metrics_bind {
            let one = listener::bind_one(address, config.metrics_port, HTTP_BACKLOG)
                .map_err(|why| format!("{why} (parameters metrics-bind and metrics-port)"))?;
            bound.extend(one);
        }
        Ok(bound)
    }

    /// Serves what was bound; `None` where that is nothing. `ready` decides about `/readyz`. The error is one line for
    /// people; nothing is running then.
    pub fn start(bound: Vec<Bound>, page: Page, ready: Ready) -> Result<Option<Self>, String> {
        if bound.is_empty() {
            return Ok(None);
        }
        Self::serving(bound, page, ready)
            .map(Some)
            .map_err(|error| format!("cannot start the HTTP port: {error}"))
    }

    fn serving(bound: Vec<Bound>, page: Page, ready: Ready) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let mut local_addrs = Vec::new();
        let mut listeners = Vec::new();
        for one in bound {
            if let Bound::Tcp(listener, address) = one {
                let _inside = runtime.enter();
                listeners.push(TcpListener::from_std(listener)?);
                local_addrs.push(address);
            }
        }
        let (stop, stopped) = watch::channel(false);
        let thread = thread::Builder::new()
            .name("larder-http".to_owned())
            .spawn(move || run(&runtime, listeners, &page, &ready, &stopped))?;
        Ok(Self { local_addrs, stop, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        // No receiver is left only when the thread has ended already.
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            drop(thread.join());
        }
    }
}

fn run(
    runtime: &Runtime,
    listeners: Vec<TcpListener>,
    page: &Page,
    ready: &Ready,
    stopped: &watch::Receiver<bool>,
) {
    runtime.block_on(async {
        let mut ports = JoinSet::new();
        for listener in listeners {
            let mut stopped = stopped.clone();
            let shutdown = async move { drop(stopped.wait_for(|stop| *stop).await) };
            ports.spawn(serve(listener, Arc::clone(page), Arc::clone(ready), shutdown));
        }
        while ports.join_next().await.is_some() {}
    });
}

/// Serves one listener on the current runtime until `shutdown` is done; connections that are open then are cut.
pub async fn serve(listener: TcpListener, page: Page, ready: Ready, shutdown: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX));
    // Dropped with all its tasks when this function ends.
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let next = async {
            // The semaphore is never closed.
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            biased;
            () = &mut shutdown => return,
            next = next => next,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let (page, ready) = (Arc::clone(&page), Arc::clone(&ready));
                connections.spawn(async move {
                    connection(stream, page, ready).await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!("HTTP port: cannot accept a connection: {error}");
                sleep(Duration::from_millis(*ACCEPT_BACKOFF_MS.end())).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, page: Page, ready: Ready) {
    let limit = Duration::from_millis(HTTP_CONNECTION_MAX_MS);
    let service = service_fn(move |request: Request<Incoming>| {
        let response = answer(request.method(), request.uri().path(), &page, &ready);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limit)
        .max_buf_size(HTTP_HEADER_MAX_BYTES)
        .max_headers(HTTP_HEADERS_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(limit, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!("HTTP port: {error}"),
        Err(_) => debug!("HTTP port: a connection took longer than {limit:?}"),
    }
}

fn answer(method: &Method, path: &str, page: &Page, ready: &Ready) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        let mut refusal = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n".to_owned());
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match path {
        "/metrics" => response(StatusCode::OK, EXPOSITION, page()),
        "/healthz" => response(StatusCode::OK, TEXT, "alive\n".to_owned()),
        "/readyz" => match ready() {
            Ok(()) => response(StatusCode::OK, TEXT, "ready\n".to_owned()),
            Err(why) => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("not ready: {why}\n")),
        },
        "/" => response(StatusCode::OK, HTML, INDEX.to_owned()),
        _ => response(StatusCode::NOT_FOUND, TEXT, "not here; see /\n".to_owned()),
    }
}

fn response(status: StatusCode, kind: HeaderValue, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::{Http, Page, Ready};
    use crate::base::limits::HTTP_CONNECTIONS_MAX;
    use crate::config::types::BindAddress;
    use crate::server::listener;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    fn started(ready: &Arc<AtomicBool>) -> (Http, SocketAddr) {
        let page: Page = Arc::new(|| "larder_up 1\n".to_owned());
        let flag = Arc::clone(ready);
        let ready: Ready =
            Arc::new(move || if flag.load(Ordering::Relaxed) { Ok(()) } else { Err("no lease".to_owned()) });
        let local = BindAddress::parse("127.0.0.1").expect("an address");
        let bound = listener::bind_one(local, 0, 16).expect("a free port").expect("loopback exists");
        let http = Http::serving(vec![bound], page, ready).expect("a thread");
        let address = http.local_addrs()[0];
        (http, address)
    }

    fn connect(address: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
        stream
    }

    /// Sends `request` and reads until the server closes.
    fn exchange(address: SocketAddr, request: &str) -> String {
        let mut stream = connect(address);
        stream.write_all(request.as_bytes()).expect("sent");
        let mut reply = Vec::new();
        // A reset after the answer (the rest of an oversized request was not read) is no fault of the answer.
        drop(stream.read_to_end(&mut reply));
        String::from_utf8_lossy(&reply).into_owned()
    }

    fn get(address: SocketAddr, path: &str) -> String {
        exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
    }

    #[test]
    fn pages_are_where_probes_and_prometheus_look() {
        let ready = Arc::new(AtomicBool::new(false));
        let (_http, address) = started(&ready);
        let metrics = get(address, "/metrics");
        assert!(
            metrics.starts_with("HTTP/1.1 200 ") && metrics.ends_with("\r\n\r\nlarder_up 1\n"),
            "{metrics}"
        );
        assert!(metrics.contains("content-type: text/plain; version=0.0.4"), "{metrics}");
        assert!(get(address, "/metrics?x=1").starts_with("HTTP/1.1 200 "));
        assert!(get(address, "/healthz").ends_with("alive\n"));
        let unready = get(address, "/readyz");
        assert!(
            unready.starts_with("HTTP/1.1 503 ") && unready.ends_with("not ready: no lease\n"),
            "{unready}"
        );
        ready.store(true, Ordering::Relaxed);
        assert!(get(address, "/readyz").starts_with("HTTP/1.1 200 "));
        assert!(get(address, "/").contains("href=\"/metrics\""));
        assert!(get(address, "/etc/passwd").starts_with("HTTP/1.1 404 "));
        let head = exchange(address, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 ") && !head.contains("larder_up"), "{head}");
        let post = exchange(address, "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET, HEAD"), "{post}");
    }

    #[test]
    fn hostile_requests_are_turned_away_and_others_served() {
        let (_http, address) = started(&Arc::new(AtomicBool::new(true)));
        let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(100_000));
        assert!(!exchange(address, &long).starts_with("HTTP/1.1 200"));
        assert!(!exchange(address, "*1\r\n$4\r\nPING\r\n\r\n").contains("200"));
        assert!(get(address, "/healthz").ends_with("alive\n"));
    }

    #[test]
    fn silent_connections_are_bounded_and_stopping_cuts_them() {
        let (http, address) = started(&Arc::new(AtomicBool::new(true)));
        let mut silent: Vec<TcpStream> = (0..HTTP_CONNECTIONS_MAX - 1).map(|_| connect(address)).collect();
        assert!(get(address, "/healthz").ends_with("alive\n"), "one place is left");
        drop(http);
        let mut rest = Vec::new();
        for stream in &mut silent {
            // Closed or reset: either way the wait ends.
            drop(stream.read_to_end(&mut rest));
        }
        assert!(rest.is_empty());
        assert!(TcpStream::connect(address).is_err(), "the port is closed");
    }
}
