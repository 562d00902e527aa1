//! What happened before, and what people said of it.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use tasuki_config::Role;
use tasuki_schemas::api::{Incident, NoteWish, Noted};
use tasuki_schemas::event::{Diagnosis, Event, EventBody, PublicId, StageName};

use super::Site;
use super::access::Visitor;
use super::problem::{Body, Problem};
use crate::feed::{Feed, Unposted};

/// Events of one answer, if nothing else is asked for, and at most.
const USUAL: usize = 500;
const MOST: usize = 2000;
/// The latest events among which incidents are looked for.
const LOOKED_AT: usize = 10_000;

#[derive(Deserialize)]
pub(super) struct Asked {
    since: Option<String>,
    limit: Option<String>,
}

impl Site {
    async fn past(
        &self,
        visitor: &Visitor,
        cluster: &str,
        since: Option<PublicId>,
        most: usize,
    ) -> Result<Vec<Event>, Problem> {
        visitor.must_be(Role::Viewer)?;
        let cluster = self.snapshot(visitor, cluster)?.cluster.clone();
        let read = self.feed()?.history(&cluster, since, most).await;
        read.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the journal: {error}")))
    }

    pub(super) fn feed(&self) -> Result<&Feed, Problem> {
        let starts = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the coordinator starts; ask again");
        self.open.get().map(|open| &open.feed).ok_or_else(starts)
    }
}

pub(super) async fn history(
    State(site): State<Site>,
    visitor: Visitor,
    Path(cluster): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Json<Vec<Event>>, Problem> {
    let bad = |text: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, text);
    let since = asked.since.map(|since| since.parse().map_err(|error| bad(format!("since: {error}")))).transpose()?;
    let limit = asked.limit.map_or(Some(USUAL), |text| text.parse().ok().filter(|limit| (1..=MOST).contains(limit)));
    let limit = limit.ok_or_else(|| bad(format!("limit: write 1 to {MOST}")))?;
    site.past(&visitor, &cluster, since, limit).await.map(Json)
}

pub(super) async fn incidents(
    State(site): State<Site>,
    visitor: Visitor,
    Path(cluster): Path<String>,
) -> Result<Json<Vec<Incident>>, Problem> {
    let events = site.past(&visitor, &cluster, None, LOOKED_AT).await?;
    Ok(Json(incidents_of(&events)))
}

pub(super) async fn note(
    State(site): State<Site>,
    visitor: Visitor,
    Path(cluster): Path<String>,
    Body(wish): Body<NoteWish>,
) -> Result<Json<Noted>, Problem> {
    let posted = site.feed()?.posts().note(&cluster, &visitor.grant, &wish.text).await;
    posted.map(|id| Json(Noted { id })).map_err(|why| refusal(&why))
}

/// The same refusal as over Socket.IO, with a code of HTTP.
pub(super) fn refusal(why: &Unposted) -> Problem {
    let code = match why {
        Unposted::Forbidden(..) => StatusCode::FORBIDDEN,
        Unposted::UnknownCluster(_) => StatusCode::NOT_FOUND,
        Unposted::Length(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Unposted::Often(_) => StatusCode::TOO_MANY_REQUESTS,
        Unposted::NotKept => StatusCode::SERVICE_UNAVAILABLE,
    };
    Problem::new(code, why.to_string())
}

/// Oldest first: from a diagnosis that is not healthy, or a stage, until the healthy one when no attempt is under way.
fn incidents_of(events: &[Event]) -> Vec<Incident> {
    let mut found: Vec<Incident> = Vec::new();
    let mut under_way = false;
    for event in events {
        let healthy = if let EventBody::Diagnosis { diagnosis, .. } = &event.body {
            Some(*diagnosis == Diagnosis::Healthy)
        } else {
            None
        };
        let begins = healthy == Some(false) || matches!(event.body, EventBody::Stage { .. });
        if begins && found.last().is_none_or(|last| last.to_ms.is_some()) {
            found.push(Incident {
                id: event.id.clone(),
                from_ms: event.at_ms,
                to_ms: None,
                sentence: String::new(),
                old: None,
                new: None,
                events: 0,
            });
        }
        let Some(incident) = found.last_mut().filter(|last| last.to_ms.is_none()) else { continue };
        incident.events += 1;
        if let EventBody::Diagnosis { sentence, .. } = &event.body
            && incident.sentence.is_empty()
        {
            incident.sentence.clone_from(sentence);
        }
        if let EventBody::Stage { stage, old, candidate, .. } = &event.body {
            under_way = !matches!(stage, StageName::Finished | StageName::Undone);
            if *stage == StageName::Opened {
                (incident.old, incident.new) = (Some(old.clone()), candidate.clone());
            }
        }
        if healthy == Some(true) && !under_way {
            incident.to_ms = Some(event.at_ms);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use tasuki_schemas::ballot::Ballot;
    use tasuki_schemas::id::BootId;

    fn event(at_ms: u64, body: EventBody) -> Event {
        let (cluster, coordinator) = ("main".parse().unwrap(), "co1".parse().unwrap());
        Event { cluster, coordinator, number: at_ms, at_ms, id: None, after: None, body }
    }

    fn diagnosis(at_ms: u64, diagnosis: Diagnosis) -> Event {
        event(at_ms, EventBody::Diagnosis { diagnosis, sentence: format!("at {at_ms}") })
    }

    fn stage(at_ms: u64, stage: StageName) -> Event {
        let ballot = Ballot { counter: 1, coordinator: "co1".parse().unwrap(), boot: BootId(1) };
        let candidate = (stage != StageName::Recruiting).then(|| "db2".parse().unwrap());
        let old = "db1".parse().unwrap();
        event(at_ms, EventBody::Stage { ballot, stage, old, candidate, after_ms: 1.0, reasons: Vec::new() })
    }

    #[test]
    fn an_incident_lasts_until_all_is_well_and_nothing_is_under_way() {
        let crashed = || Diagnosis::PrimaryCrashed { primary: "db1".parse().unwrap() };
        let events = [
            diagnosis(1, Diagnosis::Healthy),
            diagnosis(2, crashed()),
            stage(3, StageName::Recruiting),
            stage(4, StageName::Opened),
            diagnosis(5, Diagnosis::Healthy),
            stage(6, StageName::Finished),
            diagnosis(7, Diagnosis::Healthy),
            event(8, EventBody::Leader { leader: None }),
            diagnosis(9, crashed()),
        ];
        let found = incidents_of(&events);
        let told: Vec<_> = found.iter().map(|it| (it.from_ms, it.to_ms, it.sentence.as_str(), it.events)).collect();
        assert_eq!(told, [(2, Some(7), "at 2", 6), (9, None, "at 9", 1)]);
        let first = found.first().unwrap();
        assert_eq!((first.old.as_ref().unwrap().as_str(), first.new.as_ref().unwrap().as_str()), ("db1", "db2"));
    }
}
