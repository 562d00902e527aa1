//! Decisions as reviewed text tables, readable by a DBA. `UPDATE=1` writes what the coordinator does now; review it.
//! `STORY=name` tells one alone.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a story that cannot be read fails its test")]

#[path = "stories/acts.rs"]
mod acts;
#[path = "stories/hands.rs"]
mod hands;
#[path = "stories/passing.rs"]
mod passing;
#[path = "stories/puppet.rs"]
mod puppet;
#[path = "stories/script.rs"]
mod script;
#[path = "stories/server.rs"]
mod server;
#[path = "stories/words.rs"]
mod words;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use script::Story;
use tasuki_schemas::event::Diagnosis;

/// Of a coordinator that is woken every 50 ms while something is wrong, so that it may miss one report of its nodes.
const LATE_MS: u64 = 250;

#[test]
fn every_story_ends_as_it_is_told() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("stories");
    let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    if let Ok(name) = std::env::var("STORY") {
        paths.retain(|path| path.file_stem().is_some_and(|stem| stem == name.as_str()));
    }
    assert!(!paths.is_empty(), "the stories are in {}", folder.display());
    let (mut differing, mut late) = (Vec::new(), Vec::new());
    // What holds before anybody was heard is no news.
    let mut told = BTreeSet::from(["unborn".to_owned()]);
    let alone = std::env::var_os("STORY").is_some();
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let (script, expected) = text.split_once("----\n").unwrap_or((&text, ""));
        let mut story = Story::parse(script);
        let happened = story.run();
        told.append(&mut story.diagnoses);
        let mut asleep = Story::parse(script);
        asleep.sleeps = true;
        late.extend(lateness(&happened, &asleep.run()).map(|late| format!("{}: {late}", path.display())));
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, format!("{script}----\n{happened}")).unwrap();
        } else if happened != expected {
            differing.push(format!("{}:\n--- expected\n{expected}--- happened\n{happened}", path.display()));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    assert!(late.is_empty(), "asleep until its next wake, the coordinator is late:\n{}", late.join("\n"));
    let untold: Vec<String> = catalogue().into_iter().filter(|tag| !told.contains(tag)).collect();
    assert!(alone || untold.is_empty(), "no story tells {untold:?}");
}

/// The first thing that a coordinator does otherwise, or much later, when it sleeps until its next wake.
fn lateness(awake: &str, asleep: &str) -> Option<String> {
    let lines = |text: &str| -> Vec<(u64, String)> {
        let lines = text.lines().map(|line| line.trim_start().split_once(' ').unwrap());
        // How old a report is depends on the moment when it is told, and incidents are numbered by chance.
        let alike = |what: &str| {
            let word = |word: &str| match word.trim_matches(['(', ':']) {
                number if number.parse::<u64>().is_ok() => "#".to_owned(),
                id if id.len() == 16 && id.chars().all(|letter| letter.is_ascii_hexdigit()) => "#".to_owned(),
                _ => word.to_owned(),
            };
            what.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
        };
        lines.map(|(at, what)| (at.parse().unwrap(), alike(what))).collect()
    };
    let mut rest = lines(asleep);
    for (at, what) in lines(awake) {
        let Some(found) = rest.iter().position(|(_, other)| *other == what) else {
            return Some(format!("at {at} only awake: {what}"));
        };
        let (slept, _) = rest.remove(found);
        if slept.abs_diff(at) > LATE_MS {
            return Some(format!("at {at} awake, at {slept} asleep: {what}"));
        }
    }
    rest.first().map(|(at, what)| format!("at {at} only asleep: {what}"))
}

/// The tags of all diagnoses, by their schema.
fn catalogue() -> Vec<String> {
    let schema = serde_json::to_value(schemars::schema_for!(Diagnosis)).unwrap();
    let variants = schema["oneOf"].as_array().unwrap().iter();
    variants.map(|variant| variant["properties"]["diagnosis"]["const"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_catalogue_is_documented_whole() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../ARCHITECTURE.md")).unwrap();
    let missing: Vec<String> = catalogue().into_iter().filter(|tag| !text.contains(&format!("| `{tag}` |"))).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md has no row for {missing:?}");
}
