//! Packets on their way in and out, beside the Socket.IO layer: how many a viewer may send, and what a refused one is told.
//!
//! The layer limits bytes and counts no packets, and what it tells a refused viewer is a message alone. So websockets are
//! handed to it through [`Frames`], and the bodies of polling pass here.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, Request, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use hyper::service::Service;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tasuki_schemas::talk::{Denial, Why};

use super::frames::Frames;

/// Bytes of a message, or of a polling body.
pub(super) const LARGEST: usize = 64 * 1024;
/// Packets that one connection may send in a second; what is more waits.
pub(super) const PER_SECOND: u32 = 100;
/// Packets of one polling body.
const IN_A_BODY: usize = 100;
/// Between two packets of Engine.IO 4 in a body.
const SEPARATOR: char = '\x1e';

/// A websocket, and the request that asked for it.
type Opened = (Frames<TokioIo<Upgraded>>, Request<()>);

/// Lets a request of a viewer through to the layer.
pub(super) async fn pass<E>(engine: E, request: Request<Body>, next: Next) -> Response
where
    E: Service<Opened> + Send + 'static,
    E::Future: Send,
    E::Response: Send,
    E::Error: Send,
{
    let legacy = request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair == "EIO=3"));
    let (mut parts, body) = request.into_parts();
    if let Some(upgrade) = parts.extensions.remove::<OnUpgrade>() {
        let asked = Request::from_parts(parts.clone(), ());
        // The layer examines the request and answers it; without the upgrade it does no more.
        let response = next.run(Request::from_parts(parts, body)).await;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            tokio::spawn(async move {
                let Ok(upgraded) = upgrade.await else { return };
                // It was examined before.
                drop(engine.call((Frames::new(TokioIo::new(upgraded)), asked)).await);
            });
        }
        return response;
    }
    if parts.method == Method::POST {
        let Ok(bytes) = to_bytes(body, LARGEST).await else {
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, "a body has 64 KiB at most");
        };
        let binary = parts.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/octet-stream");
        let count = count(&bytes, legacy, binary);
        if count > IN_A_BODY {
            return refuse(StatusCode::BAD_REQUEST, "a body has 100 packets at most");
        }
        // One connection sends one body after the other.
        let more = u32::try_from(count.saturating_sub(1)).unwrap_or(u32::MAX);
        tokio::time::sleep(Duration::from_secs(1) / PER_SECOND * more).await;
        return next.run(Request::from_parts(parts, bytes.into())).await;
    }
    tell(next.run(Request::from_parts(parts, body)).await, legacy).await
}

/// A refusal in the form that Engine.IO gives it.
fn refuse(code: StatusCode, why: &str) -> Response {
    (code, axum::Json(serde_json::json!({ "code": 3, "message": why }))).into_response()
}

/// Packets of a polling body; of a binary one at least as many as there are.
fn count(body: &[u8], legacy: bool, binary: bool) -> usize {
    match std::str::from_utf8(body) {
        Ok(text) if legacy && !binary => {
            let (packets, rest) = legacy_packets(text);
            packets.len() + usize::from(!rest.is_empty())
        }
        // Its lengths end with this byte.
        _ if legacy => body.iter().filter(|byte| **byte == 0xff).count(),
        Ok(text) => text.split(SEPARATOR).count(),
        Err(_) => body.split(|byte| *byte == SEPARATOR as u8).count(),
    }
}

/// The packets of a body of Engine.IO 3, each after its length in UTF-16 units, and what is left that is none.
fn legacy_packets(mut text: &str) -> (Vec<&str>, &str) {
    let mut packets = Vec::new();
    while let Some((length, rest)) = text.split_once(':')
        && let Ok(mut left) = length.parse::<usize>()
    {
        let end = rest.char_indices().find(|(_, next)| {
            let ends = left == 0;
            left = left.saturating_sub(next.len_utf16());
            ends
        });
        let (packet, rest) = rest.split_at(end.map_or(rest.len(), |(at, _)| at));
        packets.push(packet);
        text = rest;
    }
    (packets, text)
}

/// Lets the answer to a poll out.
async fn tell(response: Response, legacy: bool) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, usize::MAX).await else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let told = std::str::from_utf8(&bytes).ok().and_then(|text| with_fixes(text, legacy));
    let bytes = told.map_or(bytes, Bytes::from);
    if parts.headers.contains_key(CONTENT_LENGTH) {
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// A body with refusals that name their fix; `None` if there is no refusal in it.
fn with_fixes(body: &str, legacy: bool) -> Option<String> {
    let packets = if legacy { legacy_packets(body).0 } else { body.split(SEPARATOR).collect() };
    let told: Vec<Option<String>> = packets.iter().map(|packet| with_fix(packet)).collect();
    told.iter().any(Option::is_some).then(|| {
        let packets = told.into_iter().zip(packets).map(|(told, packet)| told.unwrap_or_else(|| packet.to_owned()));
        if legacy {
            packets.map(|packet| format!("{}:{packet}", packet.encode_utf16().count())).collect()
        } else {
            packets.collect::<Vec<_>>().join("\x1e")
        }
    })
}

#[derive(Deserialize)]
struct Said {
    message: String,
}

/// A refusal with its code, sentence and fix apart; `None` if the packet is none, or one in the layer's own words.
pub(super) fn with_fix(packet: &str) -> Option<String> {
    let refusal = packet.strip_prefix("44")?;
    let (place, said) = refusal.split_at(refusal.find('{')?);
    let Said { message } = serde_json::from_str(said).ok()?;
    let (code, rest) = message.split_once(": ")?;
    let (sentence, fix) = rest.rsplit_once("; ")?;
    let data = Why { code: code.to_owned(), sentence: sentence.to_owned(), fix: fix.to_owned() };
    Some(format!("44{place}{}", serde_json::to_string(&Denial { message, data }).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_tells_code_sentence_and_fix_apart_and_nothing_else_is_touched() {
        let refusal = r#"44{"message":"unauthorized: no token was shown; connect with \"auth\""}"#;
        let told = r#"44{"message":"unauthorized: no token was shown; connect with \"auth\"","data":{"code":"unauthorized","sentence":"no token was shown","fix":"connect with \"auth\""}}"#;
        assert_eq!(with_fix(refusal).as_deref(), Some(told));
        let elsewhere = with_fix(&refusal.replacen("44", "44/ops,", 1));
        assert_eq!(elsewhere, Some(told.replacen("44", "44/ops,", 1)));
        for other in [
            r#"44/x,{"message":"Invalid namespace"}"#,
            r#"42["note",{"text":"44{}"}]"#,
            r#"40{"sid":"a"}"#,
            "2",
            "",
            "44",
        ] {
            assert_eq!(with_fix(other), None);
        }
        let body = format!("2\x1e{refusal}\x1e6");
        assert_eq!(with_fixes(&body, false), Some(format!("2\x1e{told}\x1e6")));
        let body = format!("1:2{}:{refusal}2:€6", refusal.len());
        assert_eq!(with_fixes(&body, true), Some(format!("1:2{}:{told}2:€6", told.len())));
        assert_eq!((with_fixes("2\x1e6", false), with_fixes("nonsense", true)), (None, None));
    }

    #[test]
    fn packets_of_a_body_are_counted() {
        assert_eq!(count(b"3", false, false), 1);
        assert_eq!(count("3\x1e42[\"a\"]\x1e3".as_bytes(), false, false), 3);
        assert_eq!(count(b"1:36:42[\"\xf0\x9f\x98\x80", true, false), 2);
        assert_eq!(count(b"\x01\x02\xff\x04a\x00\x01\xff2", true, true), 2);
        assert_eq!(count(b"1:31:31:", true, false), 3);
        // What is no packet does not hide those before it.
        assert_eq!((count(b"abc", true, false), count(b"1:31:3abc", true, false)), (1, 3));
    }
}
