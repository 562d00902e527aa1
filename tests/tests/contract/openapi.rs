//! The HTTP API as an OpenAPI document: its paths by hand, its schemas from the types that it is made of.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};
use tasuki_schemas::api::{
    CancelSwitchoverWish, Endpoint, FailoverWish, Granted, Incident, Login, Me, NoteWish, Noted, OverrideWish,
    PauseWish, Problem, RecloneWish, ResumeWish, Summary, SwitchoverWish,
};
use tasuki_schemas::event::{Event, PublicSnapshot, Snapshot};
use tasuki_schemas::forecast::Forecast;

/// The document.
pub(crate) fn document() -> Value {
    let mut of =
        SchemaSettings::draft2020_12().with(|it| it.definitions_path = "/components/schemas".into()).into_generator();
    let mut paths = Map::new();
    reads(&mut of, &mut paths);
    past(&mut of, &mut paths);
    acts(&mut of, &mut paths);
    let schemas = of.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tasuki",
            "version": "1",
            "description": "What a coordinator tells and takes over HTTP. Live events come over Socket.IO on the same port.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/api/v1" }],
        "security": [{ "bearer": [] }, { "cookie": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "cookie": { "type": "apiKey", "in": "cookie", "name": "__Host-tasuki" },
            },
        },
    })
}

fn json_of<T: JsonSchema>(of: &mut SchemaGenerator) -> Value {
    json!({ "application/json": { "schema": of.subschema_for::<T>() } })
}

fn refusals(of: &mut SchemaGenerator, codes: &[(&str, &str)]) -> Map<String, Value> {
    let content = json_of::<Problem>(of);
    let one = |(code, why): &(&str, &str)| ((*code).to_owned(), json!({ "description": why, "content": content }));
    codes.iter().map(one).collect()
}

fn answers<T: JsonSchema>(of: &mut SchemaGenerator, what: &str, codes: &[(&str, &str)]) -> Value {
    let mut answers = refusals(of, codes);
    answers.insert("200".to_owned(), json!({ "description": what, "content": json_of::<T>(of) }));
    Value::Object(answers)
}

const UNKNOWN: (&str, &str) = ("401", "No token, or one that is not known here.");
const NO_CLUSTER: (&str, &str) = ("404", "The token opens no such cluster here.");

const ROLE: (&str, &str) = ("403", "The token's role may not do that.");

/// A cluster as a role sees it.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is told, never made")]
enum Seen {
    Whole(Box<Snapshot>),
    Public(Box<PublicSnapshot>),
}

fn cluster() -> Value {
    json!({ "name": "cluster", "in": "path", "required": true, "schema": { "type": "string" } })
}

fn reads(of: &mut SchemaGenerator, paths: &mut Map<String, Value>) {
    let mut add = |path: &str, value: Value| drop(paths.insert(path.to_owned(), value));
    let answer = answers::<Me>(of, "The token is good; a cookie stands for it from now on.", &[UNKNOWN]);
    let body = json!({ "required": true, "content": json_of::<Login>(of) });
    add(
        "/login",
        json!({ "post": { "operationId": "login", "security": [], "summary": "Show a token once, from a browser.", "requestBody": body, "responses": answer } }),
    );
    let gone = json!({ "204": { "description": "The cookie stands for nothing any more." } });
    add(
        "/logout",
        json!({ "post": { "operationId": "logout", "security": [], "summary": "End the session.", "responses": gone } }),
    );
    let mut read = |path: &str, id: &str, summary: &str, responses: Value, parameters: Value| {
        add(
            path,
            json!({ "get": { "operationId": id, "summary": summary, "parameters": parameters, "responses": responses } }),
        );
    };
    let answer = answers::<Me>(of, "Who the token stands for.", &[UNKNOWN]);
    read("/me", "me", "Who am I?", answer, json!([]));
    let none = ("503", "No coordinator knows the address that viewers reach it at.");
    let answer = answers::<Endpoint>(of, "The least loaded coordinator that lives.", &[UNKNOWN, none]);
    read("/endpoint", "endpoint", "Where should a viewer connect?", answer, json!([]));
    let answer = answers::<Vec<Summary>>(of, "Each cluster in short.", &[UNKNOWN, ROLE]);
    read("/clusters", "clusters", "All clusters that the token opens.", answer, json!([]));
    let answer = answers::<Seen>(of, "What is known of it, as far as the role sees it.", &[UNKNOWN, NO_CLUSTER]);
    read("/clusters/{cluster}", "cluster", "One cluster.", answer, json!([cluster()]));
    let answer = answers::<Forecast>(
        of,
        "If the primary died now.",
        &[UNKNOWN, ROLE, ("404", "No such cluster, or no primary serves.")],
    );
    read(
        "/clusters/{cluster}/forecast",
        "forecast",
        "What would happen if the primary died now?",
        answer,
        json!([cluster()]),
    );
}

fn past(of: &mut SchemaGenerator, paths: &mut Map<String, Value>) {
    let query = |name: &str, schema: Value, what: &str| json!({ "name": name, "in": "query", "required": false, "schema": schema, "description": what });
    let since =
        query("since", json!({ "type": "string" }), "The id of an event: what came after it. Left out: the latest.");
    let limit =
        query("limit", json!({ "type": "integer", "minimum": 1, "maximum": 2000 }), "Events at most; 500 if left out.");
    let refused = [UNKNOWN, ROLE, NO_CLUSTER, ("422", "`since` or `limit` is none.")];
    let answer = answers::<Vec<Event>>(of, "Oldest first.", &refused);
    let get = json!({ "operationId": "history", "summary": "What happened: everything but telemetry.", "parameters": [cluster(), since, limit], "responses": answer });
    paths.insert("/clusters/{cluster}/history".to_owned(), json!({ "get": get }));
    let answer = answers::<Vec<Incident>>(of, "Oldest first.", &[UNKNOWN, ROLE, NO_CLUSTER]);
    let get = json!({ "operationId": "incidents", "summary": "What was wrong, and for how long.", "parameters": [cluster()], "responses": answer });
    paths.insert("/clusters/{cluster}/incidents".to_owned(), json!({ "get": get }));
    let refused = [
        UNKNOWN,
        ROLE,
        NO_CLUSTER,
        ("422", "It is no note: 1 to 500 characters."),
        ("429", "Five a minute are taken from one token."),
        ("503", "Nobody leads the cluster now; try again in a moment."),
    ];
    let answer = answers::<Noted>(of, "It is in history, and everybody who watches was told.", &refused);
    let body = json!({ "required": true, "content": json_of::<NoteWish>(of) });
    let post = json!({ "operationId": "note", "summary": "Say something to everybody who watches.", "parameters": [cluster()], "requestBody": body, "responses": answer });
    paths.insert("/clusters/{cluster}/notes".to_owned(), json!({ "post": post }));
}

fn acts(of: &mut SchemaGenerator, paths: &mut Map<String, Value>) {
    let key = json!({
        "name": "Idempotency-Key", "in": "header", "required": false, "schema": { "type": "string", "minLength": 1, "maxLength": 200 },
        "description": "A request that is sent again under the same key within a day is done once, and answered as it was.",
    });
    let refused = [
        UNKNOWN,
        ROLE,
        NO_CLUSTER,
        ("409", "It was not done: why, with the fix."),
        ("422", "The body is no such wish, or the key was used for another request."),
        ("504", "It did not end in time; the events tell what came of it."),
    ];
    let mut act = |of: &mut SchemaGenerator, name: &str, summary: &str, body: Value| {
        let responses = answers::<Granted>(of, "It was done, or would be.", &refused);
        let act = json!({
            "operationId": name, "summary": summary, "parameters": [cluster(), key],
            "requestBody": { "required": true, "content": body }, "responses": responses,
        });
        paths.insert(format!("/clusters/{{cluster}}/{name}"), json!({ "post": act }));
    };
    let body = json_of::<SwitchoverWish>(of);
    act(of, "switchover", "Let the primary hand over.", body);
    let body = json_of::<CancelSwitchoverWish>(of);
    act(of, "cancel-switchover", "Give up the switchover that is planned.", body);
    let body = json_of::<FailoverWish>(of);
    act(of, "failover", "Let a failover begin that a pause or earlier failovers hold back.", body);
    let body = json_of::<OverrideWish>(of);
    act(of, "override", "Let a failover that is held go on, by the operator's word.", body);
    let body = json_of::<RecloneWish>(of);
    act(of, "reclone", "Bring a server home on a copy of another's data.", body);
    let body = json_of::<PauseWish>(of);
    act(of, "pause", "Begin no failover for a while.", body);
    let body = json_of::<ResumeWish>(of);
    act(of, "resume", "Let failovers go on.", body);
}
