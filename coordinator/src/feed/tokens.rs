//! Who may watch, as the token file says now: it is read again when it changes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tasuki_config::{Grant, TokenFile, TokenMark};
use tokio::sync::watch;

/// How often the file is looked at. What is found twice counts, so that a file that is being written does not.
const LOOK: Duration = Duration::from_millis(300);

/// The tokens that open the feed. Clones see the same changes.
#[derive(Clone, Debug)]
pub struct Tokens(watch::Receiver<Arc<TokenFile>>);

impl Tokens {
    /// The tokens of a file, of which `read` was read just now. Needs a runtime.
    #[must_use]
    pub fn follow(file: PathBuf, read: TokenFile) -> Self {
        let (tell, told) = watch::channel(Arc::new(read));
        tokio::spawn(look(file, tell));
        Self(told)
    }

    /// What the token of a mark opens, as long as it opens anything.
    #[must_use]
    pub fn marked(&self, mark: &TokenMark) -> Option<Grant> {
        self.0.borrow().marked(mark).cloned()
    }

    /// Waits until the file has changed; false if it is looked at no more.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

async fn look(file: PathBuf, tell: watch::Sender<Arc<TokenFile>>) {
    let (mut before, mut counted) = (None, None);
    let mut complained = false;
    while !tell.is_closed() {
        tokio::time::sleep(LOOK).await;
        let text = match tokio::fs::read_to_string(&file).await {
            Ok(text) => text,
            Err(error) => {
                if !complained {
                    tracing::error!(file = %file.display(), %error, "the token file cannot be read; tokens stay as they were");
                }
                complained = true;
                continue;
            }
        };
        complained = false;
        if counted.as_ref() == Some(&text) || before.as_ref() != Some(&text) {
            before = Some(text);
            continue;
        }
        let (tokens, findings) = TokenFile::read(&file, &text);
        for finding in findings.0 {
            tracing::error!(%finding, "a line of the token file opens nothing");
        }
        tell.send_if_modified(|kept| {
            let changed = **kept != tokens;
            if changed {
                tracing::info!(file = %file.display(), ?tokens, "the token file was read again");
                *kept = Arc::new(tokens);
            }
            changed
        });
        (before, counted) = (Some(text.clone()), Some(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;
    use tasuki_config::{Role, add_token};

    #[tokio::test]
    async fn a_token_counts_and_ceases_to_within_a_second() {
        let file = std::env::temp_dir().join(format!("tasuki-follow-{}", std::process::id()));
        let _ = std::fs::remove_file(&file);
        let grant = Grant { name: "wall".parse().unwrap(), role: Role::Viewer, clusters: tasuki_config::Clusters::All };
        add_token(&file, &grant, "one").unwrap();
        let read = TokenFile::read(&file, &std::fs::read_to_string(&file).unwrap()).0;
        let mut tokens = Tokens::follow(file.clone(), read);
        let opens = |tokens: &Tokens, token: &str| tokens.marked(&TokenMark::of(token)).is_some();
        assert!(opens(&tokens, "one"));
        add_token(&file, &grant, "two").unwrap();
        let began = Instant::now();
        let changed = tokio::time::timeout(Duration::from_secs(1), tokens.changed()).await;
        assert!(changed == Ok(true) && opens(&tokens, "two"), "{:?}", began.elapsed());
        // A line that is none takes no other along.
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.lines().next().unwrap().to_owned() + "\nrubbish\n").unwrap();
        let changed = tokio::time::timeout(Duration::from_secs(5), tokens.changed()).await;
        assert!(changed == Ok(true) && !opens(&tokens, "two") && opens(&tokens, "one"));
        std::fs::remove_file(&file).unwrap();
    }
}
