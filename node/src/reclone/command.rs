//! Programs that a re-clone runs: each with a deadline, none through a shell, and what they said kept for people.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// Of what a program said, so many bytes of its end are told.
const TOLD: usize = 300;

/// A program in the search path.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let further = ["/usr/bin", "/usr/local/bin", "/usr/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(further).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// A command whose words go to a file: a program that stays behind it in the background would keep a pipe open.
pub(super) fn quiet(program: impl AsRef<std::ffi::OsStr>, said: &Path) -> io::Result<Command> {
    let file = File::create(said)?;
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).kill_on_drop(true);
    Ok(command)
}

/// Runs a command to its end.
pub(super) async fn run(words: &[String], said: &Path, within: Duration) -> Result<(), String> {
    let (program, arguments) = words.split_first().ok_or("there is no command")?;
    let failed = |what: String| format!("`{}` {what}", words.join(" "));
    let mut command = quiet(program, said).map_err(|error| format!("{}: {error}", said.display()))?;
    let mut child = command.args(arguments).spawn().map_err(|error| failed(format!("cannot be run: {error}")))?;
    match timeout(within, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(failed(format!("ended with {status}: {}", end_of(said)))),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed(format!("did not end within {within:?}: {}", end_of(said)))),
    }
}

/// The end of what a program said, in one line.
pub(super) fn end_of(said: &Path) -> String {
    let text = fs::read(said).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let start = (words.len().saturating_sub(TOLD)..words.len()).find(|at| words.is_char_boundary(*at));
    words.get(start.unwrap_or(words.len())..).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn a_command_that_fails_or_hangs_says_so_with_its_last_words() {
        let said = std::env::temp_dir().join(format!("tasuki-command-{}", std::process::id()));
        let long = Duration::from_secs(5);
        assert_eq!(run(&words("/bin/true"), &said, long).await, Ok(()));
        let failed = run(&words("/bin/ls /nowhere/at/all"), &said, long).await.unwrap_err();
        assert!(failed.contains("`/bin/ls /nowhere/at/all` ended with") && failed.contains("No such file"), "{failed}");
        let hung = run(&words("/bin/sleep 60"), &said, Duration::from_millis(50)).await.unwrap_err();
        assert!(hung.contains("did not end within 50ms"), "{hung}");
        assert!(run(&words("/no/such/program"), &said, long).await.unwrap_err().contains("cannot be run"));
        fs::remove_file(said).unwrap();
    }
}
