//! Decisions as reviewed text tables, readable by a DBA. `UPDATE=1` writes what the coordinator does now; review it.
//! `STORY=name` tells one alone.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a story that cannot be read fails its test")]

#[path = "stories/acts.rs"]
mod acts;
#[path = "stories/puppet.rs"]
mod puppet;
#[path = "stories/script.rs"]
mod script;
#[path = "stories/server.rs"]
mod server;
#[path = "stories/words.rs"]
mod words;

use std::fs;
use std::path::Path;

use script::Story;

#[test]
fn every_story_ends_as_it_is_told() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("stories");
    let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    if let Ok(name) = std::env::var("STORY") {
        paths.retain(|path| path.file_stem().is_some_and(|stem| stem == name.as_str()));
    }
    assert!(!paths.is_empty(), "the stories are in {}", folder.display());
    let mut differing = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let (script, expected) = text.split_once("----\n").unwrap_or((&text, ""));
        let happened = Story::parse(script).run();
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, format!("{script}----\n{happened}")).unwrap();
        } else if happened != expected {
            differing.push(format!("{}:\n--- expected\n{expected}--- happened\n{happened}", path.display()));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}
