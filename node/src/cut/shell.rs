//! One `nft` that stays: starting it anew would cost several milliseconds per cut.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::CutError;
use super::listing::Listing;

/// A running `nft`. It dies with its owner.
#[derive(Debug)]
pub(super) struct Shell {
    _child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    errors: ChildStderr,
}

impl Shell {
    pub(super) fn start(prefix: &[String]) -> Result<Self, CutError> {
        let unavailable = |what: &dyn ToString| CutError::Unavailable { what: what.to_string() };
        let mut words = prefix.iter().map(String::as_str).chain(["nft", "-j", "-i"]);
        let mut child = Command::new(words.next().unwrap_or("nft"))
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| unavailable(&format!("nft: {error}")))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(errors)) = pipes else {
            return Err(unavailable(&"nft has no pipes"));
        };
        Ok(Self { _child: child, input, output: BufReader::new(output), errors })
    }

    /// Sends one line, and returns what the table is afterwards; `None` if it is not there.
    pub(super) async fn change(&mut self, line: &str, table: &str) -> Result<Option<Listing>, CutError> {
        let gone = |error: std::io::Error| CutError::Refused { what: format!("nft is gone: {error}") };
        // Listing all tables answers with a line even where ours is not; listing one that is missing would not.
        let request = format!("{line}\nlist tables\nlist table inet {table}\n");
        self.input.write_all(request.as_bytes()).await.map_err(gone)?;
        self.input.flush().await.map_err(gone)?;
        let tables = self.answer().await.map_err(gone)?;
        let present = tables.windows(table.len() + 2).any(|part| part == format!("\"{table}\"").as_bytes());
        if !present {
            return Ok(None);
        }
        Ok(Listing::parse(&self.answer().await.map_err(gone)?))
    }

    async fn answer(&mut self) -> Result<Vec<u8>, std::io::Error> {
        let mut line = Vec::new();
        if self.output.read_until(b'\n', &mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line)
    }

    /// What nft complained about last.
    pub(super) async fn complaint(&mut self) -> String {
        let mut text = [0; 2048];
        match timeout(Duration::from_millis(20), self.errors.read(&mut text)).await {
            Ok(Ok(count)) => String::from_utf8_lossy(text.get(..count).unwrap_or(&[])).trim().to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_elapsed) => "the kernel shows other rules than were written".to_owned(),
        }
    }
}
