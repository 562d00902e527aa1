//! The feed as an AsyncAPI document: its channels by hand, its messages from the types that they are made of.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};
use tasuki_schemas::api::{
    CancelSwitchoverWish, FailoverWish, OverrideWish, PauseWish, RecloneWish, ResumeWish, SwitchoverWish,
};
use tasuki_schemas::event::{Event, PublicEvent, PublicSnapshot, PublicTelemetry, Snapshot, Telemetry};
use tasuki_schemas::talk::{Answer, Closing, Denial, NoteAsked, Shown};

/// Makes the schema of what is asked for.
type Asked = fn(&mut SchemaGenerator) -> Value;

/// The acts of `/ops`, and what each takes.
const ACTS: [(&str, Asked); 7] = [
    ("switchover", of_cluster::<SwitchoverWish>),
    ("cancel-switchover", of_cluster::<CancelSwitchoverWish>),
    ("failover", of_cluster::<FailoverWish>),
    ("override", of_cluster::<OverrideWish>),
    ("reclone", of_cluster::<RecloneWish>),
    ("pause", of_cluster::<PauseWish>),
    ("resume", of_cluster::<ResumeWish>),
];

/// The document.
pub(crate) fn document() -> Value {
    let mut of =
        SchemaSettings::draft07().with(|it| it.definitions_path = "/components/schemas".into()).into_generator();
    let events = events(&mut of);
    let names: Vec<String> = events.keys().cloned().collect();
    let mut messages = events;
    messages.extend(said(&mut of));
    let schemas = of.take_definitions(true);
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tasuki's live feed",
            "version": "1",
            "description": "What a coordinator and its viewers say to each other over Socket.IO (protocol 5 over Engine.IO 4; clients of 2.x over Engine.IO 3). A message's name is the event's name. The HTTP API of the same port is described by OpenAPI.",
            "license": { "name": "Apache-2.0" },
        },
        "defaultContentType": "application/json",
        "servers": { "coordinator": {
            "host": "{coordinator}",
            "pathname": "/socket.io/",
            "protocol": "wss",
            "protocolVersion": "Socket.IO 5",
            "description": "Websockets, and long polling over https at the same place.",
            "variables": { "coordinator": { "default": "localhost:3000", "description": "A coordinator's host and port." } },
            "security": [{ "$ref": "#/components/securitySchemes/token" }, { "$ref": "#/components/securitySchemes/bearer" }],
        } },
        "channels": channels(&names),
        "operations": operations(&names),
        "components": {
            "messages": messages,
            "schemas": schemas,
            "securitySchemes": {
                "token": { "type": "userPassword", "description": "A token in `auth` (3.x and 4.x), or in the query (2.x)." },
                "bearer": { "type": "http", "scheme": "bearer", "description": "A token in the header `Authorization`." },
            },
        },
    })
}

/// One message of each event: whole for tokens that see everything, with less for the public.
fn events(of: &mut SchemaGenerator) -> Map<String, Value> {
    let (whole, public) = (of.subschema_for::<Event>(), of.subschema_for::<PublicEvent>());
    let names = |schema: &str| -> Vec<(String, Value)> {
        let variants = of.definitions()[schema]["oneOf"].as_array().unwrap().iter();
        let name = |it: &Value| it["properties"]["event"]["const"].as_str().unwrap().to_owned();
        variants.map(|it| (name(it), it["description"].clone())).collect()
    };
    let shown = names("PublicEvent");
    let message = |(name, about): (String, Value)| {
        let named =
            |seen: &schemars::Schema| json!({ "allOf": [seen, { "properties": { "event": { "const": name } } }] });
        let public = shown.iter().any(|(shown, _)| *shown == name).then(|| named(&public));
        let seen: Vec<Value> = std::iter::once(named(&whole)).chain(public).collect();
        let payload = json!({ "anyOf": seen });
        (name.clone(), json!({ "name": name, "summary": about, "payload": payload }))
    };
    // Telemetry comes together, under a name of its own.
    let alone = names("Event").into_iter().filter(|(name, _)| !["health", "position"].contains(&name.as_str()));
    alone.map(message).collect()
}

/// What else is said.
fn said(of: &mut SchemaGenerator) -> Map<String, Value> {
    let mut messages = Map::new();
    let mut add = |key: &str, name: &str, summary: &str, payload: Value| {
        messages.insert(key.to_owned(), json!({ "name": name, "summary": summary, "payload": payload }));
    };
    let seen = json!({ "anyOf": [of.subschema_for::<Snapshot>(), of.subschema_for::<PublicSnapshot>()] });
    add("snapshot", "snapshot", "A cluster as it is: the first thing that a viewer gets of it.", seen);
    let together = json!({ "anyOf": [of.subschema_for::<Telemetry>(), of.subschema_for::<PublicTelemetry>()] });
    add("telemetry", "telemetry", "What nodes reported within a heartbeat; none of it is history.", together);
    add("closing", "closing", "Why the coordinator lets go, right before it does.", schema::<Closing>(of));
    add(
        "shown",
        "CONNECT",
        "What a viewer shows: the payload of Socket.IO's CONNECT, `auth` of the official clients.",
        schema::<Shown>(of),
    );
    add(
        "refusal",
        "CONNECT_ERROR",
        "Why a viewer is not let in: `connect_error` of the official clients (`error` of 2.x).",
        schema::<Denial>(of),
    );
    add("noteAsked", "note", "Say something to everybody who watches.", schema::<NoteAsked>(of));
    for (act, payload) in ACTS {
        add(&format!("{act}Asked"), act, "Have it done; everybody is told who asked.", payload(of));
    }
    add("answer", "ACK", "The acknowledgement of what was asked.", schema::<Answer>(of));
    messages
}

fn schema<T: JsonSchema>(of: &mut SchemaGenerator) -> Value {
    of.subschema_for::<T>().to_value()
}

/// The body of the HTTP API's act, and the cluster, which stands in the path there.
fn of_cluster<T: JsonSchema>(of: &mut SchemaGenerator) -> Value {
    let mut schema = T::json_schema(of).to_value();
    let cluster = json!({ "type": "string", "description": "Of which cluster." });
    let parts = schema.as_object_mut().unwrap();
    parts.entry("properties").or_insert_with(|| json!({})).as_object_mut().unwrap().insert("cluster".into(), cluster);
    parts.entry("required").or_insert_with(|| json!([])).as_array_mut().unwrap().push("cluster".into());
    schema
}

fn channels(events: &[String]) -> Value {
    let here = |keys: &mut dyn Iterator<Item = &str>| -> Map<String, Value> {
        keys.map(|key| (key.to_owned(), json!({ "$ref": format!("#/components/messages/{key}") }))).collect()
    };
    let common = ["shown", "refusal", "closing", "answer"];
    let viewers =
        ["snapshot", "telemetry", "noteAsked"].into_iter().chain(common).chain(events.iter().map(String::as_str));
    let asked = ACTS.map(|(act, _)| format!("{act}Asked"));
    json!({
        "viewers": {
            "address": "/", "summary": "The main namespace: everything that is told, and notes.",
            "messages": here(&mut { viewers }),
        },
        "operators": {
            "address": "/ops", "summary": "The namespace of acts, for tokens of the roles operator and admin.",
            "messages": here(&mut common.into_iter().chain(asked.iter().map(String::as_str))),
        },
    })
}

fn operations(events: &[String]) -> Value {
    let channel = |name: &str| json!({ "$ref": format!("#/channels/{name}") });
    let of = |place: &str, keys: &[&str]| -> Vec<Value> {
        keys.iter().map(|key| json!({ "$ref": format!("#/channels/{place}/messages/{key}") })).collect()
    };
    let told: Vec<&str> =
        ["snapshot", "telemetry", "closing"].into_iter().chain(events.iter().map(String::as_str)).collect();
    let mut operations = Map::new();
    let mut add = |name: &str, operation: Value| drop(operations.insert(name.to_owned(), operation));
    let tell = "Snapshots, then what a viewer missed, then incidents as they happen, and telemetry.";
    add(
        "tell",
        json!({ "action": "send", "channel": channel("viewers"), "summary": tell, "messages": of("viewers", &told) }),
    );
    for (place, name) in [("viewers", "admit"), ("operators", "admitOperator")] {
        let reply = json!({ "channel": channel(place), "messages": of(place, &["refusal"]) });
        add(
            name,
            json!({
                "action": "receive", "channel": channel(place), "summary": "A viewer comes in, or is told why not.",
                "messages": of(place, &["shown"]), "reply": reply,
            }),
        );
    }
    let asks = ACTS.map(|(act, _)| (act, "operators", format!("{act}Asked")));
    for (name, place, key) in [("note", "viewers", "noteAsked".to_owned())].into_iter().chain(asks) {
        let reply = json!({ "channel": channel(place), "messages": of(place, &["answer"]) });
        add(
            name,
            json!({
                "action": "receive", "channel": channel(place), "messages": of(place, &[key.as_str()]), "reply": reply,
            }),
        );
    }
    Value::Object(operations)
}
