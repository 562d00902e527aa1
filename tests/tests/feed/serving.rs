//! How the feed is reached: its certificate, and a proxy on the same host.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use tasuki_config::{Role, add_token};
use tasuki_schemas::gtid::Flavour;
use tasuki_tests::lab::config::grant;
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::waiting::until_slowly;
use tasuki_tests::lab::{Lab, Options};

use crate::viewer::{Viewer, showing, with_token};

/// Whether the feed shows a certificate of this authority.
fn shows(lab: &Lab, authority: &Path) -> bool {
    let feed = lab.files().feed("co1").unwrap();
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-m", "5", "-o", "/dev/null", "--cacert"]).arg(authority).arg(format!("https://{feed}/healthz"));
    curl.output().unwrap().status.success()
}

#[tokio::test]
async fn lab_a_new_certificate_counts_at_once_and_disturbs_nobody() {
    let lab = Lab::start(Kind::Loopback, &[Flavour::Mariadb], &Options::default()).await.unwrap();
    let viewer = Viewer::watch(&lab, &with_token("websocket"));
    viewer.named("snapshot");
    let (certificate, key) = (lab.files().certificate(), lab.files().private_key());
    let [old, new] = ["old.crt", "new.crt"].map(|name| certificate.with_file_name(name));
    std::fs::copy(&certificate, &old).unwrap();
    let names = vec![lab.files().feed("co1").unwrap().ip().to_string()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    std::fs::write(&new, made.cert.pem()).unwrap();
    // A certificate without its key changes nothing.
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(shows(&lab, &old) && !shows(&lab, &new));
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    until_slowly("the new certificate", Duration::from_secs(5), async || {
        anyhow::ensure!(shows(&lab, &new), "it is not shown yet");
        Ok(())
    })
    .await
    .unwrap();
    assert!(!shows(&lab, &old));
    let seen = viewer.during(Duration::from_secs(2));
    assert!(
        seen.iter().any(|line| line["name"] == "telemetry") && !seen.iter().any(|line| line["name"] == "disconnect")
    );
    let log = std::fs::read_to_string(lab.coordinators[0].log()).unwrap();
    assert!(log.contains("the changed certificate cannot be used, and the one before stays"), "it is not told");
}

#[tokio::test]
async fn lab_a_proxy_on_this_host_needs_no_tls_and_is_believed_whom_it_stands_for() {
    let mut lab = Lab::start(Kind::Loopback, &[Flavour::Mariadb], &Options::default()).await.unwrap();
    add_token(&lab.files().tokens(), &grant("ann", Role::Operator).unwrap(), "anns").unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = lab.files().local("co1");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}plain = \"{free}\"\n")).unwrap();
    lab.coordinators[0].stop().await.unwrap();
    lab.coordinators[0].start().unwrap();
    let watching = Viewer::at(&lab, &format!("https://{}", lab.files().feed("co2").unwrap()), &with_token("websocket"));
    watching.named("snapshot");
    until_slowly("the plain listener", Duration::from_secs(10), async || {
        std::net::TcpStream::connect(free)?;
        Ok(())
    })
    .await
    .unwrap();
    let direct = format!("https://{}", lab.files().feed("co1").unwrap());
    for (url, seen) in [(format!("http://{free}"), "10.9.8.7"), (direct, "127.0.0.1")] {
        let mut options = showing("websocket", "anns");
        options["extraHeaders"] = json!({ "x-forwarded-for": "1.2.3.4, 10.9.8.7" });
        let mut ann = Viewer::at(&lab, &format!("{url}/ops"), &options);
        ann.named("connect");
        let done = ann.ask(&json!(["pause", { "cluster": "mariadb", "for_s": 60, "reason": "disks" }]));
        assert_eq!(done["ok"], true, "{done}");
        assert_eq!(watching.named("act")["address"], seen);
    }
}
