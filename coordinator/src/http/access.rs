//! Who asks: a bearer token for scripts, a cookie for browsers.

use std::net::IpAddr;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::header::{AUTHORIZATION, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, IntoResponse};
use tasuki_config::{Grant, Role, TokenMark};
use tasuki_schemas::api::{Login, Me};

use super::Site;
use super::problem::{Body, Problem};
use crate::feed::peer;

/// Somebody who showed a good token.
pub(super) struct Visitor {
    /// What that opens.
    pub(super) grant: Grant,
    /// Where from, if that is known.
    pub(super) address: Option<IpAddr>,
}

fn shown(site: &Site, headers: &HeaderMap) -> Option<TokenMark> {
    let bearer = headers.get(AUTHORIZATION).and_then(|header| header.to_str().ok()?.strip_prefix("Bearer "));
    bearer.map(|token| TokenMark::of(token.trim())).or_else(|| site.sessions.token(headers))
}

impl Visitor {
    fn admit(site: &Site, token: &TokenMark, address: Option<IpAddr>) -> Result<Self, Problem> {
        let unknown = || {
            let text = "unauthorized: the token is not known here; ask for one that is in the coordinator's token file";
            Problem::new(StatusCode::UNAUTHORIZED, text)
        };
        site.tokens.marked(token).map(|grant| Self { grant, address }).ok_or_else(unknown)
    }

    /// Only whoever may do what this role may goes on.
    pub(super) fn must_be(&self, role: Role) -> Result<(), Problem> {
        if self.grant.role >= role {
            return Ok(());
        }
        let text = format!("{} is a token of role {}; this needs {role}", self.grant.name, self.grant.role);
        Err(Problem::new(StatusCode::FORBIDDEN, text))
    }

    fn told(&self, site: &Site) -> Me {
        Me {
            name: self.grant.name.to_string(),
            role: self.grant.role.to_string(),
            clusters: site.clusters().filter(|cluster| self.grant.sees(cluster)).cloned().collect(),
            coordinator: site.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

impl FromRequestParts<Site> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Problem> {
        let none = || {
            let text = "unauthorized: no token was shown; send `Authorization: Bearer TOKEN`, or log in";
            Problem::new(StatusCode::UNAUTHORIZED, text)
        };
        Self::admit(site, &shown(site, &parts.headers).ok_or_else(none)?, peer(&parts.extensions))
    }
}

/// Whether the connection comes from this machine.
pub(super) fn is_local(parts: &Parts) -> bool {
    peer(&parts.extensions).is_some_and(|address| address.to_canonical().is_loopback())
}

pub(super) async fn login(State(site): State<Site>, Body(login): Body<Login>) -> Result<impl IntoResponse, Problem> {
    let token = TokenMark::of(&login.token);
    let visitor = Visitor::admit(&site, &token, None)?;
    Ok((AppendHeaders([(SET_COOKIE, site.sessions.begin(&token))]), Json(visitor.told(&site))))
}

pub(super) async fn logout(State(site): State<Site>, headers: HeaderMap) -> impl IntoResponse {
    (StatusCode::NO_CONTENT, AppendHeaders([(SET_COOKIE, site.sessions.end(&headers))]))
}

pub(super) async fn me(State(site): State<Site>, visitor: Visitor) -> Json<Me> {
    Json(visitor.told(&site))
}
