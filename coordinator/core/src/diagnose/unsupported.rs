//! Set-ups that Tasuki must not act on.

use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::observation::ServerView;

use crate::settings::Settings;
use crate::view::View;

/// The first server that must be left alone, and why. A primary that died or is silent is what it was when it was read last:
/// it must not be replaced now because it cannot be read any more.
pub(crate) fn unsupported(
    settings: &Settings,
    view: &View,
    primary: Option<&NodeId>,
    now: Moment,
) -> Option<(NodeId, String)> {
    let gone = primary.and_then(|node| Some((node.clone(), view.unsupported(node)?.to_owned())));
    gone.or_else(|| of_heard(settings, view, now))
}

fn of_heard(settings: &Settings, view: &View, now: Moment) -> Option<(NodeId, String)> {
    view.heard(settings.policy.silence, now).find_map(|(node, observation)| {
        let server = observation.server.as_ref()?;
        if let Some(identity) = &server.identity
            && identity.flavour != settings.flavour
        {
            let reason = "its flavour is not the cluster file's; correct `flavour` there".to_owned();
            return Some((node.clone(), reason));
        }
        let twin = |other: &ServerView| {
            other.identity.as_ref().zip(server.identity.as_ref()).is_some_and(|(a, b)| a.server_id == b.server_id)
        };
        let clash = settings
            .servers
            .keys()
            .filter(|other| *other != node)
            .find(|other| view.server(other, settings.policy.silence, now).is_some_and(twin));
        if let Some(other) = clash {
            return Some((node.clone(), format!("its server_id is also that of {other}; give each server its own")));
        }
        server.facts.as_ref()?.unsupported.clone().map(|reason| (node.clone(), reason))
    })
}
