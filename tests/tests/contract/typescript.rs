//! `tasuki.d.ts`: the types of what the feed says, from the same schemas, and the interface of `tasuki.js` by hand.

use std::fmt::Write as _;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};
use tasuki_schemas::api::{
    CancelSwitchoverWish, FailoverWish, OverrideWish, PauseWish, RecloneWish, ResumeWish, SwitchoverWish,
};
use tasuki_schemas::event::{Event, PublicEvent, PublicSnapshot, PublicTelemetry, Snapshot, Telemetry};
use tasuki_schemas::talk::{Answer, Closing, Denial, NoteAsked, Shown};

/// What is not in the schemas: who emits what, and the helper for pages.
const INTERFACE: &str = r#"
/** The names of events. */
export type EventName = Event['event'];
/** An event by its name, for tokens that see everything. */
export type Named<N extends EventName> = Extract<Event, { event: N }>;
/** An event by its name, as a token of role `public` sees it. */
export type PublicNamed<N extends EventName> = Extract<PublicEvent, { event: N }>;

/** Events that come together, in `telemetry`. */
export type TelemetryName = 'health' | 'position';
/** What the coordinator emits: `Socket<FromTasuki, ToTasuki>` is a stock client's socket. */
export type FromTasuki = {
  snapshot: (snapshot: Snapshot) => void;
  telemetry: (telemetry: Telemetry) => void;
  closing: (closing: Closing) => void;
} & { [N in Exclude<EventName, TelemetryName>]: (event: Named<N>) => void };
/** The same for tokens of role `public`. */
export type FromTasukiToThePublic = {
  snapshot: (snapshot: PublicSnapshot) => void;
  telemetry: (telemetry: PublicTelemetry) => void;
  closing: (closing: Closing) => void;
} & { [N in Exclude<PublicEvent['event'], TelemetryName>]: (event: PublicNamed<N>) => void };
/** What viewers emit. */
export interface ToTasuki {
  note: (note: NoteAsked, answered: (answer: Answer) => void) => void;
}
/** What an operator asks for: the body of the HTTP API's act, and the cluster. */
export type Act<W> = (asked: W & { cluster: string }, answered: (answer: Answer) => void) => void;
/** What operators emit in the namespace `/ops`. */
export interface ToTasukiOps {
  switchover: Act<SwitchoverWish>;
  'cancel-switchover': Act<CancelSwitchoverWish>;
  failover: Act<FailoverWish>;
  override: Act<OverrideWish>;
  reclone: Act<RecloneWish>;
  pause: Act<PauseWish>;
  resume: Act<ResumeWish>;
}
/** What `connect_error` is told when the coordinator refuses: `error.data`. */
export type RefusedError = Error & { data?: Denial['data'] };

/** A feed that misses nothing. */
export interface Feed {
  /** The stock client's socket. */
  readonly socket: Socket<FromTasuki, ToTasuki>;
  /** The last incident of each cluster: `since` of a later visit. */
  readonly last: { [cluster: string]: string };
  /** Why the coordinator let go, if it did. */
  closed?: Closing;
  on<N extends Exclude<keyof FromTasuki, 'telemetry'>>(name: N, handler: FromTasuki[N]): Feed;
  /** Telemetry is handed out event by event. */
  on<N extends TelemetryName>(name: N, handler: (event: Named<N>) => void): Feed;
  on(name: 'connect', handler: () => void): Feed;
  on(name: 'disconnect', handler: (reason: string) => void): Feed;
  on(name: 'connect_error', handler: (error: RefusedError) => void): Feed;
  onAny(handler: (name: string, value: unknown) => void): Feed;
  close(): void;
}
/** What `tasuki` takes: what the viewer shows, and options of the stock client. */
export interface Options {
  token?: string;
  cluster?: string;
  since?: { [cluster: string]: string };
  options?: Partial<ManagerOptions & SocketOptions>;
}
declare global {
  /** Follows a feed by the official client, and misses no incident. */
  function tasuki(url: string, options?: Options): Feed;
}
"#;

/// The file.
pub(crate) fn declarations() -> String {
    let mut of = SchemaSettings::draft2020_12().into_generator();
    let roots: [fn(&mut SchemaGenerator) -> schemars::Schema; 18] = [
        |of| of.subschema_for::<Event>(),
        |of| of.subschema_for::<Snapshot>(),
        |of| of.subschema_for::<PublicEvent>(),
        |of| of.subschema_for::<PublicSnapshot>(),
        |of| of.subschema_for::<Telemetry>(),
        |of| of.subschema_for::<PublicTelemetry>(),
        |of| of.subschema_for::<Shown>(),
        |of| of.subschema_for::<Denial>(),
        |of| of.subschema_for::<Closing>(),
        |of| of.subschema_for::<NoteAsked>(),
        |of| of.subschema_for::<SwitchoverWish>(),
        |of| of.subschema_for::<CancelSwitchoverWish>(),
        |of| of.subschema_for::<FailoverWish>(),
        |of| of.subschema_for::<OverrideWish>(),
        |of| of.subschema_for::<RecloneWish>(),
        |of| of.subschema_for::<PauseWish>(),
        |of| of.subschema_for::<ResumeWish>(),
        |of| of.subschema_for::<Answer>(),
    ];
    for root in roots {
        root(&mut of);
    }
    let mut text = String::from(
        "// What a Tasuki coordinator says to viewers, made from its schemas. Types of the official client are needed beside it.\n\
         import type { ManagerOptions, Socket, SocketOptions } from 'socket.io-client';\n",
    );
    for (name, schema) in of.take_definitions(true) {
        text.push('\n');
        about(&schema, "", &mut text);
        let _ = writeln!(text, "export type {name} = {};", type_of(&schema, ""));
    }
    text + INTERFACE
}

/// What a schema says of itself, as a comment.
fn about(schema: &Value, indent: &str, text: &mut String) {
    if let Some(about) = schema.get("description").and_then(Value::as_str) {
        let about = about.replace("*/", "* /").replace('\n', " ");
        let _ = writeln!(text, "{indent}/** {about} */");
    }
}

/// A schema as a type. Every form that the schemas have is read; another one is a fault of this function.
fn type_of(schema: &Value, indent: &str) -> String {
    let map = match schema {
        Value::Bool(true) => return "unknown".to_owned(),
        Value::Object(map) => map,
        Value::Bool(false) | Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            panic!("no type for {schema}")
        }
    };
    let mut parts = Vec::new();
    if let Some(name) = map.get("$ref").and_then(Value::as_str) {
        parts.push(name.rsplit('/').next().unwrap().to_owned());
    }
    if let Some(value) = map.get("const") {
        return value.to_string();
    }
    let union = |list: &Value| {
        let of: Vec<String> = list.as_array().unwrap().iter().map(|one| type_of(one, indent)).collect();
        if of.len() == 1 { of.concat() } else { format!("({})", of.join(" | ")) }
    };
    if let Some(list) = map.get("enum") {
        let words: Vec<String> = list.as_array().unwrap().iter().map(Value::to_string).collect();
        return format!("({})", words.join(" | "));
    }
    parts.extend(["oneOf", "anyOf"].iter().filter_map(|key| map.get(*key)).map(union));
    match map.get("type") {
        Some(Value::String(kind)) => parts.push(plain(kind, map, indent)),
        Some(Value::Array(kinds)) => {
            let of: Vec<String> = kinds.iter().map(|kind| plain(kind.as_str().unwrap(), map, indent)).collect();
            parts.push(format!("({})", of.join(" | ")));
        }
        Some(other) => panic!("no type for {other}"),
        None => {}
    }
    assert!(!parts.is_empty(), "no type for {schema}");
    parts.join(" & ")
}

fn plain(kind: &str, map: &Map<String, Value>, indent: &str) -> String {
    match kind {
        "string" => "string".to_owned(),
        "integer" | "number" => "number".to_owned(),
        "boolean" => "boolean".to_owned(),
        "null" => "null".to_owned(),
        "array" => {
            format!("Array<{}>", map.get("items").map_or_else(|| "unknown".to_owned(), |it| type_of(it, indent)))
        }
        "object" => object(map, indent),
        other => panic!("no type for {other}"),
    }
}

fn object(map: &Map<String, Value>, indent: &str) -> String {
    let others = map.get("additionalProperties").filter(|it| **it != Value::Bool(false));
    let rest = others.map(|it| type_of(it, indent));
    let Some(properties) = map.get("properties").and_then(Value::as_object) else {
        return format!("{{ [name: string]: {} }}", rest.unwrap_or_else(|| "unknown".to_owned()));
    };
    assert!(rest.is_none_or(|rest| rest == "unknown"), "named fields beside others: {map:?}");
    let required: Vec<&str> =
        map.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let inner = format!("{indent}  ");
    let mut text = String::from("{\n");
    for (name, schema) in properties {
        about(schema, &inner, &mut text);
        let mark = if required.contains(&name.as_str()) { "" } else { "?" };
        let _ = writeln!(text, "{inner}{name}{mark}: {};", type_of(schema, &inner));
    }
    text + indent + "}"
}
