//! The sections of a cluster file, each read to its end whatever is wrong with the others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ed25519_dalek::VerifyingKey;
use serde::Deserialize;
use tasuki_schemas::id::InvalidName;
use tasuki_schemas::lease::LeaseTerms;
use tasuki_schemas::record::Mode;
use toml::Spanned;

use super::{Coordinator, MaxLoss, PlannedStop, Policy, Promotion, Rejoin, Replication, Server, Vip, Witness};
use crate::findings::{Reader, Section};
use crate::secret::Secret;

/// What `init` proposes about acting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ModeWish {
    Observe,
    Armed,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DegradedWish {
    Open,
    Hold,
}

/// What a clean stop leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StopWish {
    #[default]
    HandOver,
    Wait,
}

fn name<'a, T: FromStr<Err = InvalidName>>(reader: &mut Reader<'a>, section: &Section<'_, 'a>) -> Option<T> {
    let text = reader.needed::<String>(section, "name")?;
    text.get_ref().parse().map_err(|error: InvalidName| reader.note(Some(text.span()), error.to_string())).ok()
}

fn address<'a>(reader: &mut Reader<'a>, section: &Section<'_, 'a>, field: &str) -> Option<SocketAddr> {
    let text = reader.needed::<String>(section, field)?;
    let parsed = text.get_ref().parse::<SocketAddr>().ok();
    let parsed = parsed.filter(|address| address.port() != 0 && !address.ip().is_unspecified());
    if parsed.is_none() {
        let what = format!(
            "{:?} is no address that others reach; write IP:port, an IPv6 address in brackets (no host names: they fail \
             when they are needed)",
            text.get_ref()
        );
        reader.note(Some(text.span()), what);
    }
    parsed
}

fn key<'a>(reader: &mut Reader<'a>, section: &Section<'_, 'a>) -> Option<VerifyingKey> {
    let text = reader.needed::<String>(section, "key")?;
    tasuki_bus::key::parse_public(text.get_ref())
        .map_err(|error| reader.note(Some(text.span()), error.to_string()))
        .ok()
}

/// All sections of one name that can be read.
pub(super) fn list<'a, T>(
    reader: &mut Reader<'a>,
    root: &Section<'_, 'a>,
    key: &str,
    known: &[&str],
    one: fn(&mut Reader<'a>, &Section<'_, 'a>) -> Option<T>,
) -> Vec<T> {
    reader.sections(root, key, known).iter().filter_map(|section| one(reader, section)).collect()
}

pub(super) fn server<'a>(reader: &mut Reader<'a>, section: &Section<'_, 'a>) -> Option<Server> {
    let (name, key) = (name(reader, section), key(reader, section));
    let [address, mesh] = ["address", "mesh"].map(|field| address(reader, section, field));
    let promotion = reader.optional::<Promotion>(section, "promotion").map(Spanned::into_inner).unwrap_or_default();
    let site = reader.optional::<String>(section, "site");
    if let Some(site) = site.as_ref().filter(|site| site.get_ref().trim().is_empty()) {
        reader.note(Some(site.span()), "`site` is empty; name the place, or leave the line out");
    }
    let site = site.map(Spanned::into_inner);
    let line = reader.line(section);
    let (ssh, data_dir, binlog_index) = outside(reader, section);
    Some(Server {
        line,
        name: name?,
        address: address?,
        mesh: mesh?,
        key: key?,
        promotion,
        site,
        ssh,
        data_dir,
        binlog_index,
    })
}

/// What a fence through ssh needs to know of a server.
fn outside<'a>(
    reader: &mut Reader<'a>,
    section: &Section<'_, 'a>,
) -> (Option<SocketAddr>, Option<PathBuf>, Option<PathBuf>) {
    let ssh = reader.optional::<String>(section, "ssh").and_then(|_| address(reader, section, "ssh"));
    let mut whole = |key: &str| {
        let path = reader.optional::<PathBuf>(section, key)?;
        if !path.get_ref().is_absolute() {
            reader.note(Some(path.span()), format!("`{key}` must be a whole path, beginning with /"));
        }
        Some(path.into_inner())
    };
    let data_dir = whole("data_dir");
    (ssh, data_dir, whole("binlog_index"))
}

pub(super) fn witness<'a>(reader: &mut Reader<'a>, section: &Section<'_, 'a>) -> Option<Witness> {
    let (name, mesh, key) = (name(reader, section), address(reader, section, "mesh"), key(reader, section));
    let line = reader.line(section);
    Some(Witness { line, name: name?, mesh: mesh?, key: key? })
}

pub(super) fn coordinator<'a>(reader: &mut Reader<'a>, section: &Section<'_, 'a>) -> Option<Coordinator> {
    let (name, key) = (name(reader, section), key(reader, section));
    Some(Coordinator { name: name?, key: key? })
}

/// The URLs of the Redis servers, those to subscribe on, and the file of the authority that signed their certificates.
pub(super) fn redis_urls<'a>(
    reader: &mut Reader<'a>,
    section: &Section<'_, 'a>,
) -> Option<(Vec<Secret>, Vec<Secret>, Option<PathBuf>)> {
    let ca_file = reader.optional::<PathBuf>(section, "ca_file").map(Spanned::into_inner);
    let urls = reader.needed::<Vec<Spanned<String>>>(section, "urls")?.into_inner();
    let places = reader.optional::<Vec<Spanned<String>>>(section, "subscribe_urls");
    if let Some(places) = places.as_ref().filter(|places| places.get_ref().len() != urls.len()) {
        let (named, wanted) = (places.get_ref().len(), urls.len());
        let what = format!("it names {named}, and urls {wanted}; write of each server a replica, or the server itself");
        reader.note(Some(places.span()), what);
    }
    let places = places.map(Spanned::into_inner).unwrap_or_default();
    Some((checked_urls(reader, urls), checked_urls(reader, places), ca_file))
}

fn checked_urls(reader: &mut Reader<'_>, urls: Vec<Spanned<String>>) -> Vec<Secret> {
    for (number, url) in (1..).zip(&urls) {
        let schemes = ["redis://", "rediss://"];
        let what = if schemes.iter().any(|scheme| url.get_ref().starts_with(scheme)) {
            tasuki_bus::check_redis_url(url.get_ref()).err()
        } else {
            Some("it begins with neither redis:// nor rediss://".to_owned())
        };
        // The URL itself is not told: it may hold a password.
        if let Some(what) = what {
            let fix = "write redis://user:password@address:port";
            reader.note(Some(url.span()), format!("the Redis URL number {number} cannot be used: {what}; {fix}"));
        }
    }
    urls.into_iter().map(|url| Secret::new(url.into_inner())).collect()
}

pub(super) fn replication_login<'a>(reader: &mut Reader<'a>, section: &Section<'_, 'a>) -> Option<Replication> {
    let user = reader.needed::<String>(section, "user");
    let password_file = reader.needed::<PathBuf>(section, "password_file");
    Some(Replication { user: user?.into_inner(), password_file: password_file?.into_inner() })
}

pub(super) fn checked_vip<'a>(reader: &mut Reader<'a>, section: &Section<'_, 'a>) -> Option<Vip> {
    let address = reader.needed::<String>(section, "address");
    let interface = reader.needed::<String>(section, "interface");
    if let Some(address) = address.as_ref().filter(|address| !is_prefixed(address.get_ref())) {
        let what = format!("{:?} is no address with a prefix; write e.g. 10.0.0.9/24", address.get_ref());
        reader.note(Some(address.span()), what);
    }
    // What the kernel takes as a name (IFNAMSIZ is 16 with the closing zero).
    let is_name = |name: &str| (1..16).contains(&name.len()) && !name.contains(|c: char| c == '/' || c.is_whitespace());
    if let Some(interface) = interface.as_ref().filter(|interface| !is_name(interface.get_ref())) {
        let what = format!("{:?} is no network interface; `ip link` lists them", interface.get_ref());
        reader.note(Some(interface.span()), what);
    }
    Some(Vip { address: address?.into_inner(), interface: interface?.into_inner() })
}

fn is_prefixed(text: &str) -> bool {
    let Some((ip, prefix)) = text.split_once('/') else { return false };
    let longest = match ip.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    prefix.parse::<u8>().is_ok_and(|prefix| prefix <= longest)
}

pub(super) fn checked_policy<'a>(reader: &mut Reader<'a>, section: Option<&Section<'_, 'a>>, voters: usize) -> Policy {
    let mut within = |name: &str, default: u64, low: u64, high: u64| {
        let value = section.and_then(|section| reader.optional::<u64>(section, name));
        let Some(value) = value else { return default };
        if (low..=high).contains(value.get_ref()) {
            return value.into_inner();
        }
        reader.note(Some(value.span()), format!("`{name}` must lie between {low} and {high}"));
        default
    };
    let heartbeat = within("heartbeat_ms", 200, 50, 2000);
    // Two heartbeats may be lost before anybody is called silent.
    let least = heartbeat * 3;
    let silence = within("silence_ms", least.max(800), least, 60_000);
    let tail_patience = within("tail_patience_ms", 100, 0, 10_000);
    let stable_window = within("stable_window_ms", 60_000, 1000, 86_400_000);
    let flap_limit = within("flap_limit", 2, 1, 1_000_000);
    let mode = match section.and_then(|section| reader.optional::<ModeWish>(section, "mode")).map(Spanned::into_inner) {
        Some(ModeWish::Observe) => Mode::Observe,
        Some(ModeWish::Armed) | None => Mode::Armed,
    };
    let degraded =
        section.and_then(|section| reader.optional::<DegradedWish>(section, "degraded")).map(Spanned::into_inner);
    let planned_stop = planned_stop(reader, section);
    Policy {
        mode,
        heartbeat: Duration::from_millis(heartbeat),
        silence: Duration::from_millis(silence),
        tail_patience: Duration::from_millis(tail_patience),
        stable_window: Duration::from_millis(stable_window),
        flap_limit: u32::try_from(flap_limit).unwrap_or(u32::MAX),
        lease: section.and_then(|section| lease(reader, section, Duration::from_millis(heartbeat), voters)),
        holds_when_degraded: degraded == Some(DegradedWish::Hold),
        planned_stop,
        max_loss: section.and_then(|it| reader.optional::<MaxLoss>(it, "max_loss")).map(Spanned::into_inner),
        rejoin: section
            .and_then(|it| reader.optional::<Rejoin>(it, "rejoin"))
            .map(Spanned::into_inner)
            .unwrap_or_default(),
    }
}

/// A lease needs numbers that work, hosts that are not paused, and a majority that can be had without the primary.
fn lease<'a>(
    reader: &mut Reader<'a>,
    section: &Section<'_, 'a>,
    heartbeat: Duration,
    voters: usize,
) -> Option<LeaseTerms> {
    let pausable = reader.optional::<bool>(section, "pausable").is_none_or(Spanned::into_inner);
    let length = reader.optional::<u64>(section, "lease_ms")?;
    let place = Some(length.span());
    if pausable {
        let why = "a lease needs `pausable = false`, your word that nothing pauses these hosts: a hypervisor's pause stops \
                   the clock that ends the lease";
        reader.note(place.clone(), why);
    }
    if voters < 3 {
        let why = "with two voters the loss of the replica would end the primary's lease; add a [[witness]], or leave `lease_ms` out";
        reader.note(place.clone(), why);
    }
    if *length.get_ref() > 10_000 {
        reader.note(place, "`lease_ms` may be 10000 at most: writing stands still for so long when a host is lost");
        return None;
    }
    match LeaseTerms::new(Duration::from_millis(length.into_inner()), heartbeat) {
        Ok(terms) => Some(terms),
        Err(short) => {
            reader.note(place, short.to_string());
            None
        }
    }
}

/// `planned_stop = "hand_over"`, or `"wait"` with `planned_stop_wait_s`.
fn planned_stop<'a>(reader: &mut Reader<'a>, section: Option<&Section<'_, 'a>>) -> PlannedStop {
    const DEFAULT_S: u64 = 30;
    let Some(section) = section else { return PlannedStop::HandOver };
    let wish = reader.optional::<StopWish>(section, "planned_stop").map(Spanned::into_inner).unwrap_or_default();
    let patience = reader.optional::<u64>(section, "planned_stop_wait_s");
    match (wish, patience) {
        (StopWish::HandOver, None) => PlannedStop::HandOver,
        (StopWish::HandOver, Some(patience)) => {
            let what =
                "`planned_stop_wait_s` says nothing without `planned_stop = \"wait\"`; add that, or leave this out";
            reader.note(Some(patience.span()), what);
            PlannedStop::HandOver
        }
        (StopWish::Wait, None) => PlannedStop::Wait(Duration::from_secs(DEFAULT_S)),
        (StopWish::Wait, Some(patience)) => {
            if !(1..=3600).contains(patience.get_ref()) {
                reader.note(Some(patience.span()), "`planned_stop_wait_s` must lie between 1 and 3600");
            }
            PlannedStop::Wait(Duration::from_secs(patience.into_inner()))
        }
    }
}

/// Names, keys and addresses that two entries share.
pub(super) fn twins(reader: &mut Reader<'_>, table: &toml::de::DeTable<'_>) {
    let mut seen: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for list in ["server", "witness", "coordinator"] {
        let Some(toml::de::DeValue::Array(items)) = table.get(list).map(Spanned::get_ref) else { continue };
        for item in items.iter() {
            let toml::de::DeValue::Table(entry) = item.get_ref() else { continue };
            for field in ["name", "address", "mesh", "key"] {
                let Some(value) = entry.get(field) else { continue };
                let Some(text) = value.get_ref().as_str() else { continue };
                let kind = if field == "mesh" { "address" } else { field };
                if !seen.entry(kind).or_default().insert(text.to_owned()) {
                    reader.note(Some(value.span()), format!("{field} {text:?} is used twice; each needs its own"));
                }
            }
        }
    }
}
