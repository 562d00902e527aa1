//! The dashboard and the official client of Socket.IO, embedded as npm built them.

use axum::Router;
use axum::body::Bytes;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest as _, Sha256};

use super::Site;

/// Nothing from elsewhere, and no script or style inside a page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

macro_rules! built {
    ($name:literal) => {
        include_bytes!(concat!("../../dashboard/dist/", $name))
    };
}

const FILES: [(&str, &str, &[u8]); 8] = [
    ("/", HTML, built!("index.html")),
    ("/dashboard.js", SCRIPT, built!("dashboard.js")),
    ("/dashboard.css", "text/css; charset=utf-8", built!("dashboard.css")),
    ("/sash.svg", "image/svg+xml", built!("sash.svg")),
    ("/tasuki.d.ts", TEXT, include_bytes!("../../../schemas/generated/tasuki.d.ts")),
    ("/licences.txt", TEXT, built!("licences.txt")),
    ("/socket.io/socket.io.js", SCRIPT, built!("socket.io.js")),
    ("/socket.io/socket.io.esm.min.js", SCRIPT, built!("socket.io.esm.min.js")),
];

/// What `GET /api/v1/openapi.json` answers.
const OPENAPI: &[u8] = include_bytes!("../../../schemas/generated/openapi.json");
/// The same of the feed.
const ASYNCAPI: &[u8] = include_bytes!("../../../schemas/generated/asyncapi.json");

/// The files, each at its place.
pub(super) fn routes() -> Router<Site> {
    let add = |router: Router<Site>, (path, kind, bytes): (&'static str, &'static str, &'static [u8])| {
        let tag = tag(bytes);
        router.route(path, get(move |headers: HeaderMap| async move { file(&headers, &tag, kind, bytes) }))
    };
    FILES.into_iter().fold(Router::new(), add)
}

pub(super) async fn openapi(headers: HeaderMap) -> Response {
    file(&headers, &tag(OPENAPI), "application/json", OPENAPI)
}

pub(super) async fn asyncapi(headers: HeaderMap) -> Response {
    file(&headers, &tag(ASYNCAPI), "application/json", ASYNCAPI)
}

fn tag(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let short: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{short}\"")
}

fn file(headers: &HeaderMap, tag: &str, kind: &'static str, bytes: &'static [u8]) -> Response {
    let guards = [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
    ];
    // Always asked for again, and sent again only when the coordinator was upgraded.
    let fresh = [(CACHE_CONTROL, "no-cache"), (ETAG, tag), (CONTENT_TYPE, kind)];
    if headers.get(IF_NONE_MATCH).is_some_and(|kept| kept.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, guards, [(CACHE_CONTROL, "no-cache"), (ETAG, tag)]).into_response();
    }
    (guards, fresh.map(|(name, value)| (name, value.to_owned())), Bytes::from_static(bytes)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_page_holds_a_script_or_a_style() {
        let (_, _, page) = FILES.into_iter().find(|(path, ..)| *path == "/").unwrap();
        let page = std::str::from_utf8(page).unwrap();
        assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains(" onclick="));
        let scripts = page.split("<script").skip(1);
        assert!(scripts.clone().count() > 0);
        for script in scripts {
            assert!(script.contains("src=\"/") && script.contains("></script>"), "{script}");
        }
    }

    #[test]
    fn what_a_browser_has_is_not_sent_again() {
        let sent = file(&HeaderMap::new(), "\"a\"", HTML, b"page");
        assert_eq!(sent.status(), StatusCode::OK);
        assert_eq!(sent.headers().get(ETAG).unwrap(), "\"a\"");
        let has = |tag: &str| HeaderMap::from_iter([(IF_NONE_MATCH, tag.parse().unwrap())]);
        assert_eq!(file(&has("\"a\""), "\"a\"", HTML, b"page").status(), StatusCode::NOT_MODIFIED);
        assert_eq!(file(&has("\"b\""), "\"a\"", HTML, b"page").status(), StatusCode::OK);
    }
}
