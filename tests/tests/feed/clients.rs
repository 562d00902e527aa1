//! Official clients of three generations and python-socketio, with a private authority, over wss and https polling.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tasuki_config::{Role, add_token};
use tasuki_schemas::gtid::Flavour;
use tasuki_tests::lab::config::grant;
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::{Lab, Options, tools};

use crate::viewer::{Viewer, showing, source};

/// python-socketio, installed once per machine from the checked-in list.
fn python() -> (PathBuf, PathBuf) {
    let folder = tools::cache().unwrap().join("feed-python");
    let list = std::fs::read(source().join("requirements.txt")).unwrap();
    let python = tools::program("python3").unwrap();
    if std::fs::read(folder.join("requirements.txt")).unwrap_or_default() != list {
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--upgrade", "--only-binary", ":all:", "--target"]).arg(&folder);
        let done = pip.arg("-r").arg(source().join("requirements.txt")).status().unwrap();
        assert!(done.success(), "pip failed: is the Python package index reached, and python3-pip installed?");
        std::fs::write(folder.join("requirements.txt"), list).unwrap();
    }
    (python, folder)
}

fn by_python(lab: &Lab, options: &Value) -> Viewer {
    let (python, folder) = python();
    let mut command = Command::new(python);
    command.env("PYTHONPATH", folder).arg(source().join("viewer.py"));
    command.arg(format!("https://{}", lab.files().feed("co1").unwrap()));
    Viewer::run(command.arg(lab.files().certificate()).arg(options.to_string()))
}

/// Connects, follows, says something and is answered; comes back and is told what it missed.
fn follows_and_comes_back(connect: impl Fn(Option<&str>) -> Viewer, by: &str) {
    let mut first = connect(None);
    let snapshot = first.named("snapshot");
    assert_eq!(snapshot["cluster"], "mariadb", "{by}");
    first.named("telemetry");
    let said = first.ask(&json!(["note", { "cluster": "mariadb", "text": format!("by {by}") }]));
    assert_eq!(said["ok"], true, "{by}: {said}");
    drop(first);
    let missed = connect(Some(snapshot["id"].as_str().unwrap())).until("what was missed", |line| {
        let note = line["name"] == "note" && line["value"]["text"] == format!("by {by}");
        note.then(|| line["value"]["id"].clone())
    });
    assert_eq!(missed, said["id"], "{by}");
}

#[tokio::test]
async fn lab_clients_of_three_generations_and_of_python_follow_and_come_back() {
    let lab = Lab::start(Kind::Loopback, &[Flavour::Mariadb], &Options::default()).await.unwrap();
    // A token for each, since five notes a minute are taken from one.
    let token = |who: &str| format!("the-token-of-{who}");
    for transport in ["websocket", "polling"] {
        for who in ["socket.io-client", "socket.io-client-3", "socket.io-client-2", "python"] {
            let name = format!("{transport}-{}", who.replace('.', "-"));
            add_token(&lab.files().tokens(), &grant(&name, Role::Viewer).unwrap(), &token(&name)).unwrap();
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    for transport in ["websocket", "polling"] {
        for client in ["socket.io-client", "socket.io-client-3", "socket.io-client-2"] {
            let connect = |since: Option<&str>| {
                let token = token(&format!("{transport}-{}", client.replace('.', "-")));
                let mut options = showing(transport, &token);
                options["client"] = json!(client);
                if client.ends_with("-2") {
                    // It knows no `auth`.
                    let since = since.map_or(String::new(), |id| format!("mariadb:{id}"));
                    options["query"] = json!({ "token": token, "since": since });
                    options["auth"].take();
                } else if let Some(id) = since {
                    options["auth"]["since"] = json!({ "mariadb": id });
                }
                Viewer::watch(&lab, &options)
            };
            follows_and_comes_back(connect, &format!("{client} over {transport}"));
        }
        let connect = |since: Option<&str>| {
            let mut options = showing(transport, &token(&format!("{transport}-python")));
            if let Some(id) = since {
                options["auth"]["since"] = json!({ "mariadb": id });
            }
            by_python(&lab, &options)
        };
        follows_and_comes_back(connect, &format!("python over {transport}"));
    }
    are_refused_with_code_sentence_and_fix(&lab);
}

/// Whoever is refused is told why in parts as well, which the official clients show as the error's `data`.
fn are_refused_with_code_sentence_and_fix(lab: &Lab) {
    let told = json!({
        "code": "unauthorized", "sentence": "the token is not known here",
        "fix": "ask for one that is in the coordinator's token file",
    });
    let refused = |viewer: Viewer, by: &str| {
        let line = viewer.until("connect_error", |line| (line["name"] == "connect_error").then(|| line.clone()));
        assert_eq!(line["data"], told, "{by}");
        let message =
            format!("unauthorized: {}; {}", told["sentence"].as_str().unwrap(), told["fix"].as_str().unwrap());
        assert_eq!(line["value"], message, "{by}");
    };
    for transport in ["websocket", "polling"] {
        for client in ["socket.io-client", "socket.io-client-3", "socket.io-client-2"] {
            let mut options = showing(transport, "wrong");
            options["client"] = json!(client);
            if client.ends_with("-2") {
                options["query"] = options["auth"].take();
            }
            refused(Viewer::watch(lab, &options), &format!("{client} over {transport}"));
        }
        refused(by_python(lab, &showing(transport, "wrong")), &format!("python over {transport}"));
    }
}
