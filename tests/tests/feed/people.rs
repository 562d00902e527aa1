//! What people say and do over the feed.

use serde_json::json;
use tasuki_config::{Role, add_token};
use tasuki_schemas::gtid::Flavour;
use tasuki_tests::lab::config::grant;
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::{Lab, Options, drill};

use crate::viewer::{Viewer, showing, with_token};

#[tokio::test]
async fn lab_a_note_reaches_everybody_and_an_operators_act_is_told_with_its_name() {
    let lab = Lab::start(Kind::Loopback, &[Flavour::Mariadb], &Options::default()).await.unwrap();
    for (name, role, token) in [("ann", Role::Operator, "anns"), ("passer", Role::Public, "everybodys")] {
        add_token(&lab.files().tokens(), &grant(name, role).unwrap(), token).unwrap();
    }
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let urls = ["co1", "co2"].map(|name| format!("https://{}", lab.files().feed(name).unwrap()));
    // One of the two coordinators does not lead: what is said there goes by way of the other.
    let watching = urls.each_ref().map(|url| Viewer::at(&lab, url, &with_token("websocket")));
    for viewer in &watching {
        viewer.named("snapshot");
    }
    for url in &urls {
        let mut speaker = Viewer::at(&lab, url, &with_token("polling"));
        speaker.named("snapshot");
        let said = speaker.ask(&json!(["note", { "cluster": "mariadb", "text": "<b>we look at it</b>" }]));
        assert_eq!(said["ok"], true, "{said}");
        for viewer in &watching {
            let note = viewer.named("note");
            assert_eq!((&note["text"], &note["by"]), (&json!("<b>we look at it</b>"), &json!("viewer")));
            assert_eq!(note["id"], said["id"]);
        }
    }
    let mut passer = Viewer::at(&lab, &urls[0], &showing("websocket", "everybodys"));
    passer.named("snapshot");
    let refused = passer.ask(&json!(["note", { "cluster": "mariadb", "text": "hello" }]));
    assert!(refused["error"].as_str().unwrap().starts_with("forbidden: a token of role public"), "{refused}");

    let ops = urls.each_ref().map(|url| format!("{url}/ops"));
    let refused = Viewer::at(&lab, &ops[0], &with_token("websocket")).named("connect_error");
    assert!(refused.as_str().unwrap().starts_with("forbidden: /ops is for operators"), "{refused}");
    let mut ann = Viewer::at(&lab, &ops[1], &showing("polling", "anns"));
    ann.named("connect");
    let done = ann.ask(&json!(["pause", { "cluster": "mariadb", "for_s": 60, "reason": "disks" }]));
    assert!(done["ok"] == true && done["lines"][0].as_str().unwrap().contains("paused by ann: disks"), "{done}");
    for viewer in &watching {
        let act = viewer.named("act");
        assert_eq!((&act["by"], &act["what"]), (&json!("ann"), &json!("pause for 60 s: disks")));
        assert!(act["address"].as_str().unwrap().starts_with("127."), "{act}");
        viewer.named("pause");
    }
    let act = passer.named("act");
    assert!(act["by"].is_null() && act["address"].is_null(), "{act}");
    let refused = ann.ask(&json!(["switchover", { "cluster": "mariadb" }]));
    assert!(refused["error"].as_str().unwrap().contains("bad_request: missing field `reason`"), "{refused}");
    let refused = ann.ask(&json!(["switchover", { "cluster": "mariadb", "reason": " " }]));
    assert!(refused["error"].as_str().unwrap().contains("bad_request: reason: write 1 to 200 characters"), "{refused}");
    let refused = ann.ask(&json!(["pause", { "cluster": "shop", "for_s": 60, "reason": "disks" }]));
    assert!(refused["error"].as_str().unwrap().starts_with("unknown_cluster"), "{refused}");
    assert_eq!(ann.ask(&json!(["resume", { "cluster": "mariadb" }]))["ok"], true);
    assert_eq!(watching[0].named("act")["what"], "resume");
    acts(&mut ann);
    let mut other = Viewer::at(&lab, &ops[0], &showing("websocket", "anns"));
    other.named("connect");
    let wish = json!({ "cluster": "mariadb", "dry_run": true, "reason": "only asking" });
    let answers = [&mut ann, &mut other].map(|desk| desk.ask(&json!(["switchover", wish])));
    assert!(answers.iter().all(|answer| answer["ok"] == true), "{answers:?}");
    assert_eq!(answers[0], answers[1], "the coordinator that leads answers, whoever is asked");
}

/// Every act of the API is there, and what is written wrong is not done.
fn acts(ann: &mut Viewer) {
    let refused = ann.ask(&json!(["switchover", { "cluster": "mariadb", "reason": "typing", "dryrun": true }]));
    assert!(refused["error"].as_str().unwrap().starts_with("bad_request: unknown field `dryrun`"), "{refused}");
    let refused = ann.ask(&json!(["failover", { "reason": "which?" }]));
    assert!(refused["error"].as_str().unwrap().starts_with("bad_request: cluster: name one"), "{refused}");
    let tried = ann.ask(&json!(["pause", { "cluster": "mariadb", "for_s": 60, "reason": "disks", "dry_run": true }]));
    assert_eq!(tried["lines"][0], "no failover would begin for 60 s; nothing was changed", "{tried}");
    for act in [
        json!(["failover", { "cluster": "mariadb", "reason": "asking", "dry_run": true }]),
        json!(["reclone", { "cluster": "mariadb", "node": "db1", "reason": "asking", "dry_run": true }]),
        json!(["override", { "cluster": "mariadb", "incident": "00c0ffee00c0ffee", "accept_loss": true,
            "reason": "asking", "dry_run": true }]),
        json!(["cancel-switchover", { "cluster": "mariadb" }]),
    ] {
        let refused = ann.ask(&act);
        assert!(refused["error"].as_str().is_some_and(|error| error.starts_with("refused: ")), "{act}: {refused}");
    }
    let at = drill::ahead(3600).unwrap();
    let planned = ann.ask(&json!(["switchover", { "cluster": "mariadb", "at": at, "reason": "kernel" }]));
    assert!(planned["lines"][0].as_str().is_some_and(|line| line.ends_with(", is planned")), "{planned}");
    let given_up = ann.ask(&json!(["cancel-switchover", { "cluster": "mariadb" }]));
    assert_eq!(given_up["ok"], true, "{given_up}");
}
