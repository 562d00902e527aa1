//! Who is at the other end: the address of a connection, or behind a proxy on this host what the proxy says.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use axum::http::{Extensions, HeaderMap};
use axum::middleware::Next;
use axum::response::Response;

const FORWARDED: &str = "x-forwarded-for";

/// The address that a request comes from.
#[derive(Clone, Copy, Debug)]
struct Peer(IpAddr);

/// The address that a request comes from, if it is known.
#[must_use]
pub fn peer(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<Peer>().map(|peer| peer.0)
}

/// Marks requests of the feed's own port: whatever they say of themselves, the connection tells.
pub(super) async fn direct(mut request: Request, next: Next) -> Response {
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| Peer(info.0.ip()));
    address.and_then(|address| request.extensions_mut().insert(address));
    next.run(request).await
}

/// Marks requests of the plain listener, where a proxy on this host tells who asks.
pub(super) async fn forwarded(mut request: Request, next: Next) -> Response {
    let address = last(request.headers()).map(Peer);
    address.and_then(|address| request.extensions_mut().insert(address));
    next.run(request).await
}

/// What the proxy itself saw stands last; before it stands what it was told.
fn last(headers: &HeaderMap) -> Option<IpAddr> {
    let value = headers.get_all(FORWARDED).iter().next_back()?.to_str().ok()?;
    value.rsplit(',').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_s_own_word_counts_and_no_other() {
        let of = |values: &[&'static str]| {
            last(&values.iter().map(|value| (FORWARDED.parse().unwrap(), value.parse().unwrap())).collect())
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["10.0.0.9"]), Some("10.0.0.9".parse().unwrap()));
        assert_eq!(of(&["1.2.3.4, 10.0.0.9"]), Some("10.0.0.9".parse().unwrap()));
        assert_eq!(of(&["1.2.3.4", "2001:db8::7"]), Some("2001:db8::7".parse().unwrap()));
        assert_eq!(of(&["unknown"]), None);
    }
}
