//! Pages of which origins may watch: a browser tells the origin of the page, other programs tell none.
//!
//! They may connect, and ask before where to: nothing else is answered to pages of other origins. No cookie counts there,
//! so that such a page acts by a token that it was given, and never as whoever happens to be logged in here.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, HOST, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

/// Where Engine.IO answers.
pub(super) const ENGINE: &str = "/socket.io/";
/// Where it is asked which coordinator to connect to.
const ENDPOINT: &str = "/api/v1/endpoint";

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
    if ![ENGINE, ENDPOINT].contains(&request.uri().path()) {
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
    use axum::Router;
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::http::header::{ACCESS_CONTROL_ALLOW_CREDENTIALS, AUTHORIZATION};
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tower::ServiceExt as _;

    /// What a browser is answered to a page of an origin, by the ways and pages of a feed.
    async fn answered(method: Method, path: &str, origin: &str) -> Response {
        let here = Origins::new(vec!["https://status.example.org".to_owned()]);
        let site = Router::new()
            .route(ENDPOINT, get(|| async { "where" }))
            .route("/api/v1/clusters", get(|| async { "all" }))
            .layer(from_fn_with_state(here, examine));
        let request = axum::http::Request::builder().method(method).uri(path).header(HOST, "co1:3000");
        let request = request.header(ORIGIN, origin).header(AUTHORIZATION, "Bearer t").body(Body::empty()).unwrap();
        site.oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn an_allowed_page_may_ask_where_to_connect_by_its_token_and_nothing_else() {
        let allowed = |response: &Response| response.headers().get(ACCESS_CONTROL_ALLOW_ORIGIN).cloned();
        for (method, code) in [(Method::OPTIONS, StatusCode::NO_CONTENT), (Method::GET, StatusCode::OK)] {
            let response = answered(method, ENDPOINT, "https://status.example.org").await;
            assert_eq!(response.status(), code);
            assert_eq!(allowed(&response).unwrap(), "https://status.example.org");
            assert_eq!(response.headers()[VARY], "origin");
            // So a browser shows no cookie, and a page no answer that it got by one.
            assert!(!response.headers().contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS));
        }
        let preflight = answered(Method::OPTIONS, ENDPOINT, "https://status.example.org").await;
        assert!(preflight.headers()[ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap().contains("authorization"));
        for method in [Method::OPTIONS, Method::GET] {
            let response = answered(method, ENDPOINT, "https://evil.org").await;
            assert_eq!((response.status(), allowed(&response)), (StatusCode::FORBIDDEN, None));
        }
        let other = answered(Method::GET, "/api/v1/clusters", "https://status.example.org").await;
        assert_eq!((other.status(), allowed(&other)), (StatusCode::OK, None));
    }

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
