//! Operators and browsers may ask any coordinator: what only the leader can do is brought to it, and who logged in at one
//! is known to all.

use std::time::Duration;

use serde_json::json;
use tasuki_config::{Role, add_token};
use tasuki_schemas::gtid::Flavour;
use tasuki_tests::lab::config::{VIEWER_TOKEN, grant};
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::waiting::until_slowly;
use tasuki_tests::lab::{Lab, Options, drill};

use crate::http::{ask, wish};
use crate::viewer::{Viewer, with_token};

#[tokio::test]
async fn lab_whichever_coordinator_is_asked_the_leader_hands_over_once() {
    let lab = Lab::start(Kind::Loopback, &[Flavour::Mariadb], &Options::default()).await.unwrap();
    add_token(&lab.files().tokens(), &grant("ann", Role::Operator).unwrap(), "anns").unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let writers = lab.clusters[0].write(4, 200).unwrap();
    drill::acknowledged(&writers, 100).await.unwrap();
    let watching = Viewer::watch(&lab, &with_token("websocket"));
    let leader = watching.until("a leader", |line| line["value"]["leader"].as_str().map(str::to_owned));
    let other = if leader == "co1" { "co2" } else { "co1" };
    let old = lab.clusters[0].primary().await.unwrap();
    let tried = json!({ "reason": "only asking", "dry_run": true });
    let said = [&leader, other].map(|name| wish(&lab, name, "mariadb/switchover", "anns", &tried, "try"));
    assert!(said[0].0 == 200 && said[0] == said[1], "{said:?}");

    let asked = json!({ "reason": "new kernel" });
    let begun = std::time::Instant::now();
    let (code, done) = wish(&lab, other, "mariadb/switchover", "anns", &asked, "kernel-42");
    println!("handed over by way of the other coordinator in {:?}", begun.elapsed());
    assert!(code == 200 && done["lines"][0].as_str().unwrap().contains("took over from"), "{code}: {done}");
    let new = lab.clusters[0].primary().await.unwrap();
    assert_ne!(new, old);
    // Asked again it is answered as it was, and not done again.
    assert_eq!(wish(&lab, other, "mariadb/switchover", "anns", &asked, "kernel-42"), (200, done));
    assert_eq!(lab.clusters[0].primary().await.unwrap(), new);
    let act = watching.named("act");
    assert_eq!((&act["by"], &act["what"]), (&json!("ann"), &json!("switchover to the best: new kernel")));
    assert!(act["address"].as_str().unwrap().starts_with("127."), "{act}");

    // What stands in the way is told by either, and who may not ask is told so.
    let word = json!({ "incident": "00000000000000aa", "accept_loss": true, "reason": "why not" });
    for name in [&leader, other] {
        let (code, said) = wish(&lab, name, "mariadb/override", "anns", &word, "word");
        assert!(code == 409 && said["error"].as_str().unwrap().contains("no failover is called for"), "{code}: {said}");
        let primary = json!({ "node": new, "reason": "rows are missing", "dry_run": true });
        let (code, said) = wish(&lab, name, "mariadb/reclone", "anns", &primary, "clone");
        assert!(code == 409 && said["error"].as_str().unwrap().contains(new.as_str()), "{code}: {said}");
        let (code, _) = wish(&lab, name, "mariadb/override", VIEWER_TOKEN, &word, "word");
        assert_eq!(code, 403);
    }
    let nothing = json!({ "incident": "00000000000000aa", "reason": "why not" });
    assert_eq!(wish(&lab, other, "mariadb/override", "anns", &nothing, "nothing").0, 422);
    drill::all_there(&lab.clusters[0], &[&writers]).await.unwrap();
}

#[tokio::test]
async fn lab_who_logged_in_is_known_everywhere_and_after_a_restart_until_the_token_goes() {
    let mut lab = Lab::start(Kind::Loopback, &[Flavour::Mariadb], &Options::default()).await.unwrap();
    let file = lab.files().tokens();
    let before = std::fs::read_to_string(&file).unwrap();
    add_token(&file, &grant("ann", Role::Operator).unwrap(), "anns").unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let login = |coordinator: &str| {
        let (code, head, _) = ask(&lab, coordinator, "/login", Some(&json!({ "token": "anns" })), &[]);
        let cookie = head.split("\r\n").find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
        assert_eq!(code, 200);
        format!("Cookie: {}", cookie.split(';').next().unwrap())
    };
    let cookies = ["co1", "co2"].map(login);
    let known = |lab: &Lab, coordinator: &str, cookie: &str| {
        let (code, _, said) = ask(lab, coordinator, "/me", None, &[cookie]);
        (code, said["name"].as_str().unwrap_or_default().to_owned())
    };
    let yes = (200, "ann".to_owned());
    for (coordinator, cookie) in [("co1", 0), ("co1", 1), ("co2", 0), ("co2", 1)] {
        assert_eq!(known(&lab, coordinator, &cookies[cookie]), yes, "{coordinator} of {cookie}");
    }
    lab.coordinators[0].stop().await.unwrap();
    lab.coordinators[0].start().unwrap();
    let feed = lab.files().feed("co1").unwrap();
    until_slowly("co1", Duration::from_secs(10), async || {
        std::net::TcpStream::connect(feed)?;
        Ok(())
    })
    .await
    .unwrap();
    for cookie in &cookies {
        assert_eq!(known(&lab, "co1", cookie), yes);
    }
    // A viewer with the cookie alone is let in, at either.
    for coordinator in ["co1", "co2"] {
        let url = format!("https://{}", lab.files().feed(coordinator).unwrap());
        let (_, cookie) = cookies[0].split_once(": ").unwrap();
        let options = json!({ "transports": ["websocket"], "extraHeaders": { "cookie": cookie } });
        Viewer::at(&lab, &url, &options).named("snapshot");
    }
    std::fs::write(&file, before).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (coordinator, cookie) in [("co1", 0), ("co1", 1), ("co2", 0), ("co2", 1)] {
        assert_eq!(known(&lab, coordinator, &cookies[cookie]).0, 401);
    }
}
