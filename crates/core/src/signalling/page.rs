//! The browser pages and their files, embedded in the program, `/healthz`, `/metrics` and the dashboard's data: the plain
//! HTTP part of the port.

use axum::Router;
use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, StatusCode, Version};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::server::ClientInfo;
use crate::config::Audience;

/// `http` has no name for it.
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");

const HTML: &str = "text/html; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

include!(concat!(env!("OUT_DIR"), "/web_files.rs"));

/// What the pages' files are served as.
fn kind_of(path: &str) -> &'static str {
    match path.rsplit_once('.') {
        Some((_, "html")) => HTML,
        Some((_, "js")) => JAVASCRIPT,
        Some((_, "css")) => CSS,
        _ => TEXT,
    }
}

/// A page runs only its own scripts, talks to its server and over WebSocket to any (`?server=`), and is framed by nobody.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; \
    media-src 'self' blob: mediastream:; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// Every path that is served; `health` gives the JSON of `/healthz`, `metrics` the text of `/metrics`.
pub(super) fn router(
    health: impl Fn() -> String + Clone + Send + Sync + 'static,
    metrics: impl Fn() -> String + Clone + Send + Sync + 'static,
) -> Router {
    let mut router = Router::new()
        .route(
            "/healthz",
            get(move || async move { (headers(JSON), health()) }),
        )
        .route(
            "/metrics",
            get(move || async move { (headers(PROMETHEUS), metrics()) }),
        );
    for &(path, content) in FILES {
        let kind = kind_of(path);
        let handler = get(move || async move {
            let policy = (kind == HTML).then_some([(CONTENT_SECURITY_POLICY, POLICY)]);
            // `<avatar-view>` works in pages of other origins: its files are public, and read no cookies.
            let open = (kind != HTML).then_some([
                (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
                (CROSS_ORIGIN_RESOURCE_POLICY, "cross-origin"),
            ]);
            (headers(kind), policy, open, content)
        });
        match path {
            "/webrtc-client.html" => {
                router = router.route("/", handler.clone()).route(path, handler)
            }
            // Guarded: see `add_dashboard`.
            "/dashboard.html" => {}
            path => router = router.route(path, handler),
        }
    }
    router.fallback(|| async { text(StatusCode::NOT_FOUND, "not found\n") })
}

/// Adds the operator's dashboard and its data, for those who may see it.
pub(super) fn add_dashboard(
    router: Router,
    audience: Audience,
    data: impl Fn() -> String + Clone + Send + Sync + 'static,
) -> Router {
    let page = FILES.iter().find(|(path, _)| *path == "/dashboard.html");
    let page = page.map_or(&b""[..], |(_, content)| content);
    let page = move |request: Request| async move {
        match may_see(audience, &request) {
            true => (headers(HTML), [(CONTENT_SECURITY_POLICY, POLICY)], page).into_response(),
            false => refused(),
        }
    };
    let data = move |request: Request| async move {
        match may_see(audience, &request) {
            true => (headers(JSON), data()).into_response(),
            false => refused(),
        }
    };
    router
        .route("/dashboard", get(page))
        .route("/dashboard/data", get(data))
}

fn refused() -> Response {
    text(
        StatusCode::FORBIDDEN,
        "The dashboard is for browsers on the server's own machine (http://localhost). \
         The option `webrtc.dashboard: \"everyone\"` opens it to all.\n",
    )
}

/// Loopback is who comes over loopback, by a loopback name (a page elsewhere may have its own name resolved to us), and
/// not through a proxy, which speaks for others, as far as it says so: some proxies say nothing, but speak HTTP/1.0.
fn may_see(audience: Audience, request: &Request) -> bool {
    let header = |name: &str| request.headers().get(name);
    match audience {
        Audience::Everyone => true,
        Audience::Nobody => false,
        Audience::Loopback => {
            let comes_near = (request.extensions().get::<ClientInfo>())
                .is_some_and(|client| client.remote.ip().is_loopback());
            let host = header("host").and_then(|host| host.to_str().ok());
            let names_us = host.is_some_and(is_loopback_name);
            let is_direct = ["forwarded", "x-forwarded-for", "x-real-ip", "via"]
                .iter()
                .all(|name| header(name).is_none())
                && request.version() != Version::HTTP_10;
            comes_near && names_us && is_direct
        }
    }
}

fn is_loopback_name(host: &str) -> bool {
    let parsed = url::Url::parse(&format!("http://{host}/"));
    parsed.is_ok_and(|url| match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    })
}

/// A plain sentence.
pub(super) fn text(status: StatusCode, text: impl Into<String>) -> Response {
    (status, headers(TEXT), text.into()).into_response()
}

fn headers(kind: &'static str) -> [(HeaderName, &'static str); 3] {
    [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-cache"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ]
}
