//! Incidents on the coordinator's own disk: one line of JSON each, in the order in which they were handed out.
//!
//! A thread of its own writes, so that a slow disk makes nobody wait. A last line without an end is of a coordinator
//! that died while it wrote it, and is cut off.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use serde::Deserialize;
use tasuki_bus::clock;
use tasuki_coordinator_core::chain::place;
use tasuki_schemas::event::{Event, EventId, PublicId};
use tokio::sync::mpsc;

/// So many incidents are kept at most …
pub(super) const MOST: usize = 100_000;
/// … and none that is older.
const OLDEST_MS: u64 = 400 * 24 * 3600 * 1000;
/// Lines that wait for the disk.
const QUEUE: usize = 4096;

/// The journal of one cluster.
pub(super) struct Journal {
    path: PathBuf,
    lines: SyncSender<Arc<Event>>,
}

/// What is kept, as it was found.
pub(super) struct Found {
    /// The latest, in order.
    pub(super) latest: Vec<Event>,
    /// Whether there are earlier ones.
    pub(super) more: bool,
}

/// What a line is looked at for without reading all of it.
#[derive(Deserialize)]
struct Stamp {
    at_ms: u64,
    id: EventId,
}

impl Journal {
    /// Opens or makes a journal, and reads its latest incidents.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn open(path: &Path, latest: usize) -> io::Result<(Self, Found)> {
        let mut file = File::options().read(true).append(true).create(true).open(path)?;
        cut_tail(&mut file)?;
        let lines = compact(path, MOST)?;
        let (mut kept, mut bad) = (std::collections::VecDeque::new(), 0_usize);
        for line in BufReader::new(File::open(path)?).lines().skip(lines.saturating_sub(latest)) {
            match serde_json::from_str::<Event>(&line?) {
                Ok(event) if event.id.is_some() => kept.push_back(event),
                Ok(_) | Err(_) => bad += 1,
            }
        }
        if bad > 0 {
            tracing::error!(file = %path.display(), bad, "lines of the journal cannot be read and are left out");
        }
        let (tell, told) = sync_channel(QUEUE);
        let file = File::options().append(true).open(path)?;
        let own = path.to_owned();
        thread::Builder::new().name("journal".to_owned()).spawn(move || write(&own, file, lines, &told))?;
        let found = Found { latest: kept.into(), more: lines > latest };
        Ok((Self { path: path.to_owned(), lines: tell }, found))
    }

    /// Appends an incident. Never waits; false if the disk is so slow that it is not kept.
    pub(super) fn append(&self, event: &Arc<Event>) -> bool {
        self.lines.try_send(Arc::clone(event)).is_ok()
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// The incidents of a journal after one of them, or all, in order; at most so many, the earliest. Reads the disk.
pub(super) fn read(path: &Path, since: Option<&PublicId>, most: usize) -> io::Result<Vec<Event>> {
    // By its id, and not by its place: a line of a later version may have an id and still not be read as an incident.
    let seen = match since {
        None => None,
        Some(since) => {
            let stamps = stamps(path)?;
            let ids: Vec<EventId> = stamps.map(|stamp| stamp.map(|stamp| stamp.id)).collect::<io::Result<_>>()?;
            let last = place(since, ids.iter()).and_then(|count| count.checked_sub(1));
            last.and_then(|last| ids.into_iter().nth(last))
        }
    };
    let mut events = Vec::new();
    for line in BufReader::new(File::open(path)?).lines() {
        match serde_json::from_str::<Event>(&line?) {
            Ok(event) if event.id.is_some() && event.id > seen => events.push(event),
            // Seen; or a line that is being written, or was damaged: told when the journal was opened.
            Ok(_) | Err(_) => {}
        }
        if events.len() >= most {
            break;
        }
    }
    Ok(events)
}

/// The latest incidents of a journal, in order. Reads the disk.
pub(super) fn latest(path: &Path, most: usize) -> io::Result<Vec<Event>> {
    let lines = BufReader::new(File::open(path)?).lines().count();
    let latest = BufReader::new(File::open(path)?).lines().skip(lines.saturating_sub(most)).map_while(Result::ok);
    Ok(latest.filter_map(|line| serde_json::from_str(&line).ok()).collect())
}

/// The incidents of a journal in order, some at a time: all that are not seen, and not many before them.
pub(super) fn pieces(
    path: PathBuf,
    some: usize,
    seen: impl Fn(&EventId) -> bool + Send + 'static,
) -> mpsc::Receiver<Vec<Event>> {
    let (tell, told) = mpsc::channel(2);
    tokio::task::spawn_blocking(move || {
        let Ok(file) = open_where(&path, seen) else { return };
        let lines = file.lines().map_while(Result::ok);
        let mut events = lines.filter_map(|line| serde_json::from_str::<Event>(&line).ok());
        loop {
            let piece: Vec<Event> = events.by_ref().take(some).collect();
            if piece.is_empty() || tell.blocking_send(piece).is_err() {
                return;
            }
        }
    });
    told
}

/// A journal from a line on whose incident is seen, looked for from its end; or from its beginning. A server lacks a few of
/// the last, and incidents must not wait until a year was read.
fn open_where(path: &Path, seen: impl Fn(&EventId) -> bool) -> io::Result<BufReader<File>> {
    let mut file = BufReader::new(File::open(path)?);
    let end = file.seek(SeekFrom::End(0))?;
    let mut back = 64 * 1024;
    while back < end {
        file.seek(SeekFrom::Start(end - back))?;
        // From somewhere within a line.
        file.skip_until(b'\n')?;
        let begin = file.stream_position()?;
        let mut line = Vec::new();
        file.read_until(b'\n', &mut line)?;
        if serde_json::from_slice::<Stamp>(&line).is_ok_and(|stamp| seen(&stamp.id)) {
            file.seek(SeekFrom::Start(begin))?;
            return Ok(file);
        }
        back *= 8;
    }
    file.rewind()?;
    Ok(file)
}

fn stamps(path: &Path) -> io::Result<impl Iterator<Item = io::Result<Stamp>>> {
    let lines = BufReader::new(File::open(path)?).lines();
    Ok(lines.filter_map(|line| match line {
        Ok(line) => serde_json::from_str(&line).ok().map(Ok),
        Err(error) => Some(Err(error)),
    }))
}

/// Cuts off what lies behind the last end of a line.
fn cut_tail(file: &mut File) -> io::Result<()> {
    let end = file.seek(SeekFrom::End(0))?;
    let mut keep = end;
    let mut piece = vec![0; 64 * 1024];
    while keep > 0 {
        let begin = keep.saturating_sub(64 * 1024);
        let length = usize::try_from(keep - begin).map_err(io::Error::other)?;
        let piece = piece.get_mut(..length).unwrap_or_default();
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(piece)?;
        if let Some(at) = piece.iter().rposition(|byte| *byte == b'\n') {
            keep = begin + at as u64 + 1;
            break;
        }
        keep = begin;
    }
    if keep < end { file.set_len(keep) } else { Ok(()) }
}

/// Leaves out what is too old and too much, by way of a new file that takes the place. Returns how many lines there are.
fn compact(path: &Path, most: usize) -> io::Result<usize> {
    let oldest = clock::wall_ms().saturating_sub(OLDEST_MS);
    let count = BufReader::new(File::open(path)?).lines().count();
    let old = |line: &str| serde_json::from_str::<Stamp>(line).is_ok_and(|stamp| stamp.at_ms < oldest);
    let first = BufReader::new(File::open(path)?).lines().next().transpose()?;
    if count <= most && !first.as_deref().is_some_and(old) {
        return Ok(count);
    }
    let fresh = path.with_extension("new");
    let mut out = BufWriter::new(File::create(&fresh)?);
    let mut kept = 0;
    for line in BufReader::new(File::open(path)?).lines().skip(count.saturating_sub(most)) {
        let line = line?;
        if kept > 0 || !old(&line) {
            writeln!(out, "{line}")?;
            kept += 1;
        }
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(&fresh, path)?;
    Ok(kept)
}

/// Writes what it is told until nobody can tell it anything any more.
fn write(path: &Path, mut file: File, mut lines: usize, told: &Receiver<Arc<Event>>) {
    let mut complained = false;
    while let Ok(event) = told.recv() {
        let mut done = serde_json::to_string(&*event).map_err(io::Error::from);
        done = done.and_then(|line| file.write_all((line + "\n").as_bytes()).map(|()| String::new()));
        lines += 1;
        if done.is_ok() && lines > MOST + MOST / 10 {
            done = compact(path, MOST).and_then(|left| {
                lines = left;
                file = File::options().append(true).open(path)?;
                Ok(String::new())
            });
        }
        if let Err(error) = &done
            && !complained
        {
            tracing::error!(file = %path.display(), %error, "the journal cannot be written; make room or mend the disk");
        }
        complained = done.is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};
    use tasuki_schemas::ballot::Ballot;
    use tasuki_schemas::event::EventBody;
    use tasuki_schemas::id::BootId;

    fn events(count: u64, at_ms: u64) -> Vec<Arc<Event>> {
        let ballot = Ballot { counter: 1, coordinator: "co1".parse().unwrap(), boot: BootId(7) };
        let event = Event {
            cluster: "main".parse().unwrap(),
            coordinator: "co1".parse().unwrap(),
            number: 0,
            at_ms,
            id: None,
            after: None,
            body: EventBody::Hold { reasons: vec!["why".to_owned()] },
        };
        let id = |number| Some(EventId { ballot: ballot.clone(), number });
        (1..=count).map(|number| Arc::new(Event { id: id(number), ..event.clone() })).collect()
    }

    fn file(name: &str, events: &[Arc<Event>]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("tasuki-journal-{name}-{}", std::process::id()));
        let lines: String = events.iter().map(|event| serde_json::to_string(&**event).unwrap() + "\n").collect();
        fs::write(&path, lines).unwrap();
        path
    }

    #[test]
    fn what_was_appended_is_found_again_but_for_a_torn_tail() {
        let now = clock::wall_ms();
        let told = events(5, now);
        let path = file("torn", &[]);
        let (journal, found) = Journal::open(&path, 10).unwrap();
        assert!(found.latest.is_empty() && !found.more);
        assert!(told.iter().all(|event| journal.append(event)));
        drop(journal);
        let deadline = Instant::now() + Duration::from_secs(10);
        let whole = loop {
            let text = fs::read_to_string(&path).unwrap();
            if text.lines().count() == 5 && text.ends_with('\n') {
                break text;
            }
            assert!(Instant::now() < deadline, "the journal's thread wrote {text}");
            thread::yield_now();
        };
        fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        let (_, found) = Journal::open(&path, 3).unwrap();
        assert_eq!(found.latest, told[1..4].iter().map(|it| (**it).clone()).collect::<Vec<_>>());
        assert!(found.more && fs::read_to_string(&path).unwrap().lines().count() == 4);
        let since = PublicId::from(told[1].id.as_ref().unwrap());
        let read_on = read(&path, Some(&since), 10).unwrap();
        assert_eq!(
            read_on.iter().map(|it| it.id.clone()).collect::<Vec<_>>(),
            [told[2].id.clone(), told[3].id.clone()]
        );
        assert_eq!(read(&path, Some(&since), 1).unwrap().len(), 1);
        assert_eq!(read(&path, None, 10).unwrap().len(), 4);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_line_that_only_a_later_version_can_read_hides_no_other() {
        let told = events(4, clock::wall_ms());
        let path = file("later", &told);
        let text = fs::read_to_string(&path).unwrap();
        let later = |(number, line): (usize, &str)| {
            let line = if number == 1 { line.replace("\"hold\"", "\"unheard_of\"") } else { line.to_owned() };
            line + "\n"
        };
        fs::write(&path, text.lines().enumerate().map(later).collect::<String>()).unwrap();
        let numbers = |since: usize| {
            let since = PublicId::from(told[since].id.as_ref().unwrap());
            let found = read(&path, Some(&since), 9).unwrap();
            found.iter().map(|event| event.id.as_ref().unwrap().number).collect::<Vec<_>>()
        };
        assert_eq!((numbers(0), numbers(1), numbers(2)), (vec![3, 4], vec![3, 4], vec![4]));
        fs::remove_file(&path).unwrap();
    }

    #[tokio::test]
    async fn what_a_server_lacks_is_found_without_reading_all() {
        let told = events(3000, clock::wall_ms());
        let path = file("lacking", &told);
        for (seen, first) in [(2990, 1000..=2990), (5, 1..=5), (0, 1..=1)] {
            let mut pieces = pieces(path.clone(), 500, move |id| id.number <= seen);
            let mut numbers = Vec::new();
            while let Some(piece) = pieces.recv().await {
                numbers.extend(piece.into_iter().map(|event| event.id.unwrap().number));
            }
            assert!(first.contains(&numbers[0]), "from {} on, and {seen} are seen", numbers[0]);
            assert!(numbers.iter().copied().eq(numbers[0]..=3000), "{numbers:?}");
        }
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_is_too_much_or_too_old_goes() {
        let now = clock::wall_ms();
        let path = file("old", &[events(3, now - OLDEST_MS - 1), events(4, now)].concat());
        assert_eq!(compact(&path, 6).unwrap(), 4);
        assert_eq!(compact(&path, 2).unwrap(), 2);
        let left = read(&path, None, 9).unwrap();
        assert_eq!(left.iter().map(|it| it.id.as_ref().unwrap().number).collect::<Vec<_>>(), [3, 4]);
        fs::remove_file(&path).unwrap();
    }
}
