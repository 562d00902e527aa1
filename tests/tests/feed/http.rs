//! The HTTP API as a script asks it.

use std::process::Command;

use serde_json::Value;
use tasuki_tests::lab::Lab;

/// Asks a coordinator, with further headers; returns the code, the answer's headers and what it says.
pub(crate) fn ask(
    lab: &Lab,
    coordinator: &str,
    path: &str,
    wish: Option<&Value>,
    headers: &[&str],
) -> (u16, String, Value) {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-m", "40", "-D", "-", "--cacert"]).arg(lab.files().certificate());
    for header in headers {
        curl.args(["-H", header]);
    }
    if let Some(wish) = wish {
        curl.args(["--json", &wish.to_string()]);
    }
    let url = format!("https://{}/api/v1{path}", lab.files().feed(coordinator).unwrap());
    let said = curl.arg(&url).output().unwrap();
    assert!(said.status.success(), "{url}: {}", String::from_utf8_lossy(&said.stderr));
    let text = String::from_utf8(said.stdout).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    (code, head.to_owned(), serde_json::from_str(body).unwrap_or_default())
}

/// The same of an operator, by a token.
pub(crate) fn wish(lab: &Lab, coordinator: &str, act: &str, token: &str, wish: &Value, key: &str) -> (u16, Value) {
    let headers = [format!("Authorization: Bearer {token}"), format!("Idempotency-Key: {key}")];
    let headers = headers.each_ref().map(String::as_str);
    let (code, _, said) = ask(lab, coordinator, &format!("/clusters/{act}"), Some(wish), &headers);
    (code, said)
}
