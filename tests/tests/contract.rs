//! The wire vocabulary: its JSON Schemas are fresh, and one sample of everything decodes for ever.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are tests")]

#[path = "contract/asyncapi.rs"]
mod asyncapi;
#[path = "contract/errands.rs"]
mod errands;
#[path = "contract/grounds.rs"]
mod grounds;
#[path = "contract/observed.rs"]
mod observed;
#[path = "contract/openapi.rs"]
mod openapi;
#[path = "contract/samples.rs"]
mod samples;
#[path = "contract/typescript.rs"]
mod typescript;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use schemars::schema_for;
use serde_json::Value;
use tasuki_schemas::envelope::{Opened, Opener, Rejected, Sealer};
use tasuki_schemas::event::{Event, PublicEvent, PublicId, PublicSnapshot, PublicTelemetry, Snapshot, Telemetry};
use tasuki_schemas::id::{Boot, BootId, ClusterName, Nonce, ProgramId};
use tasuki_schemas::message::{Message, Role};
use tasuki_schemas::reclone::{DonorAsk, DonorEnd, DonorOffer};
use tasuki_schemas::record::Record;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("schemas").join(name)
}

fn updating() -> bool {
    std::env::var_os("UPDATE").is_some()
}

fn schemas() -> Vec<(&'static str, Value)> {
    vec![
        ("message", serde_json::to_value(schema_for!(Message)).unwrap()),
        ("event", serde_json::to_value(schema_for!(Event)).unwrap()),
        ("snapshot", serde_json::to_value(schema_for!(Snapshot)).unwrap()),
        ("record", serde_json::to_value(schema_for!(Record)).unwrap()),
        ("public_event", serde_json::to_value(schema_for!(PublicEvent)).unwrap()),
        ("public_snapshot", serde_json::to_value(schema_for!(PublicSnapshot)).unwrap()),
        ("telemetry", serde_json::to_value(schema_for!(Telemetry)).unwrap()),
        ("public_telemetry", serde_json::to_value(schema_for!(PublicTelemetry)).unwrap()),
    ]
}

/// Every generated file, and its text.
fn documents() -> Vec<(String, String)> {
    let documents = [("openapi", openapi::document()), ("asyncapi", asyncapi::document())];
    let text =
        |(name, value): (&str, Value)| (format!("{name}.json"), serde_json::to_string_pretty(&value).unwrap() + "\n");
    let json = schemas().into_iter().chain(documents).map(text);
    json.chain([("tasuki.d.ts".to_owned(), typescript::declarations())]).collect()
}

#[test]
fn the_generated_schemas_are_fresh() {
    for (name, text) in documents() {
        let path = folder("generated").join(name);
        if updating() {
            fs::create_dir_all(folder("generated")).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(kept, text, "{} is stale: UPDATE=1 writes it", path.display());
    }
}

/// A golden file is written once, and never again: `UPDATE=1` adds missing ones only.
#[test]
fn every_sample_has_a_golden_file_that_it_still_equals() {
    fs::create_dir_all(folder("golden/v1")).unwrap();
    for (name, sample) in samples::all() {
        let path = folder("golden/v1").join(format!("{name}.json"));
        if updating() && !path.exists() {
            fs::write(&path, serde_json::to_string_pretty(&sample).unwrap() + "\n").unwrap();
        }
        let golden = fs::read_to_string(&path).unwrap_or_else(|_| panic!("{} is missing", path.display()));
        let golden: Value = serde_json::from_str(&golden).unwrap();
        assert_eq!(golden, sample, "{name} is written differently now: readers of version 1 would not understand it");
    }
}

#[test]
fn every_golden_file_decodes_and_says_the_same() {
    let mut seen = 0;
    for entry in fs::read_dir(folder("golden/v1")).unwrap() {
        let path = entry.unwrap().path();
        let golden: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let again = match name {
            "record" => serde_json::to_value(serde_json::from_value::<Record>(golden.clone()).unwrap()),
            "snapshot" => serde_json::to_value(serde_json::from_value::<Snapshot>(golden.clone()).unwrap()),
            "telemetry" => serde_json::to_value(serde_json::from_value::<Telemetry>(golden.clone()).unwrap()),
            "donor_offer" => serde_json::to_value(serde_json::from_value::<DonorOffer>(golden.clone()).unwrap()),
            "donor_end" => serde_json::to_value(serde_json::from_value::<DonorEnd>(golden.clone()).unwrap()),
            name if name.starts_with("donor_ask") => {
                serde_json::to_value(serde_json::from_value::<DonorAsk>(golden.clone()).unwrap())
            }
            // Its bytes are compared by a test of its own.
            "envelope" => continue,
            _ => serde_json::to_value(serde_json::from_value::<Message>(golden.clone()).unwrap()),
        };
        assert_eq!(again.unwrap(), golden, "{}", path.display());
        seen += 1;
    }
    assert!(seen >= 40, "{seen} golden files");
}

/// The signature covers the bytes themselves: another order of fields, or another form of a number, is another envelope.
#[test]
fn an_envelope_is_sealed_to_the_same_bytes_and_opens() {
    let key = SigningKey::from_bytes(&[7; 32]);
    let (cluster, sender, receiver) = ("main".parse().unwrap(), "db1".parse().unwrap(), "db2".parse().unwrap());
    let boot = Boot { start: 3, random: BootId(0xab) };
    let message = Message::Echo { nonce: Nonce(5) };
    let keys = BTreeMap::from([(ProgramId::clone(&sender), (Role::Node, key.verifying_key()))]);
    let opener = Opener::new(ClusterName::clone(&cluster), "00".repeat(32), ProgramId::clone(&receiver), keys);
    let mut sealer = Sealer::new(key, cluster, "00".repeat(32), sender.clone(), boot);
    let sealed = sealer.seal(Some((&receiver, None)), &message).unwrap();

    let path = folder("golden/v1").join("envelope.json");
    if updating() && !path.exists() {
        fs::write(&path, format!("{sealed}\n")).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_else(|_| panic!("{} is missing", path.display()));
    assert_eq!(golden.trim_end(), sealed, "what this version signs is no longer what version 1 signed");
    let opened = Opened { sender, target: Some(receiver), boot, sequence: 1, same_configuration: true, message };
    assert_eq!(opener.open(golden.trim_end()), Ok(opened));
    let forged = golden.replacen("\"sequence\":1", "\"sequence\":2", 1);
    assert!(forged != golden && matches!(opener.open(&forged), Err(Rejected::Forged(_))));
    // On a connection of the sender's own its key has vouched for what it says; nobody else's does.
    let said = |peer: &str| opener.open_from(Some(&peer.parse().unwrap()), &forged);
    assert!(matches!(said("db2"), Err(Rejected::Forged(_))));
    assert_eq!(said("db1").unwrap().sequence, 2);
}

#[test]
fn readers_ignore_fields_that_they_do_not_know() {
    let mut echo = serde_json::json!({ "type": "echo", "nonce": "0000000000000005" });
    echo["of_a_later_version"] = Value::from(7);
    assert!(serde_json::from_value::<Message>(echo).is_ok());
}

/// Every variant that the schema knows by a tag occurs in some golden file.
#[test]
fn no_variant_is_without_a_sample() {
    let mut wanted = BTreeSet::new();
    for (_, schema) in schemas() {
        tags_of_schema(&schema, &mut wanted);
    }
    let mut found = BTreeSet::new();
    for sample in samples::all().values() {
        tags_of_sample(sample, &mut found);
    }
    // `state` and `why` are tags of several types, so that a sample of one would pass for another's.
    let shared = |tag: &str| tag.starts_with("state=") || tag.starts_with("why=");
    let missing: Vec<&String> = wanted.difference(&found).filter(|tag| !shared(tag)).collect();
    assert!(wanted.len() > 30, "{wanted:?}");
    assert!(missing.is_empty(), "no sample of {missing:?}");
}

/// Whatever text the public gets is one of the closed words of its schema, or the cluster's name: no host, address, SQL
/// or GTID can be among it.
#[test]
fn the_public_gets_no_text_but_words_of_its_schema() {
    let (mut words, mut seen) = (BTreeSet::new(), 0);
    words_of_schema(&serde_json::to_value(schema_for!(PublicEvent)).unwrap(), &mut words);
    words_of_schema(&serde_json::to_value(schema_for!(PublicSnapshot)).unwrap(), &mut words);
    assert!(words.len() > 40 && words.iter().all(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '_')));
    for entry in fs::read_dir(folder("golden/v1")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let shown = match path.file_stem().unwrap().to_str().unwrap() {
            "snapshot" => serde_json::to_value(serde_json::from_str::<Snapshot>(&text).unwrap().public()).unwrap(),
            name if name.starts_with("event_") => {
                let Message::Event(event) = serde_json::from_str(&text).unwrap() else { panic!("{name} is no event") };
                let Some(shown) = event.public() else {
                    assert_eq!(name, "event_position");
                    continue;
                };
                let shown = serde_json::to_value(shown).unwrap();
                assert_eq!(shown["event"], event.body.name());
                shown
            }
            _ => continue,
        };
        let mut texts = Vec::new();
        texts_of(&shown, &mut texts);
        for found in texts {
            let place = found.parse::<PublicId>().is_ok_and(|id| id.to_string() == found);
            assert!(
                place || found == "main" || words.contains(&found),
                "{}: the public gets {found:?}",
                path.display()
            );
        }
        seen += 1;
    }
    assert!(seen > 40, "{seen}");
}

/// The values of `const` and `enum`.
fn words_of_schema(schema: &Value, words: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            let closed = map.get("enum").and_then(Value::as_array).into_iter().flatten().chain(map.get("const"));
            words.extend(closed.filter_map(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| words_of_schema(value, words));
        }
        Value::Array(list) => list.iter().for_each(|value| words_of_schema(value, words)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Every text of a value.
fn texts_of(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Object(map) => map.values().for_each(|value| texts_of(value, texts)),
        Value::Array(list) => list.iter().for_each(|value| texts_of(value, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// `tag=value` of every tagged variant: `{"properties": {"type": {"const": "echo"}}}`.
fn tags_of_schema(schema: &Value, tags: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(properties) = map.get("properties").and_then(Value::as_object) {
                for (tag, property) in properties {
                    if let Some(value) = property.get("const").and_then(Value::as_str) {
                        tags.insert(format!("{tag}={value}"));
                    }
                }
            }
            map.values().for_each(|value| tags_of_schema(value, tags));
        }
        Value::Array(list) => list.iter().for_each(|value| tags_of_schema(value, tags)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn tags_of_sample(sample: &Value, tags: &mut BTreeSet<String>) {
    match sample {
        Value::Object(map) => {
            for (tag, value) in map {
                if let Some(text) = value.as_str() {
                    tags.insert(format!("{tag}={text}"));
                }
                tags_of_sample(value, tags);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| tags_of_sample(value, tags)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
