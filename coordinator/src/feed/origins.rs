//! Pages of which origins may watch: a browser tells the origin of the page, other programs tell none.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, HOST, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

/// Where Engine.IO answers.
const ENGINE: &str = "/socket.io/";

const REFUSED: &str =
    "forbidden_origin: pages of this origin may not watch here; add it to `allowed_origins` of [feed]\n";

/// The origins that are allowed besides the own host's.
#[derive(Clone, Debug)]
pub(super) struct Origins(Arc<[String]>);

impl Origins {
    pub(super) fn new(allowed: Vec<String>) -> Self {
        Self(allowed.into())
    }

    /// The origin to answer for, if the request names one; an error if it is not allowed.
    fn examine(&self, headers: &HeaderMap) -> Result<Option<HeaderValue>, ()> {
        let Some(origin) = headers.get(ORIGIN) else { return Ok(None) };
        let text = origin.to_str().map_err(drop)?;
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        let own = text.split_once("://").is_some_and(|(_, place)| Some(place) == host);
        let allowed = own || self.0.iter().any(|allowed| allowed == text);
        if allowed { Ok(Some(origin.clone())) } else { Err(()) }
    }
}

/// Lets requests of the feed pass whose page may watch.
pub(super) async fn examine(State(origins): State<Origins>, request: Request, next: Next) -> Response {
    if request.uri().path() != ENGINE {
        return next.run(request).await;
    }
    let Ok(origin) = origins.examine(request.headers()) else {
        return (StatusCode::FORBIDDEN, REFUSED).into_response();
    };
    let preflight = request.method() == Method::OPTIONS;
    let mut response = if preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    if let Some(origin) = origin {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.append(VARY, HeaderValue::from_static("origin"));
        if preflight {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization, content-type"));
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origins: &[&str], host: &'static str, origin: Option<&'static str>) -> bool {
        let mut headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]);
        headers.extend(origin.map(|origin| (ORIGIN, HeaderValue::from_static(origin))));
        Origins::new(origins.iter().map(|&origin| origin.to_owned()).collect()).examine(&headers).is_ok()
    }

    #[test]
    fn pages_of_the_own_host_and_of_allowed_origins_may_watch() {
        let named = ["https://status.example.org"];
        assert!(allowed(&[], "co1:3000", None), "no browser");
        assert!(allowed(&[], "co1:3000", Some("https://co1:3000")));
        assert!(allowed(&named, "co1:3000", Some("https://status.example.org")));
        for wrong in ["https://co1", "https://co1:3001", "http://status.example.org", "null", "https://evil.org"] {
            assert!(!allowed(&named, "co1:3000", Some(wrong)), "{wrong}");
        }
        assert!(!allowed(&[], "co1:3000", Some("https://status.example.org")));
    }
}
