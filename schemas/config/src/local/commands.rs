//! How a node stops and starts its server: two programs with their arguments, and no shell.

use std::time::Duration;

use toml::Spanned;

use crate::findings::{Reader, Section};

/// How the server is stopped and started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commands {
    /// The program that stops it, and its arguments. The server is gone when it has ended.
    pub stop: Vec<String>,
    /// The program that starts it, and its arguments. It ends; the server goes on.
    pub start: Vec<String>,
    /// The server is gone within this.
    pub stop_within: Duration,
    /// The server answers within this.
    pub start_within: Duration,
}

/// Both commands, or neither.
pub(super) fn commands<'a>(reader: &mut Reader<'a>, section: &Section<'_, 'a>) -> Option<Commands> {
    let [stop, start] = ["stop_command", "start_command"].map(|field| command(reader, section, field));
    let [stop_within, start_within] = [("stop_within_s", 60), ("start_within_s", 300)]
        .map(|(field, default)| within(reader, section, field, default));
    match (stop, start) {
        (Some(stop), Some(start)) => {
            let (stop, start) = (stop.into_inner(), start.into_inner());
            Some(Commands { stop, start, stop_within, start_within })
        }
        (Some(lone), None) | (None, Some(lone)) => {
            reader
                .note(Some(lone.span()), "`stop_command` and `start_command` belong together; write both, or neither");
            None
        }
        (None, None) => None,
    }
}

fn command<'a>(reader: &mut Reader<'a>, section: &Section<'_, 'a>, field: &str) -> Option<Spanned<Vec<String>>> {
    let command = reader.optional::<Vec<String>>(section, field)?;
    if command.get_ref().first().is_none_or(|program| !program.starts_with('/')) {
        let what = format!(
            "`{field}` is a list: a program by its whole path, then its arguments, e.g. \
             [\"/usr/bin/systemctl\", \"stop\", \"mariadb\"]; no shell reads it"
        );
        reader.note(Some(command.span()), what);
    }
    Some(command)
}

fn within<'a>(reader: &mut Reader<'a>, section: &Section<'_, 'a>, field: &str, default: u64) -> Duration {
    let Some(seconds) = reader.optional::<u64>(section, field) else { return Duration::from_secs(default) };
    if !(1..=3600).contains(seconds.get_ref()) {
        reader.note(Some(seconds.span()), format!("`{field}` must lie between 1 and 3600"));
    }
    Duration::from_secs(seconds.into_inner())
}
