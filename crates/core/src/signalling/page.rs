//! The browser page and its files, embedded in the program, `/healthz` and `/metrics`: the plain HTTP part of the port.

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;

const HTML: &str = "text/html; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

macro_rules! web {
    ($file:literal) => {
        include_bytes!(concat!("../../../../web/", $file))
    };
}

/// Path, content type, content.
const FILES: &[(&str, &str, &[u8])] = &[
    ("/", HTML, web!("webrtc-client.html")),
    ("/webrtc-client.html", HTML, web!("webrtc-client.html")),
    ("/webrtc-client.js", JAVASCRIPT, web!("webrtc-client.js")),
    ("/avatar-client.js", JAVASCRIPT, web!("avatar-client.js")),
    ("/session.js", JAVASCRIPT, web!("session.js")),
    ("/playout.js", JAVASCRIPT, web!("playout.js")),
    ("/lip-sync.js", JAVASCRIPT, web!("lip-sync.js")),
    ("/statistics.js", JAVASCRIPT, web!("statistics.js")),
    ("/style.css", CSS, web!("style.css")),
];

/// The page runs only its own scripts, talks only WebSocket (to any host: `?server=`), and is framed by nobody.
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
    for &(path, kind, content) in FILES {
        let handler = get(move || async move {
            let policy = (kind == HTML).then_some([(CONTENT_SECURITY_POLICY, POLICY)]);
            (headers(kind), policy, content)
        });
        router = router.route(path, handler);
    }
    router.fallback(|| async { text(StatusCode::NOT_FOUND, "not found\n") })
}

/// A plain sentence.
pub(super) fn text(status: StatusCode, text: impl Into<String>) -> axum::response::Response {
    (status, headers(TEXT), text.into()).into_response()
}

fn headers(kind: &'static str) -> [(HeaderName, &'static str); 3] {
    [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-cache"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ]
}
